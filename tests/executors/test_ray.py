"""Ray: nodes that die, clusters that cannot be used, and no word on the screen."""

import builtins
import subprocess
import sys
import threading
import time

import pytest
from helpers import called
from helpers.support import ROOT, search

from oneshot.errors import InputError
from oneshot.executors import Ray, WorkerLost


def test_a_node_dies_and_nothing_is_lost(cluster, tmp_path):
    """The second of two nodes dies in a call: that is made again on the first, no other is, the log is the same."""
    node = cluster.add_node(num_cpus=1)
    raylet = node.all_processes["raylet"][0].process.pid
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        folder.mkdir()
    calls, stuck = called.Scores(folders[1], stuck=raylet), []

    def kill():
        while not stuck:
            stuck.extend(path.name for path in folders[1].iterdir() if raylet in calls.parents(path.name))
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with Ray(3, cpus=1, address=cluster.address) as executor:
        killed = search(calls, tmp_path / "killed.jsonl", executor)
    thread.join()
    assert killed == search(called.Scores(folders[0]), tmp_path / "undisturbed.jsonl", None)
    (again,) = stuck
    assert len(calls.parents(again)) == 2 and calls.parents(again)[0] == raylet != calls.parents(again)[1]
    assert all(calls.calls(path.name) == 1 for path in folders[1].iterdir() if path.name != again)
    assert {p.name for p in folders[0].iterdir()} == {p.name for p in folders[1].iterdir()}


def test_a_call_that_ends_its_worker_is_given_up_after_three(cluster, tmp_path):
    calls = called.Marks(tmp_path, fatal="b", deaths=3)
    with Ray(2, address=cluster.address) as executor:
        found = dict(executor.map(calls, "abc"))
    assert (found["a"], found["c"]) == ("a", "c") and calls.calls("a") == calls.calls("c") == 1
    assert isinstance(found["b"], WorkerLost) and calls.calls("b") == 3


def test_what_no_node_has(cluster):
    with Ray(2, gpus=64, address=cluster.address) as executor, pytest.raises(InputError, match="executor.gpus=64"):
        list(executor.map(called.square, [1]))


def test_a_cluster_of_its_own_is_silent(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nfrom helpers import called\nfrom oneshot.executors import Ray\n"
        "before = signal.getsignal(signal.SIGTERM)\n"
        "with Ray(2) as executor:\n"
        "    assert dict(executor.map(called.square, range(5))) == {x: x * x for x in range(5)}\n"
        "    assert signal.getsignal(signal.SIGTERM) == before\n"
    )
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("settings", [{"workers": 0}, {"cpus": 0}, {"gpus": -1}, {"address": 5}, {"address": ""}])
def test_bad_input(settings):
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=f"executor.{next(iter(settings))}="):
        Ray(**settings)


def test_without_the_package(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name == "ray" or name.startswith("ray."):
            raise ModuleNotFoundError("No module named 'ray'")
        return real(name, *rest, **more)

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(InputError, match=r"executor=ray: needs ray, pip install 'oneshot\[ray\]'"):
        Ray()
