"""The failures of a command that end with one line and an exit code. Any other failure shows its trace."""

import difflib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..errors import Diverged, InputError, Lost, one_line, unknown, visible
from ..runs import signals
from ..runs.files import is_full_disk, is_lost_disk
from .arguments import no_setting, quoted, with_values
from .composition import SEVERAL, groups, of_choices, overridden
from .conf import CONF, OPTIONAL, choices, spoken
from .meanings import defaults, included, own_settings, read

FULL_ERROR = "HYDRA_FULL_ERROR"
SHOW_TRACE = os.environ.get(FULL_ERROR) == "1"
BAD_INPUT, DIVERGED, OUT_OF_MEMORY, NO_DISK = 2, 3, 4, 5  # exit codes
BLOCKED = re.compile(r"Target '([^']+)'.* is blocklisted .*?(?:full_key: (\S+))?$", re.DOTALL)  # Hydra's message
SEVERAL_VALUES = re.compile(r"Ambiguous value for argument '(.+?)'\n")  # Hydra's message
NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


@contextmanager
def faults_end(config_name: str, config: DictConfig | None = None) -> Iterator[None]:
    """Return a context in which a failure that is no bug ends the process with one line and an exit code.

    Args:
        config_name: The command.
        config: Its settings, if they are known.
    """
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (Exception, signals.Stopped) as error:
        if stop := signals.stop_of(error):
            signals.say(f"{stop}{f'; the same command continues {stop.where}' if stop.where else ''}")
            sys.exit(stop.code)
        assert isinstance(error, Exception)
        trace = SHOW_TRACE or any(a in ("debug=true", "debug=True") for a in sys.argv)
        line, code = (None, 1) if trace else fault(error, config_name, config)
        if line is None:
            raise
        print(f"error: {visible(line)}", file=sys.stderr)
        sys.exit(code)


def fault(error: Exception, config_name: str, config: DictConfig | None) -> tuple[str | None, int]:
    """Return one line for a failure, or None if it is a bug, and the exit code."""
    if isinstance(error, Diverged):
        return one_line(error), DIVERGED
    if isinstance(error, Lost):
        return one_line(error), error.code
    if is_full_disk(error):
        return (
            f"the disk is full ({_what(error)}); what was kept is intact: make space, give the command again",
            NO_DISK,
        )
    if is_lost_disk(error):
        return f"{_what(error)}; what was kept is intact", NO_DISK
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError) and error.filename:
        return _what(error), BAD_INPUT
    if (
        isinstance(error, MemoryError)
        or _is(error, "torch", "OutOfMemoryError")
        or any(text in str(error) for text in NO_MEMORY)
    ):
        if config and "batches" in config:
            return f"out of memory with batches={config.batches}; lower them, or give device=cpu", OUT_OF_MEMORY
        size = OmegaConf.select(config, "data.batch_size") if config else None
        return f"out of memory with data.batch_size={size}; lower it, or space.channels or space.cells", OUT_OF_MEMORY
    return explain(error, config_name), BAD_INPUT


def explain(error: BaseException, config_name: str) -> str | None:
    """Return one line for an error in the user's input, or None for any other error."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = error.__cause__
        return explain(cause, config_name) or f"{one_line(error)} ({one_line(cause)})"
    if isinstance(error, InputError):
        return one_line(error)
    if _is(error, "lightning_fabric.utilities.exceptions", "MisconfigurationException"):
        return _misconfigured(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, option = f"{error.missing_cfg_file!s}".rpartition("/")  # type: ignore[str-bytes-safe]
        known = error.options if error.options is not None else [*choices(group)] if group == SEVERAL else None
        if known is not None:  # Hydra has no options for a group of which a list is chosen
            return str(unknown(f"choice for {group}", option, known))
    if isinstance(error, HydraException) and (several := SEVERAL_VALUES.match(str(error))):
        return _no_single_value(*several[1].split("=", 1))
    if isinstance(error, ConfigCompositionException):
        return _explain_override(error, config_name)
    if isinstance(error, OverrideParseException):
        return _unreadable(str(error.override), config_name)
    if isinstance(error, HydraException) and (blocked := BLOCKED.match(str(error))):
        name = f"{blocked[2]}._target_" if blocked[2] else "_target_"
        return f"{name}={blocked[1]}: Hydra calls nothing that could run other code; name a class of ours or yours"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return one_line(error)
    if isinstance(error, YAMLError):
        return f"a YAML file cannot be read: {one_line(error)}"
    return None


def _what(error: Exception) -> str:
    """The file and the reason of an error of the system."""
    assert isinstance(error, OSError)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or one_line(error)


def _is(error: BaseException, module: str, name: str) -> bool:
    """Whether the error has this class, whose module may not be imported."""
    return module in sys.modules and isinstance(error, getattr(sys.modules[module], name))


def _misconfigured(error: BaseException) -> str:
    """The line for an error of Lightning's about the settings of a Trainer."""
    if "No supported gpu backend found" in str(error) or "CUDAAccelerator" in str(error):
        return "trainer.accelerator=gpu: torch finds no GPU here; trainer=auto takes one where there is one"
    return f"trainer: {one_line(error)}"


