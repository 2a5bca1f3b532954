"""Signals that end a run: it saves within one step, and its exit code says which signal it was."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

# SIGHUP: the terminal or the ssh session is lost; SIGUSR1: SLURM's warning before its limit
CODES = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143, signal.SIGHUP: 129}
AGAIN = 0.05  # seconds after which a signal that could not take effect is tried again
_held = False
_wanted: int | None = None
_raised = False
_interrupts = 0
_open = 0  # runs that would have something to save
said = False  # whether the line about a signal that ends the process is written: no other one follows


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
    """Let signals raise Stopped in the main thread: SIGTERM, SIGINT, SIGUSR1, and SIGHUP unless nohup ignores it.

    A second SIGINT ends the process at once. While a module is imported nothing is raised, because C code would turn it
    into an error of its own: without an open run the process ends at once, else the signal waits.
    """
    global _held, _wanted, _raised, _interrupts, said
    _held, _wanted, _raised, _interrupts, said = False, None, False, 0, False
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in CODES if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _take) for number in taken}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _take_again)
    hook, sys.unraisablehook = sys.unraisablehook, _not_dropped
    try:
        yield
    except Exception as error:
        if stop := stop_of(error):
            raise stop from error
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
        _held, _wanted, _raised = False, None, False


@contextmanager
def saving() -> Iterator[None]:
    """Return a context in which a run is open, so that no signal ends the process without an exception."""
    global _open
    _open += 1
    try:
        yield
    finally:
        _open -= 1


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


def say(line: str) -> None:
    """Write the line about a signal that ends the process to stderr. Ctrl-C in the meantime adds no other one."""
    global said
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    print(line, file=sys.stderr, flush=True)
    said = True
    if in_main:
        signal.signal(signal.SIGINT, before)


def stop_of(error: BaseException | None) -> Stopped | None:
    """Find the Stopped that an error is or comes from. C code passes on what is raised in it as an error of its own."""
    if isinstance(error, Stopped):
        return error
    return Stopped(_wanted) if _raised and _wanted is not None and isinstance(error, Exception) else None


def _take(number: int, frame: FrameType | None) -> None:
    global _wanted, _interrupts
    _interrupts += number == signal.SIGINT
    if _interrupts > 1 or (not _open and _is_importing(frame)):
        if not said:
            with suppress(OSError):
                os.write(2, f"{Stopped(number)}\n".encode())
        os._exit(CODES[signal.Signals(number)])
    _wanted = _wanted or number
    _take_again(number, frame)


def _take_again(number: int, frame: FrameType | None) -> None:
    """Let the signal that waits take effect, unless it is held or a module is being imported."""
    if _wanted is None or _held:  # `release` looks for one that waits
        return
    if _is_importing(frame):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        return
    _raise(_wanted)  # also if it was raised before, because that exception may have been dropped


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _not_dropped(problem: "sys.UnraisableHookArgs") -> None:
    """Raise a Stopped again that fell into code which cannot raise, such as __del__."""
    if isinstance(problem.exc_value, Stopped):
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
    else:
        sys.__unraisablehook__(problem)


def _raise(number: int) -> NoReturn:
    global _raised
    _raised = True
    raise Stopped(number)
