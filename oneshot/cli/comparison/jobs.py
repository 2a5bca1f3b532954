"""The jobs of a comparison: commands, each in a process and a folder of its own."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from ...runs.folder import read_result
from .. import job as running
from ..composition import groups
from ..conf import CONF
from ..jobs import ENDING, run_script, wait_for
from ..meanings import included, own_settings, read
from ..objects import device_of
from ..screen import PASSED_ON, SEARCH_ONLY

POLL = 0.5  # seconds between two looks whether the comparison ends


@dataclass(frozen=True)
class Job:
    """A command of a comparison.

    Args:
        name: For readers.
        program: The command.
        words: Its settings, without out=.
        folder: Folder of its run.
        group: W&B group of its run.
    """

    name: str
    program: str
    words: tuple[str, ...]
    folder: Path
    group: str

    @property
    def done(self) -> bool:
        """Whether it has finished."""
        return read_result(self.folder) is not None


class Ended(NamedTuple):
    """How a job ended.

    Args:
        result: What its result.json holds; None if it failed.
        code: Its exit code.
        line: Its last line of stderr.
        seconds: How long it was waited for.
    """

    result: Mapping[str, Any] | None
    code: int
    line: str
    seconds: float


def execute(job: Job) -> Ended:
    """Run a job, or continue it; one that has finished is only read. Works on any machine that has the folders.

    Args:
        job: The job.
    """
    wait_for(job.folder)
    code, line, start = 0, "", time.monotonic()
    if not job.done:
        code, line = run_script(job.program, job.words, job.folder, job.group, POLL, ENDING.is_set)
    result = read_result(job.folder)
    return Ended(result, code, line if code else f"left no result in {job.folder}", time.monotonic() - start)


def folder_of(path: Path, name: str, seed: int, kind: str) -> Path:
    """Return the folder of a job.

    Args:
        path: Folder of the comparison.
        name: The method.
        seed: Its seed.
        kind: What the job does: `search`, or `retrain-` with the name of a recipe.
    """
    return path / name / str(seed) / kind


def result_of(path: Path, name: str, seed: int, kind: str) -> Mapping[str, Any] | None:
    """Return the result of a job; None if it has not finished.

    Args:
        path: Folder of the comparison.
        name: The method.
        seed: Its seed.
        kind: As in `folder_of`.
    """
    return read_result(folder_of(path, name, seed, kind))


def clock_of(config: DictConfig) -> str:
    """Return which seconds count, by their name in a result and in the times of its rows.

    Those of the processor for searches with one thread and without a GPU, as other work on the machine changes them
    less; else those of the clock.

    Args:
        config: The settings of the comparison.
    """
    return "process_seconds" if config.threads == 1 and device_of(config).type == "cpu" else "seconds"


def seconds_of(result: Mapping[str, Any], config: DictConfig) -> float:
    """Return the seconds of a search, as `clock_of` counts them.

    Args:
        result: Of the search; it may be empty.
        config: The settings of the comparison.
    """
    return float(result.get(clock_of(config), result.get("seconds", 0.0)))


def shared(program: str) -> list[str]:
    """Return the settings of the comparison's command line that a job takes over.

    Args:
        program: The command of the job.
    """
    own = {setting.key.partition(".")[0] for setting in read(CONF / "compare.yaml").settings}
    own |= {"estimator@reference", "reference", "architect", "selection", "executor"}
    takes = {*own_settings(program), *(group for name in included(program) for group in groups(name))}
    if program == "retrain":
        takes = {*PASSED_ON["retrain"], "debug", "pictures"}
    left = {"retrain": SEARCH_ONLY, "search": ("supernet",)}.get(program, ())  # there `supernet` has other settings
    words = []
    for word in running.overrides():
        name = running.names(word)
        if (first := name.partition(".")[0]) in takes and first not in own and name not in left:
            words.append(word)
    return words
