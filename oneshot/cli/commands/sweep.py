"""Run a sweep of settings on this machine.

FILE is in the format of W&B's sweeps, but W&B's server is not needed.
Each job is a process of its own. The result is a table.

Usage: oneshot sweep FILE.yaml [SETTING=VALUE ...]

Examples:
    oneshot sweep conf/sweeps/architects.yaml jobs=2 out=FOLDER
    oneshot sweep conf/sweeps/learning_rates.yaml runs=10 seed=1
    oneshot sweep conf/sweeps/baselines.yaml executor=ray
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from rich.console import Console

from ...errors import InputError, check_integer
from ...executors import Executor
from ...runs.folder import Run
from ..faults import explain
from ..folders import FREE, run_folder
from ..jobs import Children
from ..objects import make
from ..screen import say
from ..sweep.file import Sweep, check_setting, read, settings_of
from ..sweep.jobs import FAILED, REFUSED, Job, Outcome, execute, key, outcome
from ..sweep.suggestions import count, digest, suggestions

MOST_JOBS = 1024  # at a time
DRAWS = 5  # how often the settings of a job are drawn, if they are refused
FREELY = (*FREE, "file", "jobs", "executor")  # may differ when a sweep continues


class JobsFailed(Exception):
    """Some jobs of a sweep failed or were refused; the others have ended."""


def main(config: DictConfig) -> None:
    """Run all jobs of the sweep, write the table and show it."""
    console = Console()
    check(config)
    found = read(config.file)
    runs = count(found, config.runs)
    settings = [*found.settings, *config.settings]
    check_composes(found, settings)
    with open_dict(config):  # from here on the file may change
        config.runs = runs
        config.sweep = {key: value for key, value in found.content.items() if key != "command"}
        config.settings = settings
    executor = make(config.executor) if config.get("executor") else Children(config.jobs)
    try:
        with Run(run_folder(config, "sweep"), OmegaConf.to_yaml(config, resolve=True), config.resume, FREELY) as run:
            run_jobs(found, run, config, executor, console)
    except JobsFailed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def check(config: DictConfig) -> None:
    """Check the settings.

    Raises:
        InputError: If a setting is not as conf/sweep.yaml describes it.
    """
    if not isinstance(config.file, str) or not config.file:
        raise InputError(f"file={config.file!r}: must be the path of one sweep")
    check_integer("jobs", config.jobs, 1, MOST_JOBS)
    check_integer("seed", config.seed, 0, 2**32 - 1)
    if config.runs is not None:
        check_integer("runs", config.runs, 1, 1_000_000)
    if config.out is not None and not (isinstance(config.out, str) and config.out):
        raise InputError(f"out={config.out!r}: must be the path of a folder")
    if not isinstance(config.settings, ListConfig):
        raise InputError(f"settings={config.settings!r}: must be a list, as \"settings=['trainer=gpu']\"")
    for setting in config.settings:
        check_setting(str(setting), "settings")


def run_jobs(sweep: Sweep, run: Run, config: DictConfig, executor: Executor, console: Console) -> None:
    """Run all jobs that have not ended. The table is written again each time a job ends.

    If the drawn settings of a job are refused, others are drawn, unless all jobs are refused.

    Args:
        sweep: The sweep.
        run: The run of the sweep, with its folder.
        config: The settings of the command.
        executor: Where jobs run.
        console: Where lines are shown.

    Raises:
        JobsFailed: If jobs failed or were refused.
        InputError: If a job could not be called at all.
    """
    asked = suggestions(sweep, run.path, config.seed)
    rows: dict[int, dict[str, Any]] = {}

    def take(job: Job, came: Outcome) -> None:
        rows[job.number] = {"folder": job.folder.name, "parameters": job.parameters, **came._asdict()}
        if came.status == REFUSED:
            asked.refuse(job.number)
        else:
            asked.tell(job.number, None if came.status == FAILED else came.metric)
        write(ranked(rows.values(), sweep), sweep, run)

    def jobs(numbers: Iterable[int]) -> Iterator[Job]:
        for number in numbers:
            if reached(sweep, rows.values()):
                return
            job = job_of(number, asked.ask(number), sweep, run.path, config)
            line = f"job {number + 1} of {config.runs}: {shown(sweep, job.parameters)}"
            if ended := outcome(job):
                take(job, ended)
                say(console, [f"{line}; ended before: {said(ended, sweep)}"])
            else:
                say(console, [f"{line}; continues" if job.folder.is_dir() else line])
                yield job

    numbers: Sequence[int] = range(config.runs)
    with executor:
        for _ in range(DRAWS if asked.redraws else 1):
            for job, answer in executor.map(execute, jobs(numbers)):
                if isinstance(answer, InputError):  # it could not be called at all
                    raise answer
                came = answer if isinstance(answer, Outcome) else Outcome(FAILED, None, None, str(answer))
                take(job, came)
                say(console, [f"job {job.number + 1}: {said(came, sweep)}"])
            numbers = [number for number, row in sorted(rows.items()) if row["status"] == REFUSED]
            if len(numbers) in (0, len(rows)):
                break
    finish(ranked(rows.values(), sweep), sweep, run, console, asked.redraws)


def check_composes(sweep: Sweep, settings: Sequence[str]) -> None:
    """Check that the command has the settings of the sweep, once and before anything is written.

    Raises:
        InputError: If it does not.
    """
    example = {p.name: p.at(0.5) if p.at else (p.values or ())[0] for p in sweep.parameters}
    try:
        compose(sweep.program, [*settings, *settings_of(example)])
    except HydraException as error:
        raise InputError(f"oneshot {sweep.program}: {explain(error, sweep.program)}") from None


def job_of(number: int, parameters: Mapping[str, Any], sweep: Sweep, folder: Path, config: DictConfig) -> Job:
    """Return the job of this number with these parameters, in a folder of its own inside that of the sweep."""
    settings = (*config.settings, *settings_of(parameters))
    path = folder / f"{number + 1}-{digest(settings)}"
    return Job(number, parameters, sweep.program, settings, path, sweep.metric, sweep.maximize, sweep.brackets)


def reached(sweep: Sweep, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether a job has reached the target of the metric."""
    if sweep.target is None:
        return False
    metrics = [row["metric"] for row in rows if row["metric"] is not None]
    return any(metric >= sweep.target if sweep.maximize else metric <= sweep.target for metric in metrics)


