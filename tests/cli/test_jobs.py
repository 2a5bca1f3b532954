"""Calls in threads that wait for child processes: in order, one more when one is free, and ended when asked to."""

import subprocess
import sys
import time

import pytest

from oneshot.cli.jobs import ENDING, Children


def slow(seconds):
    """A call as those of a sweep: a child process, which ends when it is asked to."""
    if seconds < 0:
        raise ValueError(f"{seconds} seconds")
    with subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"]) as process:
        while process.poll() is None:
            if ENDING.is_set():
                process.terminate()
            time.sleep(0.01)
    return process.returncode


def test_the_next_item_is_pulled_when_the_answer_before_was_read():
    log = []

    def items():
        for n in range(4):
            log.append(f"pulled {n}")
            yield 0.01 * n

    for item, answer in Children(1).map(slow, items()):
        log.append(f"read {round(100 * item)}: {answer}")
    assert log == [line for n in range(4) for line in (f"pulled {n}", f"read {n}: 0")]


def test_an_error_is_an_answer():
    answers = dict(Children(2).map(slow, [0.0, -1.0, 0.1]))
    assert answers[0.0] == answers[0.1] == 0 and repr(answers[-1.0]) == "ValueError('-1.0 seconds')"


def test_what_runs_is_ended_with_it():
    started = time.monotonic()
    with pytest.raises(KeyError), Children(2) as children:
        for _ in children.map(slow, [0.2, 60.0, 60.0]):
            raise KeyError
    assert time.monotonic() - started < 30 and not ENDING.is_set()
    assert [answer for _, answer in children.map(slow, [0.0])] == [0]  # and it can be used again
