"""Calls as SLURM jobs, with submitit (github.com/facebookincubator/submitit)."""

import os
import shutil
import time
from collections.abc import Hashable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import InputError, check_integer, check_range, one_line, unknown
from .base import WorkerLost
from .calls import answer
from .remote import Remote, needed

LOCAL = "local"
CLUSTERS = (LOCAL, "slurm")
POLL = {LOCAL: 0.05, "slurm": 1.0}  # seconds
MOST = 100_000


class Submitit(Remote):
    """Runs each call as a SLURM job of its own. Calls should take minutes: trainings, whole searches.

    A job that ends without an answer (killed, out of memory, its node died) is submitted again. A job that reaches its
    time limit or is preempted goes back to the queue with the same call.

    Args:
        workers: Largest number of submitted jobs at a time, from 1 to 100,000.
        cluster: "slurm", or "local" for processes on this machine, to try things out.
        folder: Where jobs and their answers are written. All nodes must see it. The files of jobs that succeed are
            removed; the logs of the others stay.
        minutes: Time limit of a job.
        cpus: CPUs of a job, also its CPU threads. None is 1 on SLURM; with "local" it is this machine's CPUs divided by
            `workers`.
        gpus: GPUs of a job.
        memory_gb: Memory of a job in GB. None is SLURM's default.
        partition: The SLURM partition. None is SLURM's default.
        slurm: Other options of sbatch, such as {"account": "nas", "qos": "long"}.

    Raises:
        InputError: If a number is out of range, submitit is not installed, SLURM is not found, or an option is unknown.
    """

    def __init__(
        self,
        workers: int = 8,
        cluster: str = "slurm",
        folder: str = "outputs/jobs",
        minutes: int = 60,
        cpus: int | None = None,
        gpus: int = 0,
        memory_gb: float | None = None,
        partition: str | None = None,
        slurm: Mapping[str, Any] | None = None,
    ) -> None:
        check_integer("executor.workers", workers, 1, MOST)
        if cluster not in CLUSTERS:
            raise unknown("cluster (executor.cluster)", cluster, CLUSTERS)
        check_integer("executor.minutes", minutes, 1)
        check_integer("executor.gpus", gpus, 0)
        if cpus is not None:
            check_integer("executor.cpus", cpus, 1)
        if memory_gb is not None:
            check_range("executor.memory_gb", memory_gb, 0, open_low=True)
        self.workers, self.cluster = workers, cluster
        self.threads = cpus or (max(1, (os.cpu_count() or 1) // workers) if cluster == LOCAL else 1)
        self.folder = Path(folder, f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{os.getpid()}").absolute()
        options = {"partition": partition, **(slurm or {})}
        resources = {"timeout_min": minutes, "cpus_per_task": self.threads, "gpus_per_node": gpus, "mem_gb": memory_gb}
        resources |= {f"slurm_{name}": value for name, value in options.items()}
        self.submitit = needed("submitit")
        try:
            self.executor = self.submitit.AutoExecutor(self.folder / "%j", cluster=cluster)
            self.executor.update_parameters(**{name: v for name, v in resources.items() if v is not None})
        except (RuntimeError, ValueError, TypeError, NameError, OSError) as error:
            raise InputError(f"executor=submitit: {one_line(error, 300)}") from None
        self.running: list[Any] = []

    def start(self, function: bytes, item: bytes) -> Hashable:
        job = self.executor.submit(Call(function, item))
        self.running.append(job)
        return job.job_id

    def wait(self) -> list[tuple[Hashable, bytes | WorkerLost]]:
        while not (over := [job for job in self.running if job.done()]):
            time.sleep(POLL[self.cluster])
        self.running = [job for job in self.running if job not in over]
        return [(job.job_id, self._answer(job)) for job in over]

    def cancel(self) -> None:
        for job in self.running:
            job.cancel(check=False)
        self.running = []

    def close(self) -> None:
        self.cancel()
        for empty in (self.folder / "%j", self.folder):  # submitit's local jobs create the first one
            with suppress(OSError):
                empty.rmdir()

    def _answer(self, job: Any) -> bytes | WorkerLost:
        errors = self.submitit.core.utils
        if self.cluster == LOCAL and not job.paths.result_pickle.exists():  # on SLURM it may just be late
            return WorkerLost(f"job {job.job_id} ended without an answer, see {job.paths.folder}")
        try:
            found = job.result()
        except errors.FailedJobError as error:
            line = str(error).strip().splitlines()[-1]
            raise InputError(f"executor=submitit: job {job.job_id} cannot run its call ({line[:200]})") from None
        except errors.UncompletedJobError:
            return WorkerLost(f"job {job.job_id} ended without an answer ({job.state}), see {job.paths.folder}")
        shutil.rmtree(job.paths.folder, ignore_errors=True)
        return found


class Call:
    """The call that a job makes.

    Args:
        function: Bytes of the function (calls.py).
        item: Bytes of the item.
    """

    def __init__(self, function: bytes, item: bytes) -> None:
        self.function, self.item = function, item

    def __call__(self) -> bytes:
        return answer(self.function, self.item)

    def checkpoint(self) -> Any:
        """Return what submitit queues when the job's time is up or when it is preempted: the same call."""
        return needed("submitit").helpers.DelayedSubmission(self)
