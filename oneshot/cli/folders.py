"""The folder of a run: the one of out=, that of an unfinished run, or a new one."""

import glob
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from ..errors import InputError
from ..runs.files import check_folder, is_file, kind_of
from ..runs.folder import is_locked, latest, read_result
from ..runs.settings import CONFIG, differences, is_free, parse_settings, read_settings
from . import job

NETWORK = "network.safetensors"  # weights of a retraining
ARCHITECTURE = "architecture.json"
LATEST = {"architecture": ("search", ARCHITECTURE), "run": ("retrain", NETWORK)}
PROCESSES = ("trainer.devices", "trainer.num_nodes")  # the number of processes changes results by rounding only
FREE = (
    "out",
    "debug",
    "pictures",
    "logger",
    "resume",
    "checkpoint",
    "controls",  # they are measured after all else
    "executor",
    "data.residence",  # where images are held changes no batch
    "data.workers",
    "trainer.cuda_graph",  # the numbers are the same
    *PROCESSES,
)  # a continued run may have other values of these


def run_folder(config: DictConfig, kind: str) -> Path:
    """Return the folder of a run: out=DIR, by default outputs/<kind>/<date-time>-<hash of the configuration>.

    Each job of a --multirun gets a folder of its own in out=DIR. Without out=, the newest unfinished folder of the same
    configuration is continued; in a --multirun a finished one is taken as well. With resume=false the folder is new.

    Args:
        config: The settings of the command.
        kind: Name of the command.
    """
    multirun = job.is_multirun()
    if config.out is not None:
        return Path(config.out, str(job.number())) if multirun else Path(config.out)
    settings = parse_settings(OmegaConf.to_yaml(config, resolve=True))
    settings = {key: value for key, value in settings.items() if not is_free(key, FREE)}
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=3).hexdigest()
    root = Path("outputs", kind)
    for path in sorted(root.glob(f"*-{digest}*"), reverse=True) if config.get("resume") else ():
        if _holds(path, settings) and (read_result(path) is None or multirun) and not is_locked(path):
            return path
    name = f"{job.started:%Y-%m-%d_%H-%M-%S}-{digest}"
    path, number = root / name, 1
    while path.exists():
        number += 1
        path = path.with_name(f"{name}-{number}")
    return path


def _holds(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether a run with these settings began there."""
    try:
        return not differences(read_settings(path / CONFIG), settings, FREE)
    except InputError:
        return False


def held(config: DictConfig, kind: str, key: str) -> str | None:
    """Return the value that a setting had when the run in out= began, for example the path that `latest` meant then.

    Args:
        config: The settings of the command.
        kind: Name of the command.
        key: Name of the setting.
    """
    if config.out is None:
        return None
    kept = run_folder(config, kind) / CONFIG
    if not is_file(kept):
        return None
    value = read_settings(kept).get(key)
    return value if isinstance(value, str) else None


def resolve_latest(config: DictConfig, command: str) -> None:
    """Replace `latest` by the path that it means, so that a run which continues has the same.

    Raises:
        InputError: If there is no finished run to take.
    """
    for setting, (kind, holds) in LATEST.items():
        if config.get(setting) == "latest":
            config[setting] = held(config, command, setting) or str(latest(Path("outputs", kind), setting, holds))


def check_inputs(config: DictConfig, command: str) -> None:
    """Check the folders of other runs, which the settings name, and the folder of this one if it is there.

    Raises:
        InputError: If another run is not there, or if a folder holds links, devices or other things that are not files.
    """
    names = ("architecture", "run", "supernet", *(() if job.is_multirun() else ("out",)))
    for name in (config.get(key) for key in names):
        if isinstance(name, str) and os.path.isdir(name):  # false also where a text is too long for a path
            check_folder(Path(name))
        elif isinstance(name, str) and os.path.exists(name) and not os.path.isfile(name):
            raise InputError(f"{name}: is {kind_of(Path(name).stat().st_mode)}, and not a file")
    found = config.get("architecture")
    if isinstance(found, str) and os.path.isdir(found) and not is_file(Path(found, ARCHITECTURE)):
        raise InputError(f"architecture={found}: must be the folder of a finished search, which holds {ARCHITECTURE}")
    if "run" in config:
        finished(config)
    for run in config.runs if command == "report" and isinstance(config.runs, ListConfig) else ():
        if isinstance(run, str) and not os.path.lexists(run) and not glob.glob(run):
            raise InputError(f"{run}: there is no such folder; name a run, a folder above runs, or a pattern in quotes")


def finished(config: DictConfig) -> Path:
    """Return the folder of run=.

    Raises:
        InputError: If it is not the folder of a finished retraining.
    """
    if not isinstance(config.run, str) or not config.run:
        raise InputError(f"run={config.run!r}: must be latest or the folder of a finished retraining")
    folder = Path(config.run)
    if not os.path.isdir(folder):
        raise InputError(f"run={folder}: there is no such folder; latest is the newest finished retraining")
    if not is_file(folder / NETWORK):
        raise InputError(f"run={folder}: must be the folder of a finished retraining, which holds {NETWORK}")
    if read_result(folder) is None:
        raise InputError(f"run={folder}: is no finished run")
    return folder


def announced_folder(config: DictConfig, command: str) -> Path | None:
    """Return the folder to name in a run's first line, or None for a command that makes no run.

    If settings must first be taken from another run, only the folder above is known.
    """
    if "resume" not in config or "file" in config:
        return None
    takes = isinstance(config.get("supernet"), str) or "run" in config
    return Path("outputs", command) if config.out is None and takes else run_folder(config, command)
