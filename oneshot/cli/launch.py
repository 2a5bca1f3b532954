"""From a command line to a command. Settings are composed and checked before the imports that take seconds."""

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from ..errors import InputError, visible
from ..runs.signals import stoppable
from . import experiments, job
from .arguments import HELP, arguments, searched, with_values
from .check import check, line
from .conf import CONF
from .faults import DIVERGED, FULL_ERROR, OUT_OF_MEMORY, SHOW_TRACE, faults_end
from .folders import announced_folder, check_inputs, resolve_latest
from .meanings import own_settings
from .overrides import checked

SCREEN = "screen"


def launch(command: str, words: Sequence[str]) -> None:
    """Compose conf/<command>.yaml with the words of the command line, check it, and call the command's `main`.

    Wrong input ends the process with one line and exit code 2 (see faults.py); HYDRA_FULL_ERROR=1 or debug=true shows
    the trace instead. Errors of this package always show it.

    Args:
        command: The command.
        words: The words that follow it on the command line.
    """
    codes: list[int] = []  # exit codes of those jobs of a --multirun that failed while the others go on

    def task(config: DictConfig) -> Any:
        try:  # also here, because Hydra prints lines of its own about an exception that leaves a task
            with faults_end(command, config):
                return _run(config, command)
        except SystemExit as end:
            if not job.is_multirun() or end.code not in (DIVERGED, OUT_OF_MEMORY):
                raise
            codes.append(end.code)

    with faults_end(command), hydra_raises(), stoppable():
        found = checked(arguments(command, words, own_settings(command)))
        sys.argv = [f"oneshot {command}", *found]
        job.flags[:] = with_values(found, ("--config-dir", "-cd"))
        if any(word in HELP for word in found):
            from . import help  # here: rich takes a tenth of a second

            return help.show(command)
        shows = ("--cfg", "job") in zip(found, found[1:], strict=False)
        if not shows and any(word.startswith("-") for word in set(found) - set(job.flags)):  # --multirun and others
            hydra.main(version_base=None, config_path=str(CONF), config_name=command)(task)()
        else:  # this composes once; hydra.main would compose twice
            GlobalHydra.instance().clear()
            with hydra.initialize_config_dir(str(CONF), version_base=None, job_name=command):
                config = hydra.compose(command, searched(found), return_hydra_config=True)
                HydraConfig.instance().set_config(config)
                with open_dict(config):
                    del config["hydra"]
                show(config, command, "--resolve" in found) if shows else task(config)
    if codes:
        sys.exit(max(codes))


def show(config: DictConfig, command: str, resolve: bool) -> None:
    """Print the settings of a job. They are checked as for a run, unless one that must be given is still missing.

    Args:
        config: The settings, without what an experiment sets `when` others are chosen.
        command: The command.
        resolve: Whether values that refer to others are written out.
    """
    experiments.apply(config, command, job.choices(), job.given())
    if not OmegaConf.missing_keys(config):
        check(config, command)
    print(OmegaConf.to_yaml(config, resolve=resolve), end="")


def _run(config: DictConfig, command: str) -> Any:
    """Run one job: complete and check its settings, then import the command and call it."""
    job.started = datetime.now()
    experiments.apply(config, command, job.choices(), job.given())
    check(config, command)
    if config.get("dry_run") and command != "search":
        raise InputError(f"dry_run={config.dry_run}: is for oneshot search alone")
    resolve_latest(config, command)
    check_inputs(config, command)
    if job.STARTED not in os.environ:
        about = line(config, command, announced_folder(config, command))
        print(visible(about), end="\n" if about else "", flush=True)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # so that _target_ finds the user's own operations, spaces and architects
    module = importlib.import_module(f"{__package__}.commands.{command}")
    if config.pictures == SCREEN:
        return module.main(config)
    from ..plots import width  # here: matplotlib takes a while, and this is seldom asked for

    with width(config.pictures):
        return module.main(config)


@contextmanager
def hydra_raises() -> Iterator[None]:
    """Return a context in which Hydra raises exceptions instead of printing them."""
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        os.environ.pop(FULL_ERROR)
        if SHOW_TRACE:
            os.environ[FULL_ERROR] = "1"
