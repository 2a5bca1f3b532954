"""Ray: nodes that die, clusters that cannot be used, and no word on the screen."""

import builtins
import subprocess
import sys

import called
import pytest
from support import ROOT

from oneshot.errors import InputError
from oneshot.executors import Ray, WorkerLost


def test_a_node_dies_and_nothing_is_lost(cluster, tmp_path):
    """Two nodes; the second dies with a call on each: its own is made again on the first, no other is."""
    node = cluster.add_node(num_cpus=1, resources={"second": 1})
    cluster.wait_for_nodes()
    calls, found = called.Marks(tmp_path, seconds=0.3), {}
    with Ray(3, cpus=1, address=cluster.address) as executor:
        for item, result in executor.map(calls, map(str, range(12))):
            found[item] = result
            if len(found) == 3:
                cluster.remove_node(node, allow_graceful=False)
    assert found == {str(x): str(x) for x in range(12)}
    made = [calls.calls(item) for item in found]
    assert sum(made) in (12, 13) and max(made) <= 2


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
        "import signal, called\nfrom oneshot.executors import Ray\n"
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
