"""Make the objects that a configuration names: data, spaces, trainers, devices."""

import inspect
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ..data import ImageData
from ..errors import InputError
from ..fitting.acceleration import keep_freed_memory
from ..fitting.checkpoints import interval
from ..fitting.progress import ProgressBar
from ..spaces import SearchSpace
from . import job
from .processes import check_processes, follows
from .screen import say

DEVICES = "must be auto or the name of a device: cpu, cuda, cuda:1, mps"


def make(node: DictConfig, **objects: Any) -> Any:
    """Call the node's _target_ with the node's settings and these objects.

    Args:
        node: A mapping with `_target_`. With `_partial_: true` the function is returned, not called.
        objects: Other arguments of the call.

    Raises:
        InputError: If the node is no such mapping, or its settings do not fit.
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise InputError(f"{node!r}: must be a mapping with _target_, as in conf")
    factory = instantiate(node, _partial_=True, _convert_="all")
    signature, partial = inspect.signature(factory.func), node.get("_partial_")
    try:
        bind = signature.bind_partial if partial else signature.bind
        bind(*factory.args, **factory.keywords, **objects)
    except TypeError as error:
        raise InputError(f"{node._target_}: {error}") from None
    if partial:
        return factory
    try:
        return factory(**objects)
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{node._target_}: {error}") from error


def space_and_data(config: DictConfig, console: Console | None = None) -> tuple[SearchSpace, ImageData]:
    """Return the configured space and data, and say what the data are.

    Args:
        config: The settings of the command.
        console: Where this is said; None: nowhere.
    """
    data = make(config.data)
    space = make(config.space, image_shape=data.image_shape, classes=data.classes)
    say_about(data, console)
    return space, data


def say_about(data: ImageData, console: Console | None, before: Sequence[str] = ()) -> None:
    """Say what the data are: images, classes, source, and what is done to images.

    Args:
        data: The data. Some lines are known only after their images were decoded.
        console: Where it is said; None: nowhere.
        before: Lines that have been said.
    """
    if console is not None:
        say(console, [line for line in data.about if line not in before])


def prepare(config: DictConfig) -> None:
    """Check checkpoint.every and set seed and threads, at the start of a run."""
    if "checkpoint" in config:
        interval(config.checkpoint.every)
    settle(config.seed, config.threads)


def settle(seed: int, threads: int) -> None:
    """Set seed and threads, and silence Lightning, at the start of a process.

    Args:
        seed: Seed of torch's global generator.
        threads: Number of CPU threads; 0: torch chooses.
    """
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning 2.6 with torch 2.13
    torch.manual_seed(seed)


def trainer_for(
    config: DictConfig, console: Console | None, epochs: int | None = None, shared: bool = False
) -> pl.Trainer:
    """Return the configured trainer, which writes no files of its own.

    Args:
        config: The settings of the command.
        console: Where our progress bar is shown; None shows none.
        epochs: Number of epochs; None is `config.epochs`.
        shared: Whether it may have several processes, see processes.py.

    Raises:
        InputError: If a setting of the trainer cannot be used.
    """
    lightning = [key for key in config.trainer if key not in ("compile", "cuda_graph", "precision")]
    trainer = make(
        OmegaConf.masked_copy(config.trainer, lightning),
        max_epochs=epochs or config.epochs,
        precision=precision(config),
        logger=False,
    )
    check_processes(trainer, config, shared)
    if console and not follows(trainer):
        trainer.callbacks.append(ProgressBar(console))
    return trainer


def precision(config: DictConfig) -> str:
    """Return trainer.precision. auto becomes bf16-mixed on a CUDA device that supports it, and 32-true elsewhere."""
    if config.trainer.precision != "auto":
        return config.trainer.precision
    on_gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def new_file(config: DictConfig, kind: str, beside: Sequence[str] = ()) -> Path:
    """Return the path of a new file: out=FILE.json, by default outputs/<kind>/<date-time>.json.

    The jobs of a --multirun add their number to its name.

    Args:
        config: The settings of the command.
        kind: Name of the command.
        beside: Suffixes of other files that will be written beside it.

    Raises:
        InputError: If one of the files exists, or cannot be written.
    """
    out = Path(config.out or Path("outputs", kind, f"{job.started:%Y-%m-%d_%H-%M-%S}.json"))
    if job.is_multirun():
        out = out.with_stem(f"{out.stem}-{job.number()}")
    if out.suffix != ".json":
        raise InputError(f"out={out}: must be a file that ends with .json")
    for path in (out, *(out.with_suffix(suffix) for suffix in beside)):
        if os.path.lexists(path):
            raise InputError(f"out={out}: {'exists' if path == out else f'{path} exists'}; name a new file")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"out={out}: cannot be written ({folder} is {'read-only' if folder.is_dir() else 'a file'})")
    return out


def read_device(name: str) -> torch.device:
    """Return the device of a name.

    Args:
        name: auto (an accelerator if there is one, else the CPU), or a name such as cpu or cuda:1.

    Raises:
        InputError: If there is no such device, or it cannot compute.
    """
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if not isinstance(name, str):
        raise InputError(f"device={name!r}: {DEVICES}")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # which one depends on the device
        if str(error).startswith(("Expected one of", "Invalid device string", "Device string")):
            raise InputError(f"device={name}: {DEVICES}") from None
        raise InputError(f"device={name}: cannot be used here ({str(error).splitlines()[0][:80]})") from None
    return device
