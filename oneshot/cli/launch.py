"""From a command line to a command: settings are composed and checked before the imports that take seconds."""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import hydra
from omegaconf import DictConfig

from ..runs.signals import stoppable
from . import experiments, help, job
from .arguments import arguments
from .check import check, line
from .conf import CONF
from .faults import DIVERGED, FULL_ERROR, OUT_OF_MEMORY, SHOW_TRACE, faults_end
from .folders import run_folder
from .meanings import own_settings


def launch(command: str, words: Sequence[str]) -> None:
    """Compose conf/<command>.yaml with the words of the command line, check it, and call the command's `main`.

    Bad input ends the process with one line and code 2 (see faults.py). HYDRA_FULL_ERROR=1 or debug=true shows the
    trace instead. Errors that are not the user's always show it.
    """
    codes: list[int] = []  # of the jobs of a --multirun that failed alone

    def task(config: DictConfig) -> Any:
        try:  # here too: Hydra prints lines of its own about what leaves a task
            with faults_end(command, config):
                return _run(config, command)
        except SystemExit as end:
            if not job.is_multirun() or end.code not in (DIVERGED, OUT_OF_MEMORY):
                raise
            codes.append(end.code)

    with faults_end(command), hydra_raises(), stoppable():
        found = arguments(command, words, own_settings(command))
        sys.argv = [f"oneshot {command}", *found]
        job.flags[:] = [
            w for pair in zip(found, found[1:], strict=False) if pair[0] in ("--config-dir", "-cd") for w in pair
        ]
        if help.asked():
            return help.show(command)
        if help.asks_for_settings(found):
            return help.show_settings(command, found)
        hydra.main(version_base=None, config_path=str(CONF), config_name=command)(task)()
    if codes:
        sys.exit(max(codes))


def _run(config: DictConfig, command: str) -> Any:
    """One job: its settings are completed and checked, then its command is imported and called."""
    job.started = datetime.now()
    experiments.apply(config, command, job.choices(), job.given())
    check(config, command)
    if job.STARTED not in os.environ:
        folder = run_folder(config, command) if "resume" in config and "file" not in config else None
        print(line(config, command, folder), flush=True)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # operations, spaces and architects of the user's own, by _target_
    module = importlib.import_module(f"{__package__}.commands.{command}")
    return module.main(config)


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
