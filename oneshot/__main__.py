"""`python -m oneshot` is the command `oneshot`."""

from .cli.entry import main  # first: from there on Ctrl-C ends with one line

import os  # isort: skip
import sys  # isort: skip

if sys.path and sys.path[0] in ("", os.getcwd()):  # where the command starts is not a place of Python's own modules
    sys.path.append(sys.path.pop(0))
main()
