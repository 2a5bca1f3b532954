"""Check the names and plain types of a command's settings before torch is imported."""

import ast
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import InputError, check_boolean, check_integer, is_number, unknown
from ..runs.files import read_given
from . import job
from .comparison import settings as comparison
from .composition import PARTIAL, SEVERAL, settings_of, techniques
from .conf import CONF, choices, load, spoken
from .meanings import included
from .signatures import signature

PRECISIONS = ("auto", "32-true", "64-true", "bf16-mixed")
EPOCHS, SEED = (1, 100_000), (0, 2**32 - 1)
KINDS = {
    "int": ("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "float": ("a number", is_number),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "str": ("a text", lambda v: isinstance(v, str)),
    "None": ("null", lambda v: v is None),
}
GROUPS = tuple(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("experiment", "sweeps"))
ALL = "all"  # of architects, in place of a list
LISTS = {"architects": "architect"}  # setting -> the group whose choices it lists
OF_THE_RUN = ("source", "test_split")  # of data: null is what the run of `oneshot evaluate` had
MACHINERY = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")


def check(config: DictConfig, command: str) -> None:
    """Check the settings of a command. Ranges are checked later, by the objects that take the values.

    Args:
        config: The settings.
        command: The command.

    Raises:
        InputError: If a setting is missing, unknown or of a wrong type.
    """
    if command == "sweep" and OmegaConf.is_missing(config, "file"):
        raise InputError("name a sweep: oneshot sweep FILE.yaml")
    for key in OmegaConf.missing_keys(config):
        raise InputError(f"{key}: must be given, {key}=VALUE")
    _check_common(config)
    _check_techniques(config)
    _check_names([*job.choices().items(), *((SEVERAL, str(name)) for name in config.get(SEVERAL) or {})])
    files = _defaults(command, config.get(SEVERAL) or {})
    for name in job.given():
        default = OmegaConf.select(files, name)
        if default is not None and OmegaConf.select(config, name, throw_on_missing=False) is not None:
            _check_like(name, OmegaConf.select(config, name), default)
        elif name in config and config[name] is None and isinstance(default, DictConfig) and "_target_" in default:
            _check_like(name, None, default)
    if "label_smoothing" in job.given() and "label_smoothing" not in config.criterion:
        raise InputError(f"label_smoothing={config.label_smoothing}: {config.criterion._target_} has none")
    for path, node in _nodes(config):
        _check_node(path, node, OF_THE_RUN if (command, path) == ("evaluate", "data") else ())
    for key, group in LISTS.items():
        known = choices(group, job.folders())
        names = config.get(key, [])
        if not isinstance(names, ListConfig | list) and names != ALL:
            raise InputError(f"{key}={_text(names)}: must be a list, as {key}=[...]")
        for name in names if names != ALL else ():
            if name not in known:
                raise unknown(group, name, known)
    if command == "compare":
        comparison.read(config)


def _check_common(config: DictConfig) -> None:
    """Check the settings that several commands have."""
    if "epochs" in config:
        check_integer("epochs", config.epochs, *EPOCHS)
    if "seed" in config:
        check_integer("seed", config.seed, *SEED)
    if "threads" in config:
        check_integer("threads", config.threads, 0, os.cpu_count() or 1)
    if "controls" in config:
        check_integer("controls", config.controls, 0)
        if config.controls and not isinstance(config.get("supernet"), DictConfig):  # there a search only trains weights
            raise InputError(f"controls={config.controls}: is a setting of oneshot search; must be 0 here")
    if "resume" in config:
        check_boolean("resume", config.resume)
    if "checkpoint" in config and (not isinstance(config.checkpoint, DictConfig) or "every" not in config.checkpoint):
        raise InputError(f"checkpoint={config.checkpoint}: must be given as checkpoint.every=VALUE")
    if "out" in config and config.out is not None and not (isinstance(config.out, str) and config.out):
        raise InputError(f"out={config.out!r}: must be a path")
    precision = OmegaConf.select(config, "trainer.precision")
    if isinstance(config.get("trainer"), DictConfig) and precision not in PRECISIONS:
        raise unknown("trainer.precision", precision, PRECISIONS)


def _check_names(chosen: Iterable[tuple[str, str | None]]) -> None:
    """Check that no file of the user's has the name of a choice that is taken from conf/ in its place."""
    for group, name in chosen:
        file = Path(group.partition("@")[0], f"{name}.yaml")
        for folder in job.folders():
            if (folder / file).is_file() and (CONF / file).is_file() and not folder.samefile(CONF):
                raise InputError(
                    f"{folder / file}: is not used, as {file.parent}={name} is a choice of oneshot's own; give the "
                    "file another name"
                )


def _check_techniques(config: DictConfig) -> None:
    """Check that each technique says what it makes. A file that lacks its first line lands at another place."""
    several: Any = config.get(SEVERAL) or {}
    if not isinstance(several, DictConfig | dict):
        raise InputError(f"{SEVERAL}={_text(several)}: must be a mapping from names to techniques, as in conf")
    for name, node in ((str(key), several[key]) for key in several):
        if isinstance(node, DictConfig) and "_target_" in node:
            continue
        known = choices(SEVERAL, job.folders())
        wrong = [path for path in known.values() if name in load(path) and "@package" not in read_given(path)[:200]]
        hint = f"{SEVERAL}=[{name}] adds it" if name in known else f"its file has {SEVERAL}: NAME: _target_: CLASS"
        if wrong:
            hint = f"the first line of {wrong[0]} must be `# @package _global_`"
        raise InputError(f"{SEVERAL}.{name}={_text(node)}: must be a mapping with _target_; {hint}")


def _defaults(command: str, several: Iterable[Any]) -> DictConfig:
    """The settings of the command's own files and of the chosen files of its groups."""
    own = [load(CONF / f"{name}.yaml") for name in included(command)]
    found: Any = OmegaConf.merge(*reversed(own))
    for group, choice in (*job.choices().items(), *((SEVERAL, name) for name in several)):
        folder, _, package = group.partition("@")
        path = choices(folder, job.folders()).get(choice or "")
        if path and folder in GROUPS and "@package _global_" not in read_given(path)[:200]:
            found = OmegaConf.merge(found, {package or folder: settings_of(path)})
        elif path and folder in GROUPS:
            found = OmegaConf.merge(found, settings_of(path))
    return found


def _check_like(name: str, value: Any, default: Any) -> None:
    """Check that a value of the command line has the type of the value in the file."""
    if isinstance(default, bool):
        check_boolean(name, value)
    elif isinstance(default, float) and not is_number(value):
        raise InputError(f"{name}={_text(value)}: must be a number")
    elif isinstance(default, ListConfig) and not isinstance(value, ListConfig) and value != ALL:
        raise InputError(f"{name}={_text(value)}: must be a list, as {name}=[...]")
    elif isinstance(default, DictConfig) and "_target_" in default and not isinstance(value, DictConfig):
        raise InputError(f"{name}={_text(value)}: must be a mapping with _target_, as in conf")


def _nodes(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every mapping with a _target_, by its dotted name."""
    for key in map(str, config):
        node = config._get_node(key)
        if isinstance(node, DictConfig) and not node._is_none() and not node._is_interpolation():
            yield from _nodes(node, f"{prefix}{key}.")
            if isinstance(node.get("_target_"), str):
                yield f"{prefix}{key}", node


def _check_node(path: str, node: DictConfig, optional: Sequence[str] = ()) -> None:
    target = node._target_
    found = signature(target)
    if found is None:
        return
    for key in map(str, node):
        if key in MACHINERY or (key in optional and node[key] is None):
            continue
        if key not in found.parameters:
            if found.open or node[key] is None:  # `oneshot evaluate` asks every data set for a source
                continue
            if f"{path}.{key}" == PARTIAL:  # of a technique; later there is a better line
                continue
            known = [name for name, annotation in found.parameters.items() if name in node or list(_kinds(annotation))]
            raise unknown("setting", f"{path}.{key}", [f"{path}.{name}" for name in known])
        kinds = list(_kinds(found.parameters[key]))
        value = node[key]
        if kinds and not any(KINDS[kind][1](value) for kind in kinds):
            allowed = " or ".join(KINDS[kind][0] for kind in kinds)
            raise InputError(f"{path}.{key}={_text(value)}: must be {allowed}")


def _kinds(annotation: ast.expr | None) -> Iterator[str]:
    """The plain types of an annotation; none if one of its parts is no plain type."""
    parts = _parts(annotation)
    names = [ast.unparse(part) for part in parts]
    if all(name in KINDS for name in names):
        yield from names


def _parts(annotation: ast.expr | None) -> list[ast.expr]:
    if annotation is None:
        return [ast.Name("unknown")]
    if isinstance(annotation, ast.BinOp):
        return [*_parts(annotation.left), *_parts(annotation.right)]
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return _parts(ast.parse(annotation.value, mode="eval").body)
    return [annotation]


def _text(value: Any) -> str:
    if value is None:
        return "null"
    return repr(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value)[:80]


def line(config: DictConfig, command: str, folder: Path | None) -> str:
    """Return one line about a run: method, space, data, device as it was asked for, and folder.

    Args:
        config: The settings.
        command: The command.
        folder: Folder of the run, if it has one.
    """
    chosen = job.choices()
    parts = []
    if "architecture" in config:
        given = str(config.architecture)  # a path, or a notation
        parts.append(f"architecture {given if len(given) <= 120 else f'{given[:60]}...'}")
    if "run" in config:
        parts.append(f"run {config.run}")
    for group in ("strategy", "estimator", "architect", "space", "data"):
        if chosen.get(group) and not (command == "compare" and group in ("architect", "estimator")):
            parts.append(f"{group} {chosen[group]}{_beside(config, chosen) if group == 'architect' else ''}")
    for key in ("methods", "architects", "file", "runs"):
        if key in config and config[key]:
            value = config[key]
            parts.append(f"{key} {' '.join(map(str, value)) if isinstance(value, ListConfig) else value}")
    device = config.get("device") or OmegaConf.select(config, "trainer.accelerator")
    if device:
        number = OmegaConf.select(config, "trainer.devices")
        parts.append(f"device {device}{f' x {number}' if number not in (None, 1) else ''}")
    if folder is not None:
        parts.append(f"folder {folder}")
    return f"{spoken(command)}: {', '.join(parts)}" if parts else ""


def _beside(config: DictConfig, chosen: Mapping[str, str | None]) -> str:
    """The techniques that are not those of the architect's file, as ` + beta_decay`, and its own that are not used."""
    path = choices("architect", job.folders()).get(chosen["architect"] or "")
    own, used = techniques(settings_of(path)) if path else set(), techniques(config)
    return "".join([*(f" + {name}" for name in sorted(used - own)), *(f" - {name}" for name in sorted(own - used))])
