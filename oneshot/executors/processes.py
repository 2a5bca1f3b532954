"""Calls in other processes of this machine."""

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Hashable
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from ..errors import check_integer
from .base import WorkerLost
from .calls import answer
from .remote import Remote

SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit broken torch threads and GPU handles
HANDLED = {
    signal.SIGINT,
    signal.SIGUSR1,
    signal.SIGHUP,
}  # sent to all processes of a terminal or a job; the caller handles them
GRACE = 10.0  # seconds
MOST = 1024


class Worker(NamedTuple):
    """A process and the caller's end of the pipe to it.

    Args:
        process: The process.
        connection: The caller's end of the pipe.
    """

    process: BaseProcess
    connection: Connection


class Processes(Remote):
    """Runs calls in other processes of this machine.

    Processes are spawned when they are needed and then kept. One that ends is noticed at once and replaced. (In a pool
    of concurrent.futures, a process that ends would take the calls of all others with it.) The processes end with the
    caller, however it ends.

    Args:
        workers: Number of processes, from 1 to 1024. Each gets its share of the CPU threads.

    Raises:
        InputError: If the number is out of range.
    """

    def __init__(self, workers: int = 2) -> None:
        check_integer("executor.workers", workers, 1, MOST)
        self.workers, self.threads = workers, max(1, (os.cpu_count() or 1) // workers)
        self.idle: list[Worker] = []
        self.busy: dict[Connection, Worker] = {}
        atexit.register(self.close)  # multiprocessing's own handler runs later and would wait for the workers

    def start(self, function: bytes, item: bytes) -> Hashable:
        worker = self.idle.pop() if self.idle else _spawn()
        self.busy[worker.connection] = worker
        try:
            worker.connection.send_bytes(function)
            worker.connection.send_bytes(item)
        except OSError:  # the worker has ended; `wait` notices it too
            pass
        return worker.connection

    def wait(self) -> list[tuple[Hashable, bytes | WorkerLost]]:
        over: list[tuple[Hashable, bytes | WorkerLost]] = []
        for connection in wait(list(self.busy)):
            assert isinstance(connection, Connection)
            try:
                over.append((connection, connection.recv_bytes()))
                self.idle.append(self.busy.pop(connection))
            except (EOFError, OSError):
                over.append((connection, _lost(self.busy.pop(connection))))
        return over

    def cancel(self) -> None:
        for worker in self.busy.values():
            worker.process.terminate()  # a call that handles SIGTERM can still save its work
        for worker in self.busy.values():
            _end(worker)
        self.busy = {}

    def close(self) -> None:
        self.cancel()
        for worker in self.idle:
            _end(worker)
        self.idle = []


def _spawn() -> Worker:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(theirs,))
    resource_tracker.ensure_running()  # first, because its start would unblock the signals again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # the worker inherits this
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()  # now only the process has this end, so ours is closed when it ends
    return Worker(process, ours)


def _serve(connection: Connection) -> None:
    """The worker's loop: answer calls until the caller closes its end of the pipe or is gone."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_IGN)  # also in processes that the worker starts
    threading.Thread(target=_end_with_the_caller, daemon=True).start()
    while True:
        try:
            function, item = connection.recv_bytes(), connection.recv_bytes()
            connection.send_bytes(answer(function, item))
        except (EOFError, OSError):
            return


def _end_with_the_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    wait([caller.sentinel])
    os._exit(1)


def _end(worker: Worker) -> None:
    """End a worker. An idle one ends by itself when our end of the pipe is closed, a busy one is killed."""
    worker.connection.close()
    worker.process.join(GRACE)
    worker.process.kill()
    worker.process.join()


def _lost(worker: Worker) -> WorkerLost:
    _end(worker)
    code = worker.process.exitcode or 0
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    return WorkerLost(f"the worker {how}")
