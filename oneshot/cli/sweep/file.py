"""Read a sweep from a file in W&B's own format, which `wandb sweep` takes as well."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from ...errors import InputError, check_integer, is_number, one_line, unknown
from ...runs.files import parse_yaml, read_given
from .brackets import Brackets, brackets
from .distributions import Parameter, parameters

PROGRAMS = ("search", "retrain", "baseline", "rank")  # commands whose runs write metrics.jsonl and result.json to out=
OURS = ("out", "resume")
METHODS = ("grid", "random", "bayes")
REQUIRED = ("program", "method", "parameters", "command")
KEYS = (*REQUIRED, "metric", "early_terminate", "run_cap", "name", "description", "project", "entity")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # names of parameters in W&B's schema
BEFORE, PROGRAM, SETTINGS = ("${env}", "${interpreter}"), "${program}", "${args_no_hyphens}"
OURSELVES = "oneshot"
COMMAND = f"[{', '.join((BEFORE[0], OURSELVES, 'search', SETTINGS))}]"
MAX_BYTES = 1 << 16


@dataclass(frozen=True)
class Sweep:
    """A sweep.

    Args:
        program: Name of the command that the jobs run.
        method: "grid", "random" or "bayes".
        metric: Name of the metric; empty for none.
        maximize: Whether the metric is maximized.
        target: Value of the metric at which no more jobs begin, if any.
        parameters: The settings that differ between jobs.
        settings: Settings of every job, from `command` of the file.
        brackets: When jobs are stopped early, if at all.
        run_cap: Number of jobs, if the file has it.
        content: The content of the file.
    """

    program: str
    method: str
    metric: str
    maximize: bool
    target: float | None
    parameters: tuple[Parameter, ...]
    settings: tuple[str, ...]
    brackets: Brackets | None
    run_cap: int | None
    content: Mapping[str, Any]


def read(file: str) -> Sweep:
    """Read a sweep from a file.

    Args:
        file: Path of the file.

    Raises:
        InputError: If the file cannot be read or is no such sweep; the message names the file.
    """
    try:
        content = parse_yaml(read_given(Path(file), MAX_BYTES))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{file}: is no YAML ({one_line(error, 120)})") from None
    try:
        return sweep(content)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def sweep(content: Any) -> Sweep:
    """Return the sweep of a file's content.

    Raises:
        InputError: If the content is malformed.
    """
    if not isinstance(content, dict):
        raise InputError("must be a mapping, as the files in conf/sweeps")
    for key in content:
        if key not in KEYS:
            raise unknown("key", key, KEYS)
    for key in REQUIRED:
        if key not in content:
            raise InputError(f"{key}: must be given" + (f", as command: {COMMAND}" if key == "command" else ""))
    _check_plain(content)
    if content["method"] not in METHODS:
        raise unknown("method", content["method"], METHODS)
    metric, target = _metric(content)
    if "run_cap" in content:
        check_integer("run_cap", content["run_cap"], 1)
    if not isinstance(content["parameters"], dict) or not content["parameters"]:
        raise InputError("parameters: must be a mapping with at least one")
    found = parameters(content["parameters"])
    for parameter in found:
        _check(parameter, content["method"])
    return Sweep(
        _program(content["program"], content["command"]),
        content["method"],
        metric["name"],
        metric.get("goal") == "maximize",
        target,
        tuple(found),
        _settings(content["command"]),
        brackets(content.get("early_terminate")),
        content.get("run_cap"),
        content,
    )


def _check_plain(content: Mapping[str, Any]) -> None:
    """Raise InputError if a text outside `command` has ${...}, in whose place Hydra would put something else."""
    for key in content:
        if key != "command" and "${" in repr(content[key]):
            raise InputError(f"{key}: holds ${{...}}; a sweep is read as it is, and nothing is put in its place")


def _metric(content: Mapping[str, Any]) -> tuple[Mapping[str, Any], float | None]:
    if "metric" not in content and content["method"] != "bayes" and "early_terminate" not in content:
        return {"name": ""}, None
    metric = content.get("metric")
    if not isinstance(metric, dict) or not isinstance(metric.get("name"), str) or not metric["name"]:
        raise InputError("metric: must be a mapping with a name, as {name: valid/accuracy, goal: maximize}")
    for key in metric:
        if key not in ("name", "goal", "target"):
            raise unknown("key of metric", key, ("name", "goal", "target"))
    if metric.get("goal", "minimize") not in ("minimize", "maximize"):
        raise unknown("metric.goal", metric["goal"], ("minimize", "maximize"))
    if "target" in metric and not is_number(metric["target"]):
        raise InputError(f"metric.target={metric['target']!r}: must be a number")
    return metric, metric.get("target")


def _program(program: Any, command: Any) -> str:
    """The command that a job runs: `oneshot search` in `command`, or a file of scripts/ as `program`."""
    if program == OURSELVES and isinstance(command, list) and OURSELVES in command[:-1]:
        name = command[command.index(OURSELVES) + 1]
        if name not in PROGRAMS:
            raise unknown("command of oneshot", name, PROGRAMS)
        return name
    known = [OURSELVES, *(f"scripts/{name}.py" for name in PROGRAMS)]
    if program not in known:
        raise unknown("program", program, known)
    return Path(program).stem


def _settings(command: Any) -> tuple[str, ...]:
    """The settings in the command without W&B's macros and `logger=wandb`, which is the default here too."""
    if not isinstance(command, list) or not all(isinstance(word, str) for word in command):
        raise InputError(f"command: must be a list of texts, as {COMMAND}")
    ours = OURSELVES in command[:-1]
    first = OURSELVES if ours else PROGRAM
    if first not in command or SETTINGS not in command:
        named = first if first in command else OURSELVES
        raise InputError(f"command: must hold {named} and {SETTINGS}, as Hydra wants name=value: {COMMAND}")
    at = command.index(first)
    for word in command[:at]:
        if word not in BEFORE:
            raise InputError(f"command: {word!r} before {first}; only {' and '.join(BEFORE)} can be there")
    words = [word for word in command[at + 1 + ours :] if word != SETTINGS]
    for word in words:
        check_setting(word, "command")
    return tuple(word for word in words if word != "logger=wandb")


