"""A command in a process of its own: how it is begun, waited for, ended and reported."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from itertools import islice
from pathlib import Path
from typing import Any

from ..executors.base import Executor, Item, Result
from ..runs.folder import is_locked
from . import job
from .arguments import shown
from .faults import FULL_ERROR
from .orphans import end_with_parent

PATIENCE = 60.0  # seconds
ENDING = threading.Event()  # set: what is called by Children ends the script that it waits for


def wait_for(out: Path) -> None:
    """Until no process writes there, for a minute at most: that of a parent that was killed saves."""
    patience = time.monotonic() + PATIENCE
    while out.is_dir() and is_locked(out) and time.monotonic() < patience:
        time.sleep(0.2)


def run_script(
    script: str,
    arguments: Sequence[str],
    out: Path,
    group: str,
    every: float | None = None,
    ends: Callable[[], bool] = bool,
) -> tuple[int, str]:
    """Run a script with out=; returns its exit code and the last line of what it has to say about its end.

    group: of its run to W&B, unless the environment names one. Each `every` seconds `ends` is asked whether the script
    is to end; it then gets SIGTERM, once, and saves. It ends with this process too, and when an exception comes by.
    """
    command = [*job.child(script), *job.flags, *arguments, shown("out", str(out))]
    environment = {"WANDB_RUN_GROUP": group, **os.environ}
    environment.pop(FULL_ERROR, None)
    pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, preexec_fn=end_with_parent, **pipes) as process:
        try:
            said = _wait(process, every, ends)
        except BaseException:
            process.terminate()  # it saves
            process.wait()
            raise
    lines = said.strip().splitlines() or ["no reason given"]
    return process.returncode, lines[-1].removeprefix("error: ")


def _wait(process: subprocess.Popen[str], every: float | None, ends: Callable[[], bool]) -> str:
    """Until it has ended; returns its stderr."""
    ended = False
    while True:
        try:
            return process.communicate(timeout=None if ended else every)[1]
        except subprocess.TimeoutExpired:
            if ends():
                process.terminate()
                ended = True


class Children(Executor):
    """Calls in threads of this process, each of which waits for a child process; `close` has these saved and ended."""

    def __init__(self, workers: int) -> None:
        self.workers, self.threads = workers, max(1, (os.cpu_count() or 1) // workers)
        self.pool: futures.ThreadPoolExecutor | None = None

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        source, running = iter(items), dict[futures.Future[Result], Item]()
        self.pool = futures.ThreadPoolExecutor(self.workers)
        try:
            while True:
                for item in islice(source, self.workers - len(running)):
                    running[self.pool.submit(function, item)] = item
                if not running:
                    return
                for future in futures.wait(running, return_when=futures.FIRST_COMPLETED).done:
                    error = future.exception()
                    yield running.pop(future), error if isinstance(error, Exception) else future.result()
        finally:
            self.close()

    def close(self) -> None:
        if self.pool:
            ENDING.set()
            self.pool.shutdown()
            ENDING.clear()
            self.pool = None
