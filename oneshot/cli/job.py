"""The running command as its command line describes it. Only this file asks Hydra about it."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

STARTED = "ONESHOT_STARTED"  # in the environment of a process that another one of the same run has started
started = datetime.now()  # of the job; launch.py sets it anew for each job of a --multirun
flags: list[str] = []  # the command line's own flags that a next command needs too: --config-dir FOLDER


def is_multirun() -> bool:
    """Whether this is one of several jobs of a --multirun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def number() -> int:
    """The job's number in its --multirun."""
    return HydraConfig.get().job.num


def overrides() -> list[str]:
    """The settings of the command line, as given."""
    return list(HydraConfig.get().overrides.task)


def own_overrides() -> list[str]:
    """The settings of this one job, Hydra's own among them: what a process with the same job is started with."""
    of_hydra = [word for word in HydraConfig.get().overrides.hydra if not word.startswith("hydra.mode=")]
    return [*overrides(), *of_hydra]


def given() -> set[str]:
    """The names of the settings of the command line."""
    return {names(word) for word in overrides()}


def names(override: str) -> str:
    """The name of the setting in SETTING=VALUE."""
    return override.partition("=")[0].lstrip("+~")


def choices() -> Mapping[str, str | None]:
    """The choice of each group."""
    return HydraConfig.get().runtime.choices


def program() -> Sequence[str]:
    """The words that start `oneshot` from a shell here."""
    found = shutil.which("oneshot")
    if found and Path(found).resolve().parent == Path(sys.executable).resolve().parent:
        return ["oneshot"]
    if found and Path(found).parent == Path(sys.executable).parent:
        return ["oneshot"]
    return [sys.executable, "-m", "oneshot"]


def child(command: str) -> list[str]:
    """The words that start a command in a process of its own. -P: no folder of the user's comes before Python's."""
    return [sys.executable, "-P", "-m", "oneshot", command]


def folders() -> tuple[Path, ...]:
    """The user's own folders of settings, as the command line names them."""
    sources = HydraConfig.get().runtime.config_sources
    return tuple(Path(source.path) for source in sources if source.schema == "file")
