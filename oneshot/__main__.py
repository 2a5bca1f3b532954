"""`python -m oneshot` is the command `oneshot`."""

import os
import sys

from .cli.entry import main

if sys.path and sys.path[0] in ("", os.getcwd()):  # where the command starts is not a place of Python's own modules
    sys.path.append(sys.path.pop(0))
main()