def _no_single_value(name: str, values: str) -> str:
    """The line for values with commas between them, which Hydra takes for several jobs."""
    typed = shlex.quote(f"{name}=[{values}]")
    one = "the group takes one choice" if (CONF / name).is_dir() else f"a list needs brackets, as {typed}"
    return f"{name}={values}: {one}; --multirun makes a job of each value"


def _unreadable(override: str, command: str) -> str:
    """The line for a word that Hydra cannot read as a setting."""
    name, equals, value = override.partition("=")
    if not equals:
        return no_setting(command, override)
    if not value.isascii():
        inside = re.sub(r"[^\s,\[\]{}:'\"]*[^\x00-\x7f][^\s,\[\]{}:'\"]*", lambda found: quoted(found[0]), value)
        return f"{override}: texts that are not ASCII need quotes: {shlex.quote(f'{name}={inside}')}"
    if value.count("[") != value.count("]") or value.count("{") != value.count("}"):
        return f"{override}: cannot be read as SETTING=VALUE; a bracket is missing"
    if value[:1] in ("[", "{", "'", '"'):
        inner = name if name.endswith("settings") else "settings"
        return f"{override}: cannot be read as SETTING=VALUE; settings inside: \"{inner}=['epochs=2','threads=1']\""
    return f"{override}: cannot be read as SETTING=VALUE; as a text: {shlex.quote(f'{name}={quoted(value)}')}"


def _explain_override(error: ConfigCompositionException, command: str) -> str:
    """The line for a setting that does not exist, with the nearest one that does."""
    message = str(error)
    for override in sys.argv[1:]:
        key = override.partition("=")[0].lstrip("+~")
        if f"'{key}'" in message:
            if override.startswith("+"):
                return f"setting {key!r} exists: {override.lstrip('+')} changes it"
            return f"unknown setting {key!r}; {_hint(key, override, command)}"
    return one_line(error)


def _hint(key: str, override: str, command: str) -> str:
    """What to write instead of a setting that the command does not have."""
    see = f"`oneshot {spoken(command)} --help all` lists the settings"
    known = _known(command)
    first, _, last = key.rpartition(".")
    if "settings" in own_settings(command) and key.partition(".")[0] in _of_a_search():
        return f"`oneshot {spoken(command)}` passes settings on: \"settings=['{override}']\""
    group = key.partition(".")[0]
    if first and group in OPTIONAL and not any(name.startswith(f"{group}.") for name in known):
        return f"it needs a choice of {group}, as {group}={next(iter(sorted(choices(group))))}"
    if key in known or (key == key.partition(".")[0] and (CONF / key).is_dir()):
        return f"this command, or the chosen {key.partition('.')[0]}, does not have it; {see}"
    if key.startswith(f"{SEVERAL}.") and (absent := _not_chosen(key, known)):
        return absent
    alike = [name for name in known if name.rpartition(".")[2] == last and name != key]
    alike = [name for name in alike if first and name.startswith(f"{first.partition('.')[0]}.")] or alike
    near = alike or difflib.get_close_matches(key, [*known, *_groups()], n=1, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near[:3]))}?" if near else see


def _groups() -> list[str]:
    return [path.name for path in CONF.iterdir() if path.is_dir()]


def _of_a_search() -> set[str]:
    return {*own_settings("search"), *groups("search")}


def _not_chosen(key: str, known: Sequence[str]) -> str | None:
    """What to say of a setting of a technique that the command line does not choose; None if it does."""
    names = _techniques(_given().get(SEVERAL, ""))
    near = difflib.get_close_matches(key.split(".")[1], choices(SEVERAL, _folders()), n=1)
    if not near or near[0] in names or any(name.startswith(f"{SEVERAL}.{near[0]}.") for name in known):
        return None
    return f"technique {near[0]} is not chosen; {SEVERAL}=[{','.join([*names, near[0]])}] adds it"


def _known(command: str) -> list[str]:
    """The names of the settings that a command has with the choices of the command line."""
    names = [s.key for name in included(command) for s in read(CONF / f"{name}.yaml").settings]
    return list(dict.fromkeys([*names, *(setting.key for setting in of_choices(_chosen(command), _folders()))]))


def _chosen(command: str) -> list[tuple[str, str]]:
    """Each group with its choice, from the command line or else the default."""
    entries = [entry for name in included(command) for entry in defaults(CONF / f"{name}.yaml")]
    chosen = {group: str(choice) for entry in entries if isinstance(entry, dict) for group, choice in entry.items()}
    chosen = {group: _given().get(group, choice) for group, choice in chosen.items()}
    for group, choice in [*chosen.items()]:
        chosen |= {g: c for g, c in overridden(group, choice, _folders()).items() if g not in _given()}
    several = _techniques(chosen.pop(SEVERAL, ""))
    return [*chosen.items(), *((SEVERAL, name) for name in several)]


def _given() -> dict[str, str]:
    """The values of the command line, by the names of the settings."""
    return dict(word.lstrip("+~").split("=", 1) for word in sys.argv[1:] if "=" in word)


def _techniques(written: str) -> list[str]:
    return re.findall(r"\w+", written)


def _folders() -> tuple[Path, ...]:
    """The user's folders of settings."""
    return tuple(map(Path, with_values(sys.argv, ("--config-dir", "-cd"))[1::2]))
