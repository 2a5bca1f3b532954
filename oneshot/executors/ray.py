"""Calls on a Ray cluster (Moritz et al., arXiv:1712.05889): of this machine, or of many."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from ..errors import InputError, check_integer, check_range, named
from .base import WorkerLost
from .calls import answer
from .remote import MOST_LOSSES, Remote, needed

LOCAL = "local"
STORE = 100 << 20  # bytes: calls and answers are small
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # says and sends nothing
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers of gpus=0 see what this process sees
}
MOST = 100_000


class Waiting(NamedTuple):
    """A call that has no worker yet."""

    number: int
    function: bytes
    item: bytes


class Ray(Remote):
    """Actors, which Ray places and of which each answers one call after the other.

    workers: how many at most; with fewer the calls wait. cpus, gpus: what Ray sets aside for each, gpus may be a
    fraction; cpus=None: with a cluster of this machine its share of the cores, else 1. address: "local" starts a
    cluster of this machine, which ends with `close`; "auto" or HOST:PORT joins one whose nodes see the same files.
    Where the process is in a cluster already, that is used. A call whose node dies is made again on another.
    Raises InputError without Ray, without a cluster, and where none of its nodes could hold a worker.
    """

    def __init__(self, workers: int = 2, cpus: int | None = None, gpus: float = 0, address: str = LOCAL) -> None:
        check_integer("executor.workers", workers, 1, MOST)
        check_range("executor.gpus", gpus, 0)
        if cpus is not None:
            check_integer("executor.cpus", cpus, 1)
        if not isinstance(address, str) or not address:
            raise InputError(f"executor.address={address!r}: must be local, auto or HOST:PORT")
        share = max(1, (os.cpu_count() or 1) // workers) if address == LOCAL else 1
        self.workers, self.threads, self.gpus, self.address = workers, cpus or share, gpus, address
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)  # read when it is imported
        self.ray = needed("ray")
        self.joined = self.ours = False
        self._forget()

    def start(self, function: bytes, item: bytes) -> Hashable:
        self._join()
        self.calls += 1
        self.queue.append(Waiting(self.calls, function, item))
        return self.calls

    def wait(self) -> list[tuple[Hashable, bytes | WorkerLost]]:
        """A worker that lives takes what waits, so that calls go on where there is room for fewer than were asked."""
        while True:
            self._hand_out()
            (ready,), _ = self.ray.wait([*self.busy, *self.starting], num_returns=1)
            if ready in self.starting:
                self._started(ready)
                continue
            number, actor = self.busy.pop(ready)
            try:
                found: bytes | WorkerLost = self.ray.get(ready)
                self.idle.append(actor)
            except self.ray.exceptions.RayError as error:
                found = WorkerLost(f"the worker was lost ({named(error)})")
                self.idle.clear()  # perhaps of the same node; without a handle they end
            return [(number, found)]

    def cancel(self) -> None:
        for _, actor in self.busy.values():
            self.ray.kill(actor)
        self.busy.clear()
        self.queue.clear()

    def close(self) -> None:
        self.cancel()
        for actor in [*self.idle, *self.starting.values()]:
            self.ray.kill(actor)
        if self.ours:
            self.ray.shutdown()
        self.joined = self.ours = False
        self._forget()

    def _forget(self) -> None:
        self.calls, self.stillborn = 0, 0
        self.queue: deque[Waiting] = deque()
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}  # what says that it has started -> actor
        self.busy: dict[Any, tuple[int, Any]] = {}  # its answer -> call, actor

    def _hand_out(self) -> None:
        while self.queue and self.idle:
            call, actor = self.queue.popleft(), self.idle.pop()
            self.busy[actor.answer.remote(call.function, call.item)] = call.number, actor
        for _ in range(min(len(self.queue), self.workers - len(self.busy)) - len(self.starting)):
            actor = self.ray.remote(Worker).options(num_cpus=self.threads, num_gpus=self.gpus).remote()
            self.starting[actor.ready.remote()] = actor

    def _started(self, ready: Any) -> None:
        actor = self.starting.pop(ready)
        try:
            self.ray.get(ready)
        except self.ray.exceptions.RayError as error:
            self.stillborn += 1
            if self.stillborn == MOST_LOSSES:
                raise InputError(f"executor=ray: workers cannot be started ({named(error)})") from None
            return
        self.stillborn = 0
        self.idle.append(actor)

    def _join(self) -> None:
        if self.joined:
            return
        self.ours = not self.ray.is_initialized()
        if self.ours:
            local = {"num_cpus": self.workers * self.threads, "object_store_memory": STORE, "include_dashboard": False}
            try:
                with _handlers_kept():
                    self.ray.init(
                        self.address,
                        log_to_driver=False,
                        logging_level="ERROR",
                        **(local if self.address == LOCAL else {}),
                    )
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise InputError(f"executor.address={self.address}: no Ray cluster there ({named(error)})") from None
        self.joined = True
        self._check_room()

    def _check_room(self) -> None:
        """Raise InputError where no node could ever hold a worker: calls would wait without end."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= self.threads and node.get("GPU", 0) >= self.gpus for node in nodes):
            has = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes[:5])
            self.close()
            raise InputError(
                f"executor.cpus={self.threads}, executor.gpus={self.gpus}: no node of the cluster has as many; "
                f"they have CPUs and GPUs: {has}"
            )


class Worker:
    """The actor."""

    def ready(self) -> None:
        pass

    def answer(self, function: bytes, item: bytes) -> bytes:
        return answer(function, item)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Inside, nobody's handlers of signals and of exceptions are changed for good."""
    hook = sys.excepthook
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
    try:
        yield
    finally:
        sys.excepthook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
