"""What can go wrong with a script, as one line and an exit code; anything else shows its trace."""

import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from yaml import YAMLError

from ..errors import Diverged, InputError, one_line, unknown
from ..runs.folder import is_full_disk
from ..runs.signals import Stopped, stop_of
from .processes import Lost

CONF = Path(__file__).resolve().parent.parent / "conf"
FULL_ERROR = "HYDRA_FULL_ERROR"
SHOW_TRACE = os.environ.get(FULL_ERROR) == "1"
BAD_INPUT, DIVERGED, OUT_OF_MEMORY, FULL_DISK = 2, 3, 4, 5  # exit codes
BLOCKED = re.compile(r"Target '([^']+)'.* is blocklisted .*?(?:full_key: (\S+))?$", re.DOTALL)  # by Hydra
NO_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory")


@contextmanager
def faults_end(config_name: str, config: DictConfig | None = None) -> Iterator[None]:
    """Inside, what is not a fault of ours ends the process with one line and a code of its own."""
    try:
        yield
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (Exception, Stopped) as error:
        if stop := stop_of(error):
            print(f"{stop}{f'; the same command continues {stop.where}' if stop.where else ''}", file=sys.stderr)
            sys.exit(stop.code)
        assert isinstance(error, Exception)
        trace = SHOW_TRACE or any(a in ("debug=true", "debug=True") for a in sys.argv)
        line, code = (None, 1) if trace else fault(error, config_name, config)
        if line is None:
            raise
        print(f"error: {line}", file=sys.stderr)
        sys.exit(code)


def fault(error: Exception, config_name: str, config: DictConfig | None) -> tuple[str | None, int]:
    """One line and the exit code; no line for an error that is none of these."""
    if isinstance(error, Diverged):
        return one_line(error), DIVERGED
    if isinstance(error, Lost):
        return one_line(error), error.code
    if is_full_disk(error):
        return (
            f"the disk is full ({one_line(error)}); what was kept is intact: make space, give the command again",
            FULL_DISK,
        )
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError) and error.filename:
        return f"{error.filename}: {error.strerror}", BAD_INPUT
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(text in str(error) for text in NO_MEMORY):
        if config and "batches" in config:
            return f"out of memory with batches={config.batches}; lower them, or give device=cpu", OUT_OF_MEMORY
        size = OmegaConf.select(config, "data.batch_size") if config else None
        return f"out of memory with data.batch_size={size}; lower it, or space.channels or space.cells", OUT_OF_MEMORY
    return explain(error, config_name), BAD_INPUT


def explain(error: BaseException, config_name: str) -> str | None:
    """One line for an error that comes from the user's input; None for any other."""
    if isinstance(error, InstantiationException) and error.__cause__ is not None:
        cause = error.__cause__
        return explain(cause, config_name) or f"{one_line(error)} ({one_line(cause)})"
    if isinstance(error, InputError | MisconfigurationException):
        return one_line(error)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = f"{error.missing_cfg_file!s}".rpartition("/")  # type: ignore[str-bytes-safe]
        return str(unknown(f"choice for {group}", option, error.options))
    if isinstance(error, ConfigCompositionException):
        return _explain_override(error, config_name)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read as SETTING=VALUE; settings inside: \"settings=['epochs=2','seed=1']\""
    if isinstance(error, HydraException) and (blocked := BLOCKED.match(str(error))):
        name = f"{blocked[2]}._target_" if blocked[2] else "_target_"
        return f"{name}={blocked[1]}: Hydra calls nothing that could run other code; name a class of ours or yours"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return one_line(error)
    if isinstance(error, YAMLError):
        return f"a YAML file cannot be read: {one_line(error)}"
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
                return f"unknown setting {key!r}: this script does not have it; --help all lists them"
            if key in known:
                return f"unknown setting {key!r}: the chosen {group} does not have it; --help all lists them"
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            return f"unknown setting {key!r}; " + (f"did you mean {near[0]!r}?" if near else "--help all lists them")
    return one_line(error)


def _composed(config_name: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base=None):
        return hydra.compose(config_name)


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every setting's dotted name."""
    for key in map(str, config) if isinstance(config, DictConfig) else ():
        yield f"{prefix}{key}"
        yield from _keys(config._get_node(key), f"{prefix}{key}.")
