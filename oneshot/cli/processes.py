"""The processes of a run with trainer=ddp. The first one writes to folder and screen; the others follow it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from ..distributed.sharing import check_batch
from ..distributed.strategy import MEETING, SharedBatches
from ..errors import InputError, Lost, check_integer
from ..fitting.base import Fit
from ..fitting.checkpoints import Checkpoints
from ..runs import signals
from . import job
from .orphans import end_with_parent

PATIENCE = 10.0  # seconds to wait for a failed process to end


def check_processes(trainer: pl.Trainer, config: DictConfig, shared: bool) -> None:
    """Check that this command can run in the trainer's processes, and divide the CPU threads among them.

    Args:
        trainer: The trainer.
        config: The settings of the command.
        shared: Whether the module of the command can share batches.

    Raises:
        InputError: If it cannot.
    """
    number, strategy = trainer.num_devices, trainer.strategy
    if not isinstance(strategy, SharedBatches):
        if number * trainer.num_nodes > 1:
            raise InputError(f"trainer.devices={config.trainer.devices}: several processes need trainer=ddp")
        return
    if not shared:
        raise InputError("trainer=ddp: is for `oneshot search` and `oneshot retrain`; this command runs in one process")
    for name in ("compile", "cuda_graph"):
        if config.trainer[name] is True:
            raise InputError(f"trainer.{name}=true: cannot be had with trainer=ddp")
    check_integer("data.batch_size", config.data.batch_size, 2)
    check_batch(config.data.batch_size, number * trainer.num_nodes)
    if trainer.num_nodes > 1 and not _started_by_others(trainer):
        raise InputError(f"trainer.num_nodes={trainer.num_nodes}: several nodes need torchrun or srun")
    if not config.threads:
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) // number)))
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # else Lightning sets another number


def follows(trainer: pl.Trainer) -> bool:
    """Return whether this is not the first process of the run."""
    return isinstance(trainer.strategy, SharedBatches) and not trainer.is_global_zero


def follow(trainer: pl.Trainer, build: Callable[[DictConfig], Fit]) -> None:
    """Train together with the first process, with its settings and from its checkpoint, and write nothing.

    Signals are left to the first process; this one ends with it.

    Args:
        trainer: The trainer.
        build: From settings to the module that is trained.
    """
    if job.STARTED in os.environ:
        os.write(1, b"\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    task = _told(trainer, None)
    if task is not None:
        settings, checkpoint = task
        signals.hold()
        module = build(OmegaConf.create(settings))
        trainer.strategy.checkpoint_io = Checkpoints(Path(checkpoint or ".").parent)
        trainer.fit(module, ckpt_path=checkpoint)


def dismiss(trainer: pl.Trainer) -> None:
    """Tell the other processes, if they were started, that there is nothing to do."""
    if isinstance(trainer.strategy, SharedBatches) and _started_by_others(trainer):
        _told(trainer, None)


@contextmanager
def leading(trainer: pl.Trainer, config: DictConfig, checkpoint: Path | None) -> Iterator[None]:
    """Return a context in which the other processes train too.

    They are started here, unless torchrun or srun started them. They end with the context and with this process,
    however it ends.

    Args:
        trainer: The trainer.
        config: The settings of the command.
        checkpoint: The checkpoint to start from, if any.

    Raises:
        Lost: If one of them ends too early.
    """
    if not isinstance(trainer.strategy, SharedBatches):
        yield
        return
    with ExitStack() as stack:
        others = [] if _started_by_others(trainer) else stack.enter_context(_others(trainer.num_devices))
        try:
            for other in others:
                if not other.ready():
                    raise Lost(*other.end())
            settings = OmegaConf.to_container(config, resolve=True)
            _told(trainer, (settings, None if checkpoint is None else str(checkpoint)))
            yield
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or not (lost := _first_to_end(others)):
                raise
            raise Lost(*lost.end()) from error
        finally:
            if torch.distributed.is_initialized():
                torch.distributed.destroy_process_group()


class _Other:
    """A process that follows this one: the same command with another rank."""

    def __init__(self, rank: int, errors: IO[str]) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
        self.rank, self.errors = rank, errors
        self.process = subprocess.Popen(
            [*job.child(sys.argv[0].split()[-1]), *job.flags, *job.own_overrides()],
            env={**environment, "LOCAL_RANK": str(rank), job.STARTED: "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the first process
            preexec_fn=partial(end_with_parent, signal.SIGKILL),
        )

    def ready(self) -> bool:
        """Wait until the process is about to connect. Returns False if it ended before."""
        assert self.process.stdout is not None
        return bool(self.process.stdout.read(1))

    def end(self) -> tuple[str, int]:
        """Return why the process ended, and the exit code for this process."""
        code = self.process.wait()
        self.errors.seek(0)
        text = self.errors.read().strip()
        if code < 0:
            return f"process {self.rank} was ended by {signal.Signals(-code).name}; the same command continues", 1
        if code == 1:
            print(text, file=sys.stderr)  # its trace
        reason = text.splitlines()[-1].removeprefix("error: ") if text else "no reason given"
        return f"process {self.rank} has ended: {reason}", code or 1


@contextmanager
def _others(number: int) -> Iterator[list[_Other]]:
    """The processes 1 to number - 1."""
    before = dict(os.environ)
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    others: list[_Other] = []
    with ExitStack() as stack:
        meeting = Path(stack.enter_context(tempfile.TemporaryDirectory()), "meeting")
        os.environ |= {"LOCAL_RANK": "0", MEETING: str(meeting)}
        os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
        try:
            for rank in range(1, number):
                others.append(_Other(rank, stack.enter_context(tempfile.TemporaryFile("w+"))))
            yield others
        finally:
            for other in others:  # their work is of no use any more
                other.process.kill()
                other.process.wait()
            os.environ.clear()
            os.environ |= before


def _first_to_end(others: list[_Other]) -> _Other | None:
    """A process that has failed. This waits a little, because the connection is lost before the process has ended."""
    until = time.monotonic() + PATIENCE
    while others and time.monotonic() < until:
        for other in others:
            if other.process.poll():
                return other
        time.sleep(0.1)
    return None


def _told(trainer: pl.Trainer, task: Any) -> Any:
    """Connect the processes, unless they are connected, and return the task that the first one sends."""
    trainer.strategy.setup_environment()
    box = [task]
    torch.distributed.broadcast_object_list(box, 0)
    return box[0]


def _started_by_others(trainer: pl.Trainer) -> bool:
    environment = getattr(trainer.strategy, "cluster_environment", None)
    return environment is not None and environment.creates_processes_externally
