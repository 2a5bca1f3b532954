"""What every script shares: composing the configuration, turning bad input into one line, opening a run."""

import difflib
import functools
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
import wandb
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from yaml import YAMLError

from oneshot.acceleration import keep_freed_memory
from oneshot.architecture import read_text
from oneshot.callbacks import ProgressBar
from oneshot.errors import InputError, check_integer, unknown
from oneshot.runs import Run

CONF = Path(__file__).resolve().parent.parent / "conf"
FULL_ERROR = "HYDRA_FULL_ERROR"
SHOW_TRACE = os.environ.get(FULL_ERROR) == "1"
PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed")


def script(config_name: str) -> Callable[[Callable[[DictConfig], Any]], Callable[[], None]]:
    """Make a task a script: Hydra composes conf/<config_name>.yaml; bad input ends it with one line and code 2.

    HYDRA_FULL_ERROR=1 or debug=true shows the trace instead. Errors that are not the user's always show it.
    """

    def decorate(task: Callable[[DictConfig], Any]) -> Callable[[], None]:
        @functools.wraps(task)
        def guarded(config: DictConfig) -> Any:
            with bad_input_ends(config_name):  # here too: Hydra prints lines of its own about what leaves a task
                return task(config)

        entry = hydra.main(version_base=None, config_path=str(CONF), config_name=config_name)(guarded)

        def main() -> None:
            keep_freed_memory()
            sys.path.append(os.getcwd())  # operations, spaces and architects of the user's own, by _target_
            try:
                with bad_input_ends(config_name), hydra_raises():
                    entry()
            except KeyboardInterrupt:
                print("interrupted", file=sys.stderr)
                sys.exit(130)

        return main

    return decorate


@contextmanager
def bad_input_ends(config_name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        trace = SHOW_TRACE or any(a in ("debug=true", "debug=True") for a in sys.argv)
        line = None if trace else explain(error, config_name)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)


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


def explain(error: BaseException, config_name: str) -> str | None:
    """One line for an error that comes from the user's input; None for any other."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = error.__cause__
        return explain(cause, config_name) or f"{_line(error)} ({_line(cause)})"
    if isinstance(error, InputError | MisconfigurationException):
        return _line(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = f"{error.missing_cfg_file!s}".rpartition("/")  # type: ignore[str-bytes-safe]
        return str(unknown(f"choice for {group}", option, error.options))
    if isinstance(error, ConfigCompositionException):
        return _explain_override(error, config_name)
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _line(error)
    if isinstance(error, YAMLError):
        return f"a YAML file cannot be read: {_line(error)}"
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return _no_choice()
    return None


def _no_choice() -> str | None:
    """A group set to nothing or to a number, as architect=null."""
    for override in sys.argv[1:]:
        group, _, choice = override.partition("=")
        known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        if known and (choice in ("", "null") or _is_number(choice)):
            return f"{override}: must name a choice for {group}; known: {', '.join(known)}"
    return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _explain_override(error: ConfigCompositionException, config_name: str) -> str:
    """An override of something that does not exist: name it and the nearest setting."""
    message = str(error)
    for override in sys.argv[1:]:
        key = override.partition("=")[0].lstrip("+~")
        if f"'{key}'" in message:
            known = sorted({*_keys(_composed(config_name)), *(p.name for p in CONF.iterdir() if p.is_dir())})
            if override.startswith("+"):
                return f"setting {key!r} exists: {override.lstrip('+')} changes it"
            group = key.partition(".")[0]
            if (CONF / group).is_dir() and key == group:
                return f"unknown setting {key!r}: this script does not have it; --help lists all settings"
            if key in known:
                return f"unknown setting {key!r}: the chosen {group} does not have it; --help lists all settings"
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            return f"unknown setting {key!r}; " + (
                f"did you mean {near[0]!r}?" if near else "--help lists all settings"
            )
    return _line(error)


def _composed(config_name: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base=None):
        return hydra.compose(config_name)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every setting's dotted name."""
    for key in map(str, config) if isinstance(config, DictConfig) else ():
        yield f"{prefix}{key}"
        yield from _keys(config._get_node(key), f"{prefix}{key}.")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]


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


