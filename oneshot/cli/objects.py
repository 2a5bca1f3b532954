"""Make the objects that a configuration names: data, spaces, trainers, devices."""

import dataclasses
import inspect
import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from ..architects import Architect
from ..data import ImageData, Text, own
from ..errors import InputError, is_number, unknown
from ..fitting.acceleration import keep_freed_memory
from ..fitting.checkpoints import interval
from ..fitting.progress import ProgressBar
from ..quantity import Quantity
from ..spaces import SearchSpace
from ..stages import Stage
from ..tasks import Task
from ..techniques import Composed, Freeze, Perturbation, Regularizer, Transform
from . import job
from .composition import PARTIAL
from .processes import check_processes, follows
from .screen import say

OTHER_SCORES = {"strategy", "strategies", "reference"}  # settings of commands whose `metric` may be any score
DEVICES = "must be auto or the name of a device: cpu, cuda, cuda:1, mps"


def training_of_weights(config: DictConfig) -> dict[str, Any]:
    """Return the arguments of a Search or a Retrain that say how the weights are trained."""
    node = config.weights
    names = ("minimum_learning_rate", "gradient_clip", "warmup_epochs", "decay_norms")
    return {"optimizer": make(node.optimizer), **{name: node[name] for name in names}}


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


def data_for(config: DictConfig) -> ImageData:
    """Return the configured data with the configured task and metric.

    `metric` may also be the name of another score, for a baseline; the task then has its usual metric.

    Raises:
        InputError: If the data set cannot be made, cannot be of this task, or the task has no such metric.
    """
    task: Task = make(config.task)
    data = made_data(config.data, task)
    if data.task.name != task.name:
        raise InputError(f"task={task.name}: {config.data._target_} gives data of the task {data.task.name}")
    name = config.get("metric")
    if name in data.task.metrics(data.classes) or not OTHER_SCORES.intersection(config):
        data.measure(name)
    return data


def made_data(node: DictConfig, task: Task) -> ImageData:
    """Return the data set of a node.

    Its function may also return what `oneshot.data.own` takes. Settings that it has no parameter for are then those of
    `own`: batch_size, augmentation, workers and so on.

    Args:
        node: A mapping with `_target_`.
        task: What the targets are.

    Raises:
        InputError: If the settings do not fit.
    """
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return make(node)
    parameters = inspect.signature(instantiate({"_target_": node._target_, "_partial_": True}).func).parameters
    of_task = {"task": task} if "task" in parameters else {}
    if any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return own(make(node, **of_task), task=task)
    known = set(inspect.signature(own).parameters) - {"dataset", "task"}
    others = [str(key) for key in node if key in known and key not in parameters]
    made: Any = make(OmegaConf.masked_copy(node, [str(key) for key in node if key not in others]), **of_task)
    if isinstance(made, ImageData | Text):
        again: Any = make(node, **of_task) if others else made  # which refuses them
        return again
    return own(made, task=task, **instantiate(OmegaConf.masked_copy(node, others), _convert_="all"))


def criterion_for(config: DictConfig, data: ImageData) -> Any:
    """Return the configured loss. Its lists of weights become tensors.

    Raises:
        InputError: If it cannot be made, or a list does not hold a number of at least 0 for each class.
    """
    node: Any = OmegaConf.create(OmegaConf.to_container(config.criterion, resolve=True))
    weights = {}
    for name in ("weight", "pos_weight"):
        values = node.get(name)
        if isinstance(values, ListConfig):
            good = all(is_number(value) and value >= 0 for value in values)
            if not good or len(values) != data.classes or not any(values):
                raise InputError(
                    f"criterion.{name}={list(values)!s:.80}: must hold {data.classes} numbers of at least 0, one for "
                    f"each of {', '.join(data.splits.classes)!s:.80}"
                )
            weights[name] = torch.tensor([float(value) for value in values])
    taken = inspect.signature(instantiate({"_target_": node._target_, "_partial_": True}).func).parameters
    nothing = [key for key in node if key not in taken and node[key] in (None, 0) and key != "_target_"]
    kept = OmegaConf.masked_copy(node, [key for key in node if key not in weights and key not in nothing])
    return make(kept, **weights)  # of another class, without what only the group's own takes


def space_for(config: DictConfig, data: ImageData, sizes: Mapping[str, Any] | None = None) -> SearchSpace:
    """Return the configured space, with the sizes of the data.

    Args:
        config: The settings of the command.
        data: The images.
        sizes: Settings that take the place of configured ones.

    Raises:
        InputError: If a setting is out of range, or the space does not have it.
    """
    dense = {"dense": True} if data.task.dense else {}
    partial = OmegaConf.select(config, PARTIAL)
    if partial is not None and "_target_" in config.space and not _takes(config.space, PARTIAL.partition(".")[2]):
        raise InputError(f"{PARTIAL}={partial}: {config.space._target_} is a space without partial channels")
    if dense and "_target_" in config.space and not _takes(config.space, "dense"):
        raise InputError(f"task {data.task.name}: {config.space._target_} has no networks with logits for each pixel")
    node: Any = OmegaConf.merge(config.space, sizes) if sizes else config.space
    return make(node, image_shape=data.image_shape, classes=data.classes, **dense)


