"""Write the rows and the result of a run to its folder and to the configured logger."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf

from ..errors import InputError, named, one_line
from ..fitting.base import Fit
from ..fitting.checkpoints import Checkpoints
from ..runs.clock import worked
from ..runs.files import MAX_WEIGHTS, given, is_file
from ..runs.folder import Run, read_json, read_result
from ..runs.signals import stop_of
from ..training.fit import train
from . import job
from .folders import FREE
from .loggers import Lightning, Logger, Tables
from .objects import make
from .processes import leading

INPUTS = "inputs.json"
WEIGHTS = "supernet.safetensors"
TAGS = ("architect", "strategy", "estimator", "space", "data", "experiment")  # groups whose choices become tags
WANDB = "oneshot.cli.loggers.WandB"
INPUTS_OF = {  # setting that names a run -> files of that run
    "architecture": ("architecture.json",),
    "supernet": (WEIGHTS,),
    "run": ("architecture.json", "network.safetensors"),
}


@contextmanager
def recording(run: Run, config: DictConfig, kind: str) -> Iterator["Recorder"]:
    """Return a context with a recorder, which is closed at the end.

    Args:
        run: The run.
        config: The settings of the command.
        kind: Kind of the run, such as "search".
    """
    record = Recorder(run, config, kind)
    try:
        yield record
    except BaseException:
        record.close(failed=True)
        raise
    record.close(failed=False)


class Recorder:
    """Takes the rows of a run: it is called with each row.

    If the logger fails, there is a warning and the run goes on without it.

    Args:
        run: The run.
        config: The settings of the command.
        kind: Kind of the run, such as "search".
    """

    def __init__(self, run: Run, config: DictConfig, kind: str) -> None:
        self.run, self.number = run, 0
        self.logger = logger_for(config, run.path)
        chosen = job.choices()
        tags = [f"{group}:{chosen[group]}" for group in TAGS if chosen.get(group) not in (None, "none")]
        settings = OmegaConf.to_container(config, resolve=True)
        start, computed = worked(), time.process_time()
        self._tell("begin", run, settings, kind, tags, inputs(config))
        run.started += worked() - start  # the time that the server takes does not count
        run.computed += time.process_time() - computed

    def __call__(self, row: Mapping[str, Any], seconds: float | None = None) -> None:
        self.run.record(row, seconds)
        self._log(row)

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take the rows that a continued run already has; empty for a new run."""
        self.run.begin(rows)
        self.number = 0
        for row in rows:
            self._log(row)

    def finish(self, result: Mapping[str, Any], tables: Tables | None = None) -> None:
        """Hand result, pictures and tables to the logger."""
        pictures = {path.stem: path for path in sorted(self.run.path.glob("*.png"))}
        self._tell("finish", result, pictures, tables or {})

    def close(self, failed: bool) -> None:
        """Close the logger and print its last line."""
        line = self._tell("close", failed)
        if line:
            print(line)

    def _log(self, row: Mapping[str, Any]) -> None:
        self._tell("log", self.number, row)
        self.number += 1

    def _tell(self, method: str, *arguments: Any) -> Any:
        if self.logger is None:
            return None
        try:
            return getattr(self.logger, method)(*arguments)
        except Exception as error:  # a failed logger must not end the run
            if stop := stop_of(error):
                raise stop from error
            failed, self.logger = self.logger, None
            failed.drop()
            print(f"warning: logger: {named(error)}; the run goes on without it", file=sys.stderr)
        return None


def logger_for(config: DictConfig, path: Path) -> Logger | None:
    """Return the configured logger, if any: W&B, or one of Lightning's with its files in the run's folder.

    Args:
        config: The settings of the command.
        path: Folder of the run.

    Raises:
        InputError: If a setting is wrong or the logger is not installed.
    """
    if not config.get("logger"):
        return None
    if config.logger.get("_target_") == WANDB:
        return make(config.logger)
    try:
        return Lightning(make(config.logger, save_dir=str(path)))
    except ModuleNotFoundError as error:
        raise InputError(f"logger: {one_line(error, 200)}") from None


def inputs(config: DictConfig) -> list[Path]:
    """Return the files of other runs that this run reads: an architecture, weights."""
    found = []
    for key, names in INPUTS_OF.items():
        folder = config.get(key)
        if isinstance(folder, str):
            found += [path for name in names if is_file(path := Path(folder, name))] or [Path(folder)]
    return [path for path in found if os.path.isfile(path)]


def fit(trainer: pl.Trainer, module: Fit, run: Run, config: DictConfig, record: Recorder) -> None:
    """Train the module, from the newest checkpoint of the run if it has one. Rows go to files and logger."""
    newest = Checkpoints(run.path / "checkpoints", say=lambda line: print(line, file=sys.stderr)).newest()
    with leading(trainer, config, newest):
        module.record = record
        train(trainer, module, run, config.checkpoint.every, record.begin)


def open_run(config: DictConfig, path: Path) -> Run:
    """Open the run in this folder, new or continued: it is locked, and its resolved settings are in config.yaml.

    Args:
        config: The settings of the command.
        path: Folder of the run.

    Raises:
        InputError: If a file that the run reads has changed since the run began.
    """
    logger_for(config, path)  # its settings are checked before anything is written
    now, before = digests(config), read_json(path / INPUTS)
    for name, digest in now.items():
        if read_result(path) is None and before.get(name, digest) != digest:
            raise InputError(f"{name}: has changed since {path} began to read it; name a new folder")
    run = Run(path, OmegaConf.to_yaml(config, resolve=True), config.resume, FREE)
    if now and not before:
        run.write(INPUTS, json.dumps(now, indent=2) + "\n")
    return run


def digests(config: DictConfig) -> dict[str, str]:
    """Return the SHA-256 digests of the files that the settings name: tables, and the weights of a supernet."""
    names = [OmegaConf.select(config, key) for key in ("estimator.table", "reference.table", "cost.table")]
    if isinstance(config.get("supernet"), str):
        names.append(str(Path(config.supernet, WEIGHTS)))
    found = {}
    for name in names:
        if isinstance(name, str) and os.path.isfile(name):
            with given(Path(name), MAX_WEIGHTS) as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