def prepare(config: DictConfig) -> None:
    """Check the settings that every script has; seed and threads take effect here."""
    for key in OmegaConf.missing_keys(config):
        raise InputError(f"{key}: must be given, {key}=VALUE")
    experiment, name = HydraConfig.get().runtime.choices.get("experiment"), HydraConfig.get().job.config_name
    for key, script in {"architects": "compare", "strategies": "compare_strategies"}.items():
        if experiment and key in config and name != script:
            raise InputError(f"experiment={experiment}: is for scripts/{script}.py")
    check_integer("epochs", config.epochs, 1, 100_000)
    check_integer("seed", config.seed, 0, 2**32 - 1)
    check_integer("threads", config.threads, 0, os.cpu_count() or 1)
    if config.out is not None and not (isinstance(config.out, str) and config.out):
        raise InputError(f"out={config.out!r}: must be a path")
    if config.trainer.precision not in PRECISIONS:
        raise unknown("trainer.precision", config.trainer.precision, PRECISIONS)
    if config.threads:
        torch.set_num_threads(config.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")  # Lightning 2.6 with torch 2.13
    torch.manual_seed(config.seed)


def trainer_for(config: DictConfig, console: Console | None, epochs: int | None = None) -> pl.Trainer:
    """The configured trainer, with our progress bar on this console, if any, and none of its own files."""
    lightning = [key for key in config.trainer if key not in ("compile", "cuda_graph", "precision")]
    return make(
        OmegaConf.masked_copy(config.trainer, lightning),
        max_epochs=epochs or config.epochs,
        precision=precision(config),
        callbacks=[ProgressBar(console)] if console else [],
        logger=False,
    )


def precision(config: DictConfig) -> str:
    """trainer.precision; auto is bf16-mixed on a CUDA device that computes in bfloat16, and 32-true elsewhere."""
    if config.trainer.precision != "auto":
        return config.trainer.precision
    on_gpu = config.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


@contextmanager
def recording(run: Run, config: DictConfig) -> Iterator[Callable[..., None]]:
    """A function that takes rows and writes them to the run's files and to the configured logger, if any."""
    logger = make(config.logger, save_dir=str(run.path)) if config.logger else None
    if logger:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True))

    def record(row: Mapping[str, Any], seconds: float | None = None) -> None:
        run.record(row, seconds)
        if logger:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, step=row["step"])

    try:
        yield record
    finally:
        if logger:
            logger.finalize("success")
            wandb.finish()


def fit(trainer: pl.Trainer, module: Any, run: Run, config: DictConfig) -> None:
    """Train the module; its rows go to the run's files and to the configured logger, if any."""
    with recording(run, config) as module.record:
        try:
            trainer.fit(module)
        except SystemExit:  # how Lightning ends after Ctrl-C
            if not trainer.interrupted:
                raise
            print(f"interrupted: {run.path} is incomplete", file=sys.stderr)
            sys.exit(130)


def run_folder(config: DictConfig, kind: str) -> Path:
    """out=DIR, by default outputs/<kind>/<date-time>-<hash of the configuration>.

    Jobs of one --multirun get folders of their own below out=DIR.
    """
    if config.out is not None:
        multirun = HydraConfig.get().mode == RunMode.MULTIRUN
        return Path(config.out, str(HydraConfig.get().job.num)) if multirun else Path(config.out)
    digest = blake2b(OmegaConf.to_yaml(config, resolve=True).encode(), digest_size=3).hexdigest()
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}-{digest}"
    path, number = Path("outputs", kind, name), 1
    while path.exists():
        number += 1
        path = path.with_name(f"{name}-{number}")
    return path


def open_run(config: DictConfig, path: Path) -> Run:
    """Make the folder of this run and write config.yaml, resolved, into it."""
    run = Run(path)
    run.write("config.yaml", OmegaConf.to_yaml(config, resolve=True))
    return run


def continue_run(config: DictConfig, path: Path) -> Run:
    """As open_run, but a folder that holds this configuration is taken up where it stopped.

    Raises InputError where it holds another one, and names the first setting that differs.
    """
    if not (path / "config.yaml").is_file():
        return open_run(config, path)
    before, now = (_flat(text) for text in (read_text(path / "config.yaml"), OmegaConf.to_yaml(config, resolve=True)))
    for key in {**before, **now}:
        old, new = before.get(key, "nothing"), now.get(key, "nothing")
        if old != new and key.split(".")[0] not in ("out", "debug", "logger"):
            raise InputError(f"out={path}: was started with {key}={old}, not {new}; name a new folder")
    return Run(path, continues=True)


def _flat(text: str) -> dict[str, Any]:
    """Every setting of a YAML file by its dotted name."""
    try:
        config = OmegaConf.create(text)
    except (OmegaConfBaseException, YAMLError):
        return {}
    values = {key: OmegaConf.select(config, key) for key in _keys(config)}
    return {key: value for key, value in values.items() if not isinstance(value, DictConfig)}


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
        raise InputError(f"device={name!r}: must be auto or the name of a device, as cpu or cuda:0")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # what torch raises differs by device
        raise InputError(f"device={name}: cannot be used here ({str(error).splitlines()[0][:80]})") from None
    return device
