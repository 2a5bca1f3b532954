"""Signals, in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from oneshot.runs.folder import Run
from oneshot.runs.signals import Stopped, hold, release, stop_of, stop_wanted, stoppable

PROGRAM = """
import sys, time
from oneshot.runs.signals import Stopped, hold, release, stoppable
try:
    with stoppable():
        hold() if "held" in sys.argv else None
        print("ready", flush=True)
        end = time.monotonic() + float(sys.argv[1])
        while time.monotonic() < end:
            time.sleep(0.01)
        print("step done", flush=True)
        release()
        time.sleep(20)
except Stopped as stop:
    print(stop, flush=True)
    sys.exit(stop.code)
"""


def started(*arguments):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], **pipes, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 143)])
def test_codes(name, code):
    process = started("20")
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=20)[0] == f"stopped by {name}\n" and process.returncode == code


def test_a_held_signal_waits_for_the_step():
    process = started("1", "held")
    process.terminate()
    assert process.communicate(timeout=20)[0] == "step done\nstopped by SIGTERM\n" and process.returncode == 143


def test_a_second_interrupt_ends_it_at_once():
    process = started("20", "held")
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10) == ("", "stopped by SIGINT\n") and process.returncode == 130


SAID = """
import os, signal, sys, time
from oneshot.cli import entry
from oneshot.runs import signals

class Screen:
    def write(self, text):
        os.kill(os.getpid(), signal.SIGINT)
        return sys.__stderr__.write(text)

    def flush(self):
        sys.__stderr__.flush()

with signals.stoppable() if "stoppable" in sys.argv else signals.saving():
    signals.hold()
    sys.stderr = Screen()
    signals.say("the line")
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
"""


@pytest.mark.parametrize("handler", ["of the first imports", "stoppable"])
def test_no_second_line_follows(handler):
    """A nervous hand, while the first Ctrl-C is being answered."""
    found = subprocess.run([sys.executable, "-c", SAID, handler], capture_output=True, text=True, timeout=60)
    assert (found.stderr, found.returncode) == ("the line\n", 130)


DROPPED = """
import os, signal, sys, time
from oneshot.runs.signals import Stopped, stoppable

class Deaf:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)

try:
    with stoppable():
        deaf = Deaf()
        del deaf  # Python prints what is raised here, and goes on
        print("ready", flush=True)
        time.sleep(20)
except Stopped as stop:
    sys.exit(stop.code)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 143)])
def test_a_signal_whose_exception_was_dropped_counts_when_it_comes_again(name, code):
    command = [sys.executable, "-c", DROPPED]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=10) == code


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]
    with pytest.raises(Stopped, match="SIGUSR1"), stoppable():
        hold()
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop_wanted()
        release()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)] == before
    assert not stop_wanted()


class HandsOn:
    """A conversion to int in which a signal arrives; what calls it hands another exception on, as C code does."""

    def __int__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def converted():
    try:
        int(HandsOn())
    except Stopped:
        raise ValueError("Invalid affine transformation matrix") from None


def test_an_error_that_a_signal_was_turned_into_is_that_signal():
    """As matplotlib does with whatever is raised while it converts an array."""
    with pytest.raises(Stopped, match="SIGTERM"), stoppable():
        converted()
    assert stop_of(ValueError()) is None
    with pytest.raises(ValueError), stoppable():
        raise ValueError
    with stoppable():
        hold()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop_of(ValueError()) is None and isinstance(stop_of(Stopped(signal.SIGTERM)), Stopped)


def test_a_run_notes_the_signal_and_not_the_error_it_was_turned_into(tmp_path):
    with pytest.raises(Stopped) as raised, stoppable(), Run(tmp_path / "run"):
        converted()
    assert raised.value.where == str(tmp_path / "run") and raised.value.code == 143
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["status"] == "interrupted" and "SIGTERM" in status["reason"]