def ranked(rows: Iterable[dict[str, Any]], sweep: Sweep) -> list[dict[str, Any]]:
    """Return the rows with the best first and jobs without a metric last. Without a metric the order stays."""

    def rank(row: Mapping[str, Any]) -> tuple[bool, float]:
        metric = row["metric"]
        return (metric is None, 0.0 if metric is None else -metric if sweep.maximize else metric)

    return sorted(rows, key=rank)


def write(rows: Sequence[dict[str, Any]], sweep: Sweep, run: Run) -> None:
    """Write results.json and table.md."""
    run.write("results.json", json.dumps(rows, indent=2) + "\n")
    run.write("table.md", table(rows, sweep))


def finish(rows: Sequence[dict[str, Any]], sweep: Sweep, run: Run, console: Console, redraws: bool) -> None:
    """Show the table and finish the run.

    Raises:
        JobsFailed: If jobs failed or were refused. The sweep is then not finished.
    """
    say(console, [table(rows, sweep), f"written to {run.path}: results.json, table.md, and a folder a job"])
    failed, refused = (sum(row["status"] == status for row in rows) for status in (FAILED, REFUSED))
    lines = [f"{failed} of {len(rows)} jobs failed; the same command tries them again"] if failed else []
    if refused:
        then = "the same command draws others"
        if not redraws or refused == len(rows):
            then = "give others in the file or as settings=, and a new out="
        lines.append(f"{refused} of {len(rows)} jobs were refused their settings; {then}")
    if lines:
        raise JobsFailed(f"{', '.join(lines)} ({run.path}/table.md says why)")
    best = {"best": rows[0]["folder"], key(sweep.metric): rows[0]["metric"]} if sweep.metric else {}
    run.finish({"jobs": len(rows), **best})


def table(rows: Sequence[Mapping[str, Any]], sweep: Sweep) -> str:
    """Return a Markdown table with one row for each job."""
    heads = ["job", "parameters", sweep.metric or "no metric", "seconds", "status"]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for row in rows:
        metric = "" if row["metric"] is None else f"{row['metric']:.6g}"
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        status = f"{row['status']}: {row['reason']}" if row["reason"] else row["status"]
        texts = [row["folder"], shown(sweep, row["parameters"]), metric, seconds, status]
        cells = [text.replace("|", r"\|") for text in texts]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def shown(sweep: Sweep, parameters: Mapping[str, Any]) -> str:
    """Return the parameters that differ between jobs as text, with numbers to four digits."""
    constant = {p.name for p in sweep.parameters if p.at is None and len(p.values or ()) == 1}
    varied = {name: value for name, value in parameters.items() if name not in constant} or parameters
    short = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in varied.items()}
    return " ".join(settings_of(short))


def said(outcome: Outcome, sweep: Sweep) -> str:
    """Return the outcome of a job in one line."""
    metric = [] if outcome.metric is None else [f"{sweep.metric} {outcome.metric:.6g}"]
    spent = [] if outcome.seconds is None else [f"{outcome.seconds:.0f} s"]
    return ", ".join([f"{outcome.status}{f': {outcome.reason}' if outcome.reason else ''}", *metric, *spent])
