"""`python -m swapbench` is `swapbench`: the command line, which can be interrupted before it is imported."""

import sys

from swapbench import interrupts


def main() -> int:
    """Run the command line with what was typed; returns the exit status."""
    interrupts.listen()
    try:
        from swapbench.cli import main as run

        status = run()
        interrupts.conclude()
    except KeyboardInterrupt:  # before the command line listens, or when it no longer does
        return interrupts.say()
    return status


if __name__ == "__main__":
    sys.exit(main())
