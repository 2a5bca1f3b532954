"""The folder of a run: given as out=, taken up, or new."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ..errors import InputError
from ..runs.folder import CONFIG, differences, is_free, is_locked, parse_settings, read_result, read_settings
from . import job

PROCESSES = ("trainer.devices", "trainer.num_nodes")  # how many compute a run changes it by rounding alone
FREE = (
    "out",
    "debug",
    "pictures",
    "logger",
    "resume",
    "checkpoint",
    "executor",
    *PROCESSES,
)  # a continued run may have others


def run_folder(config: DictConfig, kind: str) -> Path:
    """out=DIR, by default outputs/<kind>/<date-time>-<hash of the configuration>.

    Jobs of one --multirun get folders of their own below out=DIR. Without out= the newest folder of the same
    configuration that has not finished is taken up, in a --multirun one that has finished too; resume=false: a new one.
    """
    multirun = job.is_multirun()
    if config.out is not None:
        return Path(config.out, str(job.number())) if multirun else Path(config.out)
    settings = parse_settings(OmegaConf.to_yaml(config, resolve=True))
    settings = {key: value for key, value in settings.items() if not is_free(key, FREE)}
    digest = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=3).hexdigest()
    root = Path("outputs", kind)
    for path in sorted(root.glob(f"*-{digest}*"), reverse=True) if config.get("resume") else ():
        if (read_result(path) is None or multirun) and _holds(path, settings) and not is_locked(path):
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
    """What this setting was when the run in out= began: what `latest` stood for then."""
    if config.out is None:
        return None
    kept = run_folder(config, kind) / CONFIG
    if not kept.is_file():
        return None
    value = read_settings(kept).get(key)
    return value if isinstance(value, str) else None
