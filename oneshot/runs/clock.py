"""The seconds that a process has worked: time in which it was stopped (SIGSTOP, Ctrl-Z) does not count."""

import os
import threading
import time

TICK = 0.25  # seconds between two looks
LONGEST = 1.0  # seconds without a look after which the process may have been stopped
BUSY = 0.1  # share of these seconds in which a process that was not stopped has computed something

_lock = threading.Lock()
_last: tuple[float, float] | None = None  # of the last look: time of the clock, time of the processor
_stopped = 0.0


def worked() -> float:
    """Return a clock in seconds that goes on only while this process may run. Only differences have a meaning.

    A thread looks at the clock four times a second. If it did not get to it for more than a second, and the whole
    process has computed for less than a tenth of this time, the process was stopped.
    """
    _look()
    return time.monotonic() - _stopped


def _look() -> None:
    global _last, _stopped
    with _lock:
        now, computed = time.monotonic(), time.process_time()
        if _last is None:
            threading.Thread(target=_watch, name="clock", daemon=True).start()
        elif now - _last[0] > LONGEST and computed - _last[1] < BUSY * (now - _last[0]):
            _stopped += now - _last[0] - TICK
        _last = now, computed


def _watch() -> None:
    while True:
        time.sleep(TICK)
        _look()


def _forget() -> None:
    """A forked process has no such thread."""
    global _last, _lock
    _last, _lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
