"""Signals that end a run: it saves within one step, and its exit code says which signal it was."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143}  # SIGUSR1: SLURM's warning before its limit
_held = False
_wanted: int | None = None
_raised = False
_interrupts = 0


class Stopped(BaseException):
    """A signal asked the process to end. This is not an Exception, so that no error handling swallows it.

    Args:
        number: The number of the signal.

    Attributes:
        code: The exit code of the process.
        where: The folder of the run that was ended, for the user.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.code, self.where = CODES[signal.Signals(number)], ""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM, SIGINT and SIGUSR1 raise Stopped in the main thread. A second SIGINT ends the process at once."""
    global _held, _wanted, _raised, _interrupts
    _held, _wanted, _raised, _interrupts = False, None, False, 0
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _take) for number in CODES}
    try:
        yield
    except Exception as error:
        if stop := stop_of(error):
            raise stop from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _held, _wanted, _raised = False, None, False


def hold() -> None:
    """Let signals wait from here on, until `release`."""
    global _held
    _held = True


def release() -> None:
    """Let signals take effect again. Raises Stopped if one has waited."""
    global _held
    _held = False
    if _wanted is not None:
        _raise(_wanted)


def stop_wanted() -> bool:
    """Check whether a signal waits."""
    return _wanted is not None


def stop_of(error: BaseException | None) -> Stopped | None:
    """Find the Stopped that an error is or comes from. C code passes on what is raised in it as an error of its own."""
    if isinstance(error, Stopped):
        return error
    return Stopped(_wanted) if _raised and _wanted is not None and isinstance(error, Exception) else None


def _take(number: int, frame: FrameType | None) -> None:
    global _wanted, _interrupts
    _interrupts += number == signal.SIGINT
    if _interrupts > 1:
        os._exit(CODES[signal.SIGINT])
    _wanted = _wanted or number
    if not _held:  # every time, because an earlier exception may have been dropped
        _raise(_wanted)


def _raise(number: int) -> NoReturn:
    global _raised
    _raised = True
    raise Stopped(number)
