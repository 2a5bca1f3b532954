"""The objects that a configuration names: data, spaces, trainers, devices."""

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

DEVICES = "must be auto or the name of a device: cpu, cuda, cuda:1, mps"


def make(node: DictConfig, **objects: Any) -> Any:
    """Call the node's _target_ with its settings and these objects; a node of _partial_ gives the function."""
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


def space_and_data(config: DictConfig) -> tuple[SearchSpace, ImageData]:
    """The configured data and the space over its images."""
    data = make(config.data)
    return make(config.space, image_shape=data.image_shape, classes=data.classes), data


def prepare(config: DictConfig) -> None:
    """What every run begins with: seed and threads take effect here."""
    if "checkpoint" in config:
        interval(config.checkpoint.every)
    settle(config.seed, config.threads)


def settle(seed: int, threads: int) -> None:
    """What every process of ours begins with. threads: 0 leaves it to torch."""
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
    """The configured trainer, with our progress bar on this console, if any, and none of its own files.

    shared: whether its processes may be several, see processes.py.
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
    """trainer.precision; auto is bf16-mixed on a CUDA device that computes in bfloat16, and 32-true elsewhere."""
    if config.trainer.precision != "auto":
        return config.trainer.precision
    on_gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def new_file(config: DictConfig, kind: str, beside: Sequence[str] = ()) -> Path:
    """out=FILE.json, by default outputs/<kind>/<date-time>.json; jobs of one --multirun add their number to its name.

    beside: suffixes of other files that will stand beside it. None of them may exist.
    """
    out = Path(config.out or Path("outputs", kind, f"{job.started:%Y-%m-%d_%H-%M-%S}.json"))
    if job.is_multirun():
        out = out.with_stem(f"{out.stem}-{job.number()}")
    if out.suffix != ".json":
        raise InputError(f"out={out}: must be a file that ends with .json")
    for path in (out, *(out.with_suffix(suffix) for suffix in beside)):
        if path.exists():
            raise InputError(f"out={out}: {'exists' if path == out else f'{path} exists'}; name a new file")
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"out={out}: cannot be written ({folder} is {'read-only' if folder.is_dir() else 'a file'})")
    return out


def read_device(name: str) -> torch.device:
    """auto (an accelerator where there is one, else the CPU) or the name of a device that can compute."""
    if name == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if not isinstance(name, str):
        raise InputError(f"device={name!r}: {DEVICES}")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what torch raises differs by device
        if str(error).startswith(("Expected one of", "Invalid device string", "Device string")):
            raise InputError(f"device={name}: {DEVICES}") from None
        raise InputError(f"device={name}: cannot be used here ({str(error).splitlines()[0][:80]})") from None
    return device