def _check(parameter: Parameter, method: str) -> None:
    if not NAME.fullmatch(parameter.name):
        raise InputError(f"parameters: {parameter.name!r} is no name that W&B takes ({NAME.pattern})")
    if parameter.name in OURS:
        raise InputError(f"parameters.{parameter.name}: is set by the sweep, for each job its own")
    if method == "grid" and parameter.values is None:
        raise InputError(f"parameters.{parameter.name}: a grid needs values, value or whole numbers as min and max")
    for value in parameter.values if isinstance(parameter.values, tuple) else ():
        if value is None:
            raise InputError(f'parameters.{parameter.name}: null would arrive as the text None; write "null"')
        check_setting(setting(parameter.name, value), f"parameters.{parameter.name}")


def setting(name: str, value: Any) -> str:
    """Return a setting as W&B's agent writes it for ${args_no_hyphens}."""
    return f"{name}={value}"


def check_setting(text: str, where: str) -> None:
    """Check that Hydra reads a text as one setting with one value.

    Args:
        text: The text.
        where: Where it is from, for the message.

    Raises:
        InputError: If it does not.
    """
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise InputError(f"{where}: Hydra cannot read {text} ({str(error).splitlines()[0][:120]})") from None
    if override.is_sweep_override() or "${" in text:
        raise InputError(f"{where}: {text} must be one setting with one value")


def settings_of(values: Mapping[str, Any]) -> Sequence[str]:
    """Return the settings of a job, from its parameters."""
    return [setting(name, value) for name, value in values.items()]
