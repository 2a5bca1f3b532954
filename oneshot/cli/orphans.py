"""Child processes do not outlive their parent."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>
PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # here: between fork and exec nothing is looked up


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """In a child, before exec: ask for this signal when the parent is gone. Linux alone."""
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, number)
