"""`python -m swapbench` is `swapbench`."""

import sys

from swapbench.cli import main

if __name__ == "__main__":
    sys.exit(main())
