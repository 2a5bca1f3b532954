"""Processes that are killed, that kill themselves, and that are left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import called
from helpers.support import ROOT, search

from oneshot.errors import InputError
from oneshot.executors import Processes, WorkerLost


def test_calls_of_a_killed_worker_are_made_again_and_no_other(tmp_path):
    with Processes(2) as executor:
        calls = called.Marks(tmp_path, seconds=0.2)
        found, killed = {}, False
        for item, result in executor.map(calls, map(str, range(6))):
            found[item] = result
            if not killed:
                killed, victim = True, next(iter(executor.busy.values()))
                os.kill(victim.process.pid, signal.SIGKILL)
        assert found == {str(x): str(x) for x in range(6)}
        assert sorted(calls.calls(item) for item in found) in ([1] * 6, [1] * 5 + [2])


@pytest.mark.parametrize(("deaths", "lost"), [(2, False), (3, True)])
def test_a_call_that_ends_its_worker_is_given_up_after_three(tmp_path, caplog, deaths, lost):
    calls = called.Marks(tmp_path, fatal="b", deaths=deaths)
    with Processes(2) as executor:
        found = dict(executor.map(calls, "abc"))
    assert (found["a"], found["c"]) == ("a", "c") and calls.calls("a") == calls.calls("c") == 1
    assert calls.calls("b") == 3
    assert caplog.messages == ["warning: the worker was ended by SIGKILL; its call starts again on another worker"] * 2
    if lost:
        assert isinstance(found["b"], WorkerLost)
        assert str(found["b"]) == "the worker was ended by SIGKILL, like 2 workers before it"
    else:
        assert found["b"] == "b"


def test_a_search_whose_workers_are_killed_leaves_the_same_log(tmp_path):
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
    undisturbed = search(called.Scores(folders[0]), tmp_path / "undisturbed.jsonl", None)
    fatal = sorted(path.name for path in folders[0].iterdir())[3]
    calls = called.Scores(folders[1], fatal=fatal, deaths=2)
    with Processes(2) as executor:
        assert search(calls, tmp_path / "killed.jsonl", executor) == undisturbed
    assert {path.name: calls.calls(path.name) for path in folders[1].iterdir()} == {
        path.name: 3 if path.name == fatal else 1 for path in folders[0].iterdir()
    }


def test_a_search_ends_with_what_no_worker_can_load(tmp_path):
    """No query has failed: the same command continues when the workers have what they lack."""
    with (
        Processes(1) as executor,
        pytest.raises(InputError, match="cannot load .* its item: FileNotFoundError"),
    ):
        search(called.Missing(), tmp_path / "log.jsonl", executor)
    assert not (tmp_path / "log.jsonl").exists()


def test_workers_end_with_the_context():
    with Processes(2) as executor:
        list(executor.map(called.square, range(4)))
        assert multiprocessing.active_children()
    assert not multiprocessing.active_children()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("name", ["SIGKILL", "SIGINT"])
def test_workers_end_with_a_caller_that_is_killed(name, tmp_path):
    """SIGINT comes to the group, as from a terminal: the workers neither show a trace nor stay."""
    script = tmp_path / "caller.py"
    script.write_text(
        "from helpers import called\nfrom oneshot.executors import Processes\n"
        "if __name__ == '__main__':\n"
        "    for item, _ in Processes(2).map(called.Marks('.', seconds=30), 'ab'):\n        pass\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    while not ((tmp_path / "a").exists() and (tmp_path / "b").exists()):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = [int(pid) for pid in open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()]
    assert len(children) >= 2
    (os.killpg if name == "SIGINT" else os.kill)(process.pid, getattr(signal, name))
    err = process.communicate(timeout=30)[1].decode()
    assert "SpawnProcess" not in err and err.count("Traceback") == (name == "SIGINT"), err
    patience = time.monotonic() + 10
    while any(map(alive, children)):
        assert time.monotonic() < patience
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two", True, 10**6])
def test_bad_input(workers):
    with pytest.raises(InputError, match="executor.workers="):
        Processes(workers)
