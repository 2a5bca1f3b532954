"""The jobs of a sweep: a run of a script each, in a folder of its own, which says what came of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import is_number
from ...runs.folder import FINISHED, METRICS, TIMINGS, read_json, read_result, read_rows, write_text
from ..faults import BAD_INPUT
from ..jobs import ENDING, run_script, wait_for
from .brackets import Brackets

STOPPED_EARLY, FAILED = "stopped early", "failed"
REFUSED = "refused"  # its settings, before it had a folder
MARK = "stopped.json"  # in the folder of a job that was stopped early: the row at which it was
POLL = 0.5  # seconds


@dataclass(frozen=True)
class Job:
    """program: name of the script. settings: its command line, without out=. folder: the run's; those of the other jobs
    stand beside it."""

    number: int
    parameters: Mapping[str, Any]
    program: str
    settings: tuple[str, ...]
    folder: Path
    metric: str
    maximize: bool
    brackets: Brackets | None


class Outcome(NamedTuple):
    status: str
    metric: float | None
    seconds: float | None
    reason: str


def execute(job: Job) -> Outcome:
    """Run the job in a process of its own, or continue it; one that has ended before is read.

    It watches its own metric and those beside it, so it can be called on any machine that has the folder.
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
    """What came of a job that has ended; None where it has not, or failed: it is then tried again."""
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
    """Called now and then while a job runs: whether it is to be stopped early, which its folder then says."""

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
    """The name of a metric in our files: valid/accuracy is valid_accuracy."""
    return metric.replace("/", "_", 1)


def history(folder: Path, metric: str) -> list[float]:
    """The values of a metric in the rows of a run, of one that was stopped early up to there."""
    values = [row[key(metric)] for row in read_rows(folder / METRICS) if is_number(row.get(key(metric)))]
    row = read_json(folder / MARK).get("row")
    return values if row is None else values[: row + 1]


def seconds(folder: Path) -> float | None:
    """How long a run has taken, without what a kill has cost and the time between."""
    rows = [read_result(folder) or {}, *reversed(read_rows(folder / TIMINGS))]
    return next((row["seconds"] for row in rows if "seconds" in row), None)
