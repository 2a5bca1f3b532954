"""The command line of the running command. Only this file asks Hydra about it."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

STARTED = "ONESHOT_STARTED"  # environment variable of a process that another process of the same run started
started = datetime.now()  # when the job started; launch.py sets it for each job of a --multirun
flags: list[str] = []  # flags of the command line that a next command needs too: --config-dir FOLDER


def is_multirun() -> bool:
    """Return whether this is one of several jobs of a --multirun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def number() -> int:
    """Return the number of the job in its --multirun."""
    return HydraConfig.get().job.num


def overrides() -> list[str]:
    """Return the settings of the command line, as they were typed."""
    return list(HydraConfig.get().overrides.task)


def own_overrides() -> list[str]:
    """Return the settings of this job, including Hydra's own, to start another process of the same job with."""
    of_hydra = [word for word in HydraConfig.get().overrides.hydra if not word.startswith("hydra.mode=")]
    return [*overrides(), *of_hydra]


def given() -> set[str]:
    """Return the names of the settings on the command line."""
    return {names(word) for word in overrides()}


def names(override: str) -> str:
    """Return the name of the setting in SETTING=VALUE."""
    return override.partition("=")[0].lstrip("+~")


def choices() -> Mapping[str, str | None]:
    """Return the choice of each group; none outside of a command."""
    return HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}


def program() -> Sequence[str]:
    """Return the words that start this `oneshot` from a shell."""
    found = shutil.which("oneshot")
    if found and Path(sys.executable).parent in (Path(found).parent, Path(found).resolve().parent):  # pipx makes a link
        return ["oneshot"]
    return [sys.executable, "-m", "oneshot"]


def child(command: str) -> list[str]:
    """Return the words that start a command in a process of its own.

    With -P no folder of the user's is searched before Python's own.
    """
    return [sys.executable, "-P", "-m", "oneshot", command]


def folders() -> tuple[Path, ...]:
    """Return the user's folders of settings, which the command line names."""
    sources = HydraConfig.get().runtime.config_sources
    return tuple(Path(source.path) for source in sources if source.schema == "file")
