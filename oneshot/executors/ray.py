"""Calls on a Ray cluster, on this machine or on many."""

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
    "RAY_USAGE_STATS_ENABLED": "0",  # Ray prints and sends nothing about its use
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers with gpus=0 see the GPUs that this process sees
}
MOST = 100_000


class Waiting(NamedTuple):
    """A call that has no worker yet.

    Args:
        number: Number of the call.
        function: Bytes of the function (calls.py).
        item: Bytes of the item (calls.py).
    """

    number: int
    function: bytes
    item: bytes


class Ray(Remote):
    """Runs calls in actors of a Ray cluster. Each actor answers one call after the other.

    If this process is already connected to a cluster, that one is used. A call whose node dies is made again on
    another.

    Args:
        workers: Largest number of actors, from 1 to 100,000. If fewer find a place, calls wait for them.
        cpus: CPUs that Ray reserves for each actor, also its CPU threads. None is this machine's CPUs divided by
            `workers` if `address` is "local", else 1.
        gpus: GPUs that Ray reserves for each actor. May be a fraction: 0.5 puts two actors on a GPU.
        address: "local" starts a cluster on this machine, which ends with `close`. "auto" or HOST:PORT joins a cluster
            whose nodes see the same files.

    Raises:
        InputError: If a number is out of range, Ray is not installed, there is no such cluster, or none of its nodes
            has enough CPUs and GPUs for an actor.

    Reference:
        Moritz et al., Ray: A distributed framework for emerging AI applications, arXiv:1712.05889.
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
            os.environ.setdefault(name, value)  # Ray reads them when it is imported
        self.ray = needed("ray")
        self.joined = self.ours = False
        self._forget()

    def start(self, function: bytes, item: bytes) -> Hashable:
        self._join()
        self.calls += 1
        self.queue.append(Waiting(self.calls, function, item))
        return self.calls

    def wait(self) -> list[tuple[Hashable, bytes | WorkerLost]]:
        """Wait for an answer. Workers that live take the waiting calls, so fewer workers than asked for are enough."""
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
                self.idle.clear()  # they may be on the same node; Ray ends actors without a handle
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
        self.starting: dict[Any, Any] = {}  # reference to its start -> actor
        self.busy: dict[Any, tuple[int, Any]] = {}  # reference to the answer -> number of the call, actor

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
                raise InputError(f"executor.address={self.address}: no Ray cluster found ({named(error)})") from None
        self.joined = True
        self._check_room()

    def _check_room(self) -> None:
        """Raise InputError if no node could ever hold a worker: calls would wait without end."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= self.threads and node.get("GPU", 0) >= self.gpus for node in nodes):
            has = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes[:5])
            self.close()
            raise InputError(
                f"executor.cpus={self.threads}, executor.gpus={self.gpus}: no node of the cluster has enough; "
                f"CPUs and GPUs of the nodes: {has}"
            )


class Worker:
    """The actor: it answers calls."""

    def ready(self) -> None:
        """Return once the actor has started."""
        pass

    def answer(self, function: bytes, item: bytes) -> bytes:
        """Make a call (calls.py).

        Args:
            function: Bytes of the function.
            item: Bytes of the item.

        Returns:
            The bytes of the answer.
        """
        return answer(function, item)


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Restore the handlers of signals and of uncaught exceptions on leaving."""
    hook = sys.excepthook
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)} if main else {}
    try:
        yield
    finally:
        sys.excepthook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
