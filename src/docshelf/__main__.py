"""`python -m docshelf`: the command `docshelf`."""

import sys

from docshelf.cli import main

if __name__ == "__main__":
    sys.exit(main())
