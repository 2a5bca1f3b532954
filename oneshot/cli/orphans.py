"""Child processes do not outlive their parent."""

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <sys/prctl.h>
# looked up here, because nothing may be looked up between fork and exec
PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def end_with_parent(number: int = signal.SIGTERM) -> None:
    """In a child, before exec: ask for this signal when the parent ends. Works on Linux only.

    Args:
        number: Number of the signal.
    """
    if PRCTL:
        PRCTL(PR_SET_PDEATHSIG, number)
