"""Run a command in a process of its own: start it, wait for it, end it and read its last line."""

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
from ..runs import held
from ..runs.folder import is_locked
from . import job
from .arguments import shown
from .faults import FULL_ERROR
from .orphans import end_with_parent

PATIENCE = 60.0  # seconds to wait for a process that still writes
ENDING = threading.Event()  # when it is set, the calls of Children end the commands that they wait for


def wait_for(out: Path) -> None:
    """Wait until no process writes to this folder, at most a minute: after a kill the process may still save."""
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
    """Run a command with out= and return its exit code and the last line of its stderr.

    The command also ends when this process ends or raises.

    Args:
        script: Name of the command.
        arguments: Its settings.
        out: Folder of its run.
        group: W&B group of its run, unless the environment names one.
        every: Seconds between two calls of `ends`; None never calls it.
        ends: Returns whether the command shall end. It then gets SIGTERM once, saves and ends.

    Raises:
        OSError: If the folder of this process's run is gone. The command would make it again.
    """
    held.check(out)
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
    return process.returncode, _last(said)


def refusal(script: str, arguments: Sequence[str]) -> str:
    """Return why a command would refuse settings for their names or types; an empty text if it takes them.

    Nothing is started or written. Ranges are not checked, as only the objects that take the values know them.

    Args:
        script: Name of the command.
        arguments: Its settings.
    """
    command = [*job.child(script), *job.flags, *arguments, "--cfg", "job"]
    environment = {name: value for name, value in os.environ.items() if name != FULL_ERROR}
    pipes: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    done = subprocess.run(command, env=environment, preexec_fn=end_with_parent, **pipes)
    return _last(done.stderr) if done.returncode else ""


def _last(said: str) -> str:
    """The last line of a command's stderr."""
    return (said.strip().splitlines() or ["no reason given"])[-1].removeprefix("error: ")


def _wait(process: subprocess.Popen[str], every: float | None, ends: Callable[[], bool]) -> str:
    """Wait until the process has ended and return its stderr."""
    ended = False
    while True:
        try:
            return process.communicate(timeout=None if ended else every)[1]
        except subprocess.TimeoutExpired:
            if ends():
                process.terminate()
                ended = True


class Children(Executor):
    """Makes calls in threads of this process. Each call waits for a child process; `close` lets these save and end.

    Args:
        workers: Number of calls at a time.
    """

    def __init__(self, workers: int) -> None:
        self.workers, self.threads = workers, max(1, (os.cpu_count() or 1) // workers)
        self.pool: futures.ThreadPoolExecutor | None = None

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Call the function with each item and yield each item with its answer, in the order in which they end."""
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
        """End the child processes and wait until they have saved."""
        if self.pool:
            ENDING.set()
            self.pool.shutdown()
            ENDING.clear()
            self.pool = None