def architect_for(config: DictConfig, space: SearchSpace, criterion: Any, cost: Any = None) -> Architect:
    """Return the configured architect with the configured techniques.

    Args:
        config: The settings of the command.
        space: The search space.
        criterion: Loss of a batch.
        cost: Adds what the network costs to a loss; None adds nothing.

    Raises:
        InputError: If a setting is out of range, or a technique has no meaning for the architect.
    """
    architect: Architect = make(config.architect, space=space, criterion=criterion, cost=cost)
    parts = []
    for name, node in sorted((config.get("technique") or {}).items()):  # their order in a list is no setting
        part = make(node, **({"space": space} if _takes(node, "space") else {}))
        if not isinstance(part, Transform | Regularizer | Perturbation | Freeze):
            kinds = "transform, regularizer, perturbation or freeze"
            raise InputError(f"technique.{name}: {type(part).__name__} is no {kinds}")
        parts.append(part)
    if not parts:
        return architect
    try:
        return Composed(
            architect,
            [part for part in parts if isinstance(part, Transform)],
            [part for part in parts if isinstance(part, Regularizer)],
            [part for part in parts if isinstance(part, Perturbation)],
            [part for part in parts if isinstance(part, Freeze)],
        )
    except InputError as error:
        chosen = job.choices().get("architect")
        raise InputError(f"architect={chosen}: {error}" if chosen else str(error)) from None


def _takes(node: Any, name: str) -> bool:
    """Whether the function of a node has this parameter."""
    if not isinstance(node, DictConfig) or "_target_" not in node:
        return False
    return name in inspect.signature(instantiate({"_target_": node._target_, "_partial_": True}).func).parameters


def stages_for(config: DictConfig, space: SearchSpace) -> list[Stage] | None:
    """Return the configured stages of a search, or None.

    Raises:
        InputError: If a stage is no mapping of settings of `Stage`, or one is out of range.
    """
    if config.stages is None:
        return None
    if isinstance(config.stages, DictConfig) and "_target_" in config.stages:
        made: list[Stage] = make(config.stages, space=space)
        return made
    given = OmegaConf.to_container(config.stages, resolve=True) if OmegaConf.is_config(config.stages) else config.stages
    if not isinstance(given, list) or not given or not all(isinstance(stage, dict) for stage in given):
        raise InputError(f"stages={given!s:.80}: must be a list of mappings, as in conf/architect/p_darts.yaml")
    known = [field.name for field in dataclasses.fields(Stage)]
    for name in (name for stage in given for name in stage):
        if name not in known:
            raise unknown("setting of a stage", str(name), known)
    return [Stage(**stage) for stage in given]


def space_and_data(config: DictConfig, console: Console | None = None) -> tuple[SearchSpace, ImageData]:
    """Return the configured space and data, and say what the data are.

    Args:
        config: The settings of the command.
        console: Where this is said; None: nowhere.
    """
    data = data_for(config)
    space = space_for(config, data)
    say_about(data, console)
    return space, data


def score_name(config: DictConfig, data: ImageData) -> str:
    """Return the name of the score that `metric` means, of which larger is better.

    Args:
        config: The settings of the command.
        data: The images, with their task.
    """
    metrics = data.task.metrics(data.classes)
    if config.metric is None:
        return data.metric.quantity.score_name
    return metrics[config.metric].quantity.score_name if config.metric in metrics else config.metric


def check_usual(config: DictConfig, data: ImageData, known: Sequence[str]) -> None:
    """Check that an estimator gives the usual metric of the task where the configuration names no other score.

    Args:
        config: The settings of the command.
        data: The images, with their task.
        known: The scores of the estimator.

    Raises:
        InputError: If it does not.
    """
    if config.metric is None and data.metric.quantity.score_name not in known:
        raise InputError(
            f"task={data.task.name}: an estimator gives no {data.metric.quantity.label}, the usual metric of the task; "
            f"it gives {', '.join(known)}, which metric=NAME takes"
        )


def shown_score(name: str, data: ImageData) -> Quantity:
    """Return how a score is shown.

    Args:
        name: Of the score.
        data: The images, with their task.
    """
    quantity = data.metric.quantity
    if name == quantity.score_name:
        return quantity if quantity.maximize else Quantity(name, f"minus {quantity.label}", share=quantity.share)
    return Quantity(name, name.replace("_", " "), share=False)


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
    settle(config.seed, config.threads, config.get("freed_memory") != "returned")


def settle(seed: int, threads: int, keep_memory: bool = True) -> None:
    """Set seed and threads, and silence Lightning, at the start of a process.

    Args:
        seed: Seed of torch's global generator.
        threads: Number of CPU threads; 0: torch chooses.
        keep_memory: Whether freed memory is kept.
    """
    if keep_memory:
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


def device_of(config: DictConfig) -> torch.device:
    """Return the device that the trainer will choose.

    Args:
        config: The settings of the command.
    """
    return torch.device("cpu") if config.trainer.accelerator == "cpu" else read_device("auto")


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
