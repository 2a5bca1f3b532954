"""The jobs of a sweep. Each is a run of a command in a folder of its own, from which its outcome is read."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import is_number
from ...runs.files import write_text
from ...runs.folder import FINISHED, METRICS, TIMINGS, read_json, read_result, read_rows
from ..faults import BAD_INPUT
from ..jobs import ENDING, run_script, wait_for
from .brackets import Brackets

STOPPED_EARLY, FAILED = "stopped early", "failed"
REFUSED = "refused"  # its settings were refused, before it had a folder
MARK = "stopped.json"  # in the folder of a job that was stopped early; holds the row at which it was
POLL = 0.5  # seconds between two looks at the metric


@dataclass(frozen=True)
class Job:
    """A job of a sweep.

    Args:
        number: Its number, from 0.
        parameters: Its values of the sweep's parameters.
        program: Name of the command.
        settings: Its command line, without out=.
        folder: Folder of its run, beside those of the other jobs.
        metric: Name of the metric; empty for none.
        maximize: Whether the metric is maximized.
        brackets: When it is stopped early, if at all.
    """

    number: int
    parameters: Mapping[str, Any]
    program: str
    settings: tuple[str, ...]
    folder: Path
    metric: str
    maximize: bool
    brackets: Brackets | None


class Outcome(NamedTuple):
    """The outcome of a job.

    Args:
        status: "finished", "stopped early", "failed" or "refused".
        metric: Value of the metric, if there is one.
        seconds: Time of the run, if it is known.
        reason: Why it ended so; empty for a finished job.
    """

    status: str
    metric: float | None
    seconds: float | None
    reason: str


def execute(job: Job) -> Outcome:
    """Run the job in a process of its own, or continue it. A job that ended before is only read.

    The metrics of all jobs are read from their folders, so this can be called on any machine that has the folders.
    """
    wait_for(job.folder)
    if ended := outcome(job):
        return ended
    watch = EarlyStopping(job)

    def ends() -> bool:
        return ENDING.is_set() or watch()

    code, line = run_script(job.program, job.settings, job.folder, job.folder.parent.name, POLL, ends)
    reason = line if code else f"ended with code 0 and no result in {job.folder}"
    status = REFUSED if code == BAD_INPUT and not job.folder.exists() else FAILED
    return outcome(job) or Outcome(status, None, seconds(job.folder), reason)


def outcome(job: Job) -> Outcome | None:
    """Return the outcome of a job that ended. None means that it has not ended, or failed and will be tried again."""
    result, mark = read_result(job.folder), read_json(job.folder / MARK)
    if result is not None:
        metric = result.get(key(job.metric))
        metric = metric if is_number(metric) else next(reversed(history(job.folder, job.metric)), None)
        if job.metric and metric is None:
            lacking = f"has no {job.metric}, neither in result.json nor in {METRICS}"
            return Outcome(FAILED, None, seconds(job.folder), lacking)
        return Outcome(FINISHED, metric, seconds(job.folder), "")
    if mark:
        values = history(job.folder, job.metric)
        return Outcome(STOPPED_EARLY, values[-1], seconds(job.folder), f"not among the best at row {mark['row']}")
    return None


class EarlyStopping:
    """Called repeatedly while a job runs. Returns whether to stop it early, and then writes a mark to its folder.

    Args:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.passed = job, -1

    def __call__(self) -> bool:
        job = self.job
        own = self._losses(job.folder) if job.brackets else []
        if not job.brackets or job.brackets.passed(len(own)) < 0:
            return False
        others = [self._losses(path) for path in job.folder.parent.iterdir() if path.is_dir() and path != job.folder]
        row = job.brackets.poor_at(own, others, self.passed)
        if row is None:
            self.passed = job.brackets.passed(len(own))
        elif read_result(job.folder) is None:
            write_text(job.folder / MARK, json.dumps({"row": row}) + "\n")
        return row is not None

    def _losses(self, folder: Path) -> Sequence[float]:
        return [-value if self.job.maximize else value for value in history(folder, self.job.metric)]


def key(metric: str) -> str:
    """Return the name of a metric in our files: valid/accuracy is valid_accuracy there."""
    return metric.replace("/", "_", 1)


def history(folder: Path, metric: str) -> list[float]:
    """Return the values of a metric in the rows of a run, up to the row at which it was stopped early, if it was."""
    values = [row[key(metric)] for row in read_rows(folder / METRICS) if is_number(row.get(key(metric)))]
    row = read_json(folder / MARK).get("row")
    return values if row is None else values[: row + 1]


def seconds(folder: Path) -> float | None:
    """Return the seconds of a run, without lost work and without the time between a kill and the next start."""
    rows = [read_result(folder) or {}, *reversed(read_rows(folder / TIMINGS))]
    return next((row["seconds"] for row in rows if "seconds" in row), None)
