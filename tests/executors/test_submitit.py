"""Jobs of submitit's local cluster: those that are killed, what they leave, and what cannot be asked for."""

import signal

import pytest
from helpers import called

from oneshot.errors import InputError
from oneshot.executors import Submitit, WorkerLost

pytest.importorskip("submitit", reason="the extra submitit is not installed")


def test_jobs_that_are_killed_are_submitted_again(tmp_path):
    """One that is killed each time is given up, and its logs stay; nothing else does."""
    marks, jobs = tmp_path / "marks", tmp_path / "jobs"
    marks.mkdir()
    calls = called.Marks(marks, fatal="b", deaths=3)
    with Submitit(2, cluster="local", folder=str(jobs)) as executor:
        found = dict(executor.map(calls, "ab"))
    assert found["a"] == "a" and calls.calls("a") == 1 and calls.calls("b") == 3
    assert isinstance(found["b"], WorkerLost) and "ended without an answer, see" in str(found["b"])
    (folder,) = jobs.iterdir()
    assert len(list(folder.iterdir())) == 3


def test_a_job_that_is_preempted_is_given_to_the_queue_again(tmp_path):
    """SIGUSR2 is what submitit has SLURM send."""
    calls = called.Marks(tmp_path, fatal="b", deaths=1, number=signal.SIGUSR2)
    with Submitit(1, cluster="local", folder=str(tmp_path / "jobs")) as executor:
        assert list(executor.map(calls, "b")) == [("b", "b")] and calls.calls("b") == 2
    assert not (tmp_path / "jobs").exists() or not list((tmp_path / "jobs").iterdir())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"workers": 0}, "executor.workers=0"),
        ({"cluster": "slum"}, "did you mean 'slurm'"),
        ({"minutes": 0}, "executor.minutes=0"),
        ({"cpus": 0}, "executor.cpus=0"),
        ({"gpus": -1}, "executor.gpus=-1"),
        ({"memory_gb": 0}, "executor.memory_gb=0"),
        ({"cluster": "slurm"}, "are you indeed on a slurm cluster"),
        ({"cluster": "local", "slurm": {"colour": 1}}, "slurm_colour"),
    ],
)
def test_bad_input(settings, message, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # where there is no SLURM
    with pytest.raises(InputError, match=message):
        Submitit(folder=str(tmp_path / "jobs"), **settings)
