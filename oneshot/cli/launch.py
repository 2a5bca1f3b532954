"""What every script shares: composing the configuration and making the objects that it names."""

import functools
import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ..data import ImageData
from ..errors import InputError, check_boolean, check_integer, unknown
from ..fitting.acceleration import keep_freed_memory
from ..fitting.checkpoints import interval
from ..fitting.progress import ProgressBar
from ..runs.signals import stoppable
from ..spaces import SearchSpace
from .faults import CONF, DIVERGED, FULL_ERROR, OUT_OF_MEMORY, SHOW_TRACE, faults_end
from .processes import check_processes, follows

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed")
WITH_VALUE = (  # flags that a word follows, which is no setting and no path of ours
    *("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"),
    *("--cfg", "-c", "--info", "-i", "--experimental-rerun", "--help", "-h"),
)
DEVICES = "must be auto or the name of a device: cpu, cuda, cuda:1, mps"


def script(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make a task a script: Hydra composes conf/<config_name>.yaml; bad input ends it with one line (see faults.py).

    HYDRA_FULL_ERROR=1 or debug=true shows the trace instead. Errors that are not the user's always show it.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        codes: list[int] = []  # of the jobs of a sweep that failed alone

        @functools.wraps(task)
        def guarded(config: DictConfig) -> Any:
            try:  # here too: Hydra prints lines of its own about what leaves a task
                with faults_end(config_name, config):
                    return task(config)
            except SystemExit as end:
                if HydraConfig.get().mode != RunMode.MULTIRUN or end.code not in (DIVERGED, OUT_OF_MEMORY):
                    raise
                codes.append(end.code)

        entry = hydra.main(version_base=None, config_path=str(CONF), config_name=config_name)(guarded)

        def main() -> None:
            keep_freed_memory()
            sys.path.append(os.getcwd())  # operations, spaces and architects of the user's own, by _target_
            with faults_end(config_name), hydra_raises(), stoppable():
                codes.clear()
                if manual.asked():
                    return manual.show(config_name)
                entry()
            if codes:
                sys.exit(max(codes))

        return main

    return decorate


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Inside, Hydra hands exceptions on instead of printing them."""
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        os.environ.pop(FULL_ERROR)
        if SHOW_TRACE:
            os.environ[FULL_ERROR] = "1"


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
    """Check the settings that every script has; seed and threads take effect here."""
    for key in OmegaConf.missing_keys(config):
        raise InputError(f"{key}: must be given, {key}=VALUE")
    experiment, name = HydraConfig.get().runtime.choices.get("experiment"), HydraConfig.get().job.config_name
    for key, script in {"architects": "compare", "strategies": "compare_strategies"}.items():
        if experiment and key in config and name != script:
            raise InputError(f"experiment={experiment}: is for scripts/{script}.py")
    if "epochs" in config:
        check_integer("epochs", config.epochs, 1, 100_000)
    check_integer("seed", config.seed, 0, 2**32 - 1)
    check_integer("threads", config.threads, 0, os.cpu_count() or 1)
    if "resume" in config:
        check_boolean("resume", config.resume)
    if "checkpoint" in config:
        if not isinstance(config.checkpoint, DictConfig) or "every" not in config.checkpoint:
            raise InputError(f"checkpoint={config.checkpoint}: must be given as checkpoint.every=VALUE")
        interval(config.checkpoint.every)
    if config.out is not None and not (isinstance(config.out, str) and config.out):
        raise InputError(f"out={config.out!r}: must be a path")
    if config.trainer.precision not in PRECISIONS:
        raise unknown("trainer.precision", config.trainer.precision, PRECISIONS)
    settle(config.seed, config.threads)


def settle(seed: int, threads: int) -> None:
    """What every process of ours begins with. threads: 0 leaves it to torch."""
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
    out = Path(config.out or Path("outputs", kind, f"{datetime.now():%Y-%m-%d_%H-%M-%S}.json"))
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        out = out.with_stem(f"{out.stem}-{HydraConfig.get().job.num}")
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


def quoted(path: str) -> str:
    """A path as a value of Hydra's that is nothing but this text."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", path)  # no interpolation
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"
