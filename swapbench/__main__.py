"""`python -m swapbench` is `swapbench`: the command line, which can be interrupted before it is imported."""

import os
import sys

from swapbench import environment, interrupts


def main() -> int:
    """Run the command line with what was typed; returns the exit status."""
    interrupts.listen()
    if os.environ.get(environment.CHILD):
        interrupts.end_with_parent()
    try:
        from swapbench.cli import main as run

        status = run()
        interrupts.conclude()
    except EOFError as error:  # a compiled module, perhaps the command line's own
        from swapbench.errors import scarcity

        cut_short = scarcity(error)
        if cut_short is None:
            raise
        sys.stderr.write(f"error: {cut_short}\n")
        return cut_short.exit_status
    except KeyboardInterrupt:  # before the command line listens, or when it no longer does
        return interrupts.say()
    return status


if __name__ == "__main__":
    sys.exit(main())
