"""``python -m yolo_subbatch`` is the command line."""

import sys

from yolo_subbatch.cli import main

if __name__ == "__main__":
    sys.exit(main())
