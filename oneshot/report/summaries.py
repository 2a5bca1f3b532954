"""What run folders hold. All of it is data from strangers: checked, limited in size, never called."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError, is_number, one_line
from ..quantity import ACCURACY, of_result
from ..runs.files import check_folder, parse_json, read_text
from ..runs.folder import (
    FINISHED,
    MAX_ROWS,
    METRICS,
    RESULT,
    STATUS,
    TIMINGS,
    read_json,
    read_result,
)
from ..runs.settings import CONFIG, read_settings

MOST_FOLDERS = 100_000
PARTIAL = "space.partial_channels"  # a technique that is an option of the space
SIZES = ("weight", "epsilon", "beta", "start")  # of a technique, which does nothing where all that it has are 0
NOT_ENTERED = ("checkpoints", "weights", "wandb")
UNFINISHED = ("running", "diverged", "failed", "interrupted")
DAMAGED = "damaged"
KINDS = {  # of a run -> a setting that no kind above it has
    "sweep": "sweep.program",
    "evaluate": "repeats",
    "compare": "retrain_settings",
    "rank": "resamples",
    "baseline": "strategy._target_",
    "retrain": "drop_path",
    "search": "architect._target_",
}
OF_COMPARISONS = (  # settings of a comparison that a search in it does not have
    *("methods", "seeds", "budget", "truth", "recipes", "queries", "supernet_share", "regret_at", "jobs", "reference"),
    *("search_settings", "supernet_settings", "strategy_settings", "retrain_settings"),
)
ARCHITECTURE, SCORES = "architecture.json", "scores.json"
MEASURED = ("test", "valid", "found_valid", "validation", "best")  # before the name of the metric
AMOUNTS = (
    *("parameters", "multiply_accumulates", "queries", "failed_queries"),
    *("seconds", "search_seconds", "supernet_seconds", "peak_memory_bytes"),
)


@dataclass(frozen=True, eq=False)
class RunSummary:
    """What one run's folder says.

    Args:
        path: The folder; for a search inside a comparison of strategies its file.
        kind: As in KINDS, "" where it is unknown.
        status: `finished`, `running`, `diverged`, `failed`, `interrupted` or `damaged`.
        reason: Why it did not finish.
        settings: By dotted name.
        result: Empty where it did not finish.
        method: An architect's or a strategy's name.
        log: The file of its queries, of a baseline.
        damaged: Names of files that can be read in part only.
    """

    path: Path
    kind: str
    status: str
    reason: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    method: str = ""
    log: Path | None = None
    damaged: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the run has a result."""
        return self.status == FINISHED

    @property
    def seed(self) -> str:
        """Its seed as a short text."""
        return str(self.settings.get("seed"))[:20]


def ended_early(result: Mapping[str, Any]) -> str:
    """Say where and why a search or a training ended before all its epochs were over.

    Args:
        result: What its result.json holds.

    Returns:
        One line; empty if it took all epochs.
    """
    end = result.get("stopped")
    if not isinstance(end, dict) or type(end.get("epochs")) is not int:
        return ""
    kept = f", epoch {end['kept_epoch']} is kept" if type(end.get("kept_epoch")) is int else ""
    reason = f": {one_line(end['reason'], 200)}" if isinstance(end.get("reason"), str) else ""
    where = f"after epoch {end['epochs']}" if end["epochs"] else "within epoch 1"
    return f"{where}{kept}{reason}"


def kept_epoch(result: Mapping[str, Any]) -> int | None:
    """Return the epoch that a stopping rule kept; None if there is none.

    Args:
        result: What its result.json holds.
    """
    end = result.get("stopped")
    kept = end.get("kept_epoch") if isinstance(end, dict) else None
    return kept if type(kept) is int else None


def exact(value: Any) -> str:
    """Write a value so that equal values, and no others, have equal texts. The order of a mapping does not count."""
    return repr(sorted(value.items()) if isinstance(value, dict) else value)


def folders(root: Path) -> list[Path]:
    """Find every run's folder.

    Args:
        root: Where to look, this folder and all below it. A supernet that a run trained belongs to that run.

    Returns:
        The folders in the order of their names.

    Raises:
        InputError: Where there is no such folder, or more than 100,000 below it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder")
    found = []
    for count, (name, below, files) in enumerate(os.walk(root)):
        if count > MOST_FOLDERS:
            raise InputError(f"{root}: holds more than {MOST_FOLDERS} folders; name the runs")
        own = STATUS in files or RESULT in files
        if own:
            found.append(Path(name))
        below[:] = sorted(d for d in below if d[0] != "." and d not in NOT_ENTERED and not (own and d == "supernet"))
    return found


def read(folder: Path, known: Mapping[str, Mapping[str, Any]]) -> list[RunSummary]:
    """Read the run of a folder; of a finished comparison of strategies every search in it.

    Args:
        folder: The run's.
        known: Methods' names -> their settings by dotted name. They give a run's method its name.

    Returns:
        Summaries. A folder that cannot be read gives one with the status `damaged` and the reason.
    """
    try:
        check_folder(folder)
        settings = read_settings(folder / CONFIG)
        seed = settings.get("seed", 0)
        if type(seed) is not int or seed < 0:
            raise InputError(f"{folder / CONFIG}: seed is {seed!r:.40}, no whole number")
    except InputError as error:
        return [RunSummary(folder, "", DAMAGED, one_line(error))]
    except OSError as error:
        return [RunSummary(folder, "", DAMAGED, f"cannot be read ({error.strerror})")]
    kind = next((kind for kind, name in KINDS.items() if name in settings), "")
    group = {"search": "architect", "baseline": "strategy"}.get(kind, "")
    method = method_of(settings, group, known) if group else ""
    log = folder / "queries.jsonl" if kind == "baseline" else None
    result = read_result(folder)
    status, reason = _status(folder, result)
    if result is None:
        return [RunSummary(folder, kind, status, reason, settings, method=method, log=log)]
    if (folder / ARCHITECTURE).exists() and not isinstance(read_json(folder / ARCHITECTURE).get("decisions"), dict):
        reason = f"{folder / ARCHITECTURE}: holds no decisions"
        return [RunSummary(folder, kind, DAMAGED, one_line(reason), settings, method=method)]
    try:
        _check(result)
        if kind == "compare" and "searches" in result:
            return list(_searches(folder, settings, result, known))
    except InputError as error:
        return [RunSummary(folder, kind, DAMAGED, one_line(f"{folder / RESULT}: {error}"), settings, method=method)]
    return [RunSummary(folder, kind, FINISHED, "", settings, result, method, log, tuple(_damaged(folder)))]


def method_of(settings: Mapping[str, Any], group: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """Name a run's method: the known one of the same class whose settings are most alike, else the class.

    Techniques count more than all settings. Those that the known method lacks are added, as in "snas + beta_decay";
    those that the run lacks are taken away, as in "fair_darts - zero_one".

    Args:
        settings: Of the run, by dotted name.
        group: `architect` or `strategy`.
        known: Methods' names -> their settings by dotted name.

    Returns:
        The name.
    """

    def likeness(name: str) -> tuple[int, int]:
        own = {key: value for key, value in known[name].items() if key.startswith(f"{group}.") and key != target}
        same = sum(1 if settings.get(key, "nothing") == value else -1 for key, value in own.items())
        return -len(used ^ techniques(known[name])), same

    target = f"{group}._target_"  # a class has several names, by the modules that hand it on
    name = _class(settings[target])
    alike = [other for other in known if _class(known[other].get(target)) == name]
    used = techniques(settings)
    if not alike:
        return " + ".join([name, *sorted(used)])
    nearest = max(alike, key=likeness)
    own = techniques(known[nearest])
    return " - ".join([" + ".join([nearest, *sorted(used - own)]), *sorted(own - used)])


def techniques(settings: Mapping[str, Any]) -> set[str]:
    """Return the names of the techniques of a search, without those whose weight is 0 in all of it.

    Args:
        settings: Its settings, by dotted name.
    """
    named = {key.split(".")[1] for key in settings if key.startswith("technique.")}
    sizes = {name: [settings.get(f"technique.{name}.{size}") for size in SIZES] for name in named}
    found = {one_line(name, 40) for name, own in sizes.items() if any(own) or all(size is None for size in own)}
    partial = settings.get(PARTIAL, 1)
    return found | ({"partial_channels"} if isinstance(partial, int) and partial > 1 else set())


def _class(target: object) -> str:
    return str(target).rpartition(".")[2][:80]


def _status(folder: Path, result: Mapping[str, Any] | None) -> tuple[str, str]:
    """How the run ended, and why."""
    content = read_json(folder / STATUS)
    status, reason = content.get("status"), content.get("reason")
    if result is not None:
        return FINISHED, ""
    if status not in UNFINISHED:
        return DAMAGED, "says that it has finished, but holds no result" if status == FINISHED else "has no status"
    if status == "running":
        return status, one_line(f"or was killed: process {content.get('process')}, since {content.get('since')}")
    return status, one_line(reason or "")


def _damaged(folder: Path) -> Iterator[str]:
    """The files of a finished run that are not what they should be: JSON, or lines of it."""
    for name in (STATUS, METRICS, TIMINGS, SCORES, "queries.jsonl", "queries.timings.jsonl"):
        path = folder / name
        try:
            text = read_text(path, MAX_ROWS)
            for line in text.splitlines() if path.suffix == ".jsonl" else [text]:
                parse_json(line)
        except FileNotFoundError:
            continue
        except (OSError, ValueError):
            yield name


def _check(result: Mapping[str, Any]) -> None:
    """Raise InputError that names the first number that cannot be one."""
    metric = of_result(result)
    names = {f"{before}_{one.name}": one for one in (ACCURACY, metric) for before in MEASURED}
    for name, quantity in names.items():
        value = result.get(name)
        if value is not None and not (is_number(value) and (not quantity.share or 0 <= value <= 1)):
            raise InputError(f"{name} is {value!r:.40}")
    for name in AMOUNTS:
        value = result.get(name)
        if value is not None and not (is_number(value) and value >= 0):
            raise InputError(f"{name} is {value!r:.40}")
    decisions = result.get("architecture", {})
    if not (isinstance(decisions, dict) and all(isinstance(value, str) for value in decisions.values())):
        raise InputError("architecture is no mapping of choices to operations")


def _searches(
    folder: Path, settings: Mapping[str, Any], result: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]
) -> Iterator[RunSummary]:
    """The searches of a table in a comparison, each with the settings of a run of the command `baseline`."""
    rows = result.get("searches")
    if not isinstance(rows, list):
        raise InputError("searches is no list")
    shared = {name: value for name, value in settings.items() if name.split(".")[0] not in OF_COMPARISONS}
    for row in rows:
        name, seed = (row.get("method"), row.get("seed")) if isinstance(row, dict) else (None, None)
        if not (isinstance(name, str) and re.fullmatch(r"\w{1,80}", name) and type(seed) is int):
            raise InputError(f"searches: {row!r:.60} is no search")
        _check(row)
        spent = {"search_seconds": row.get("seconds"), "queries": row.get("queries")}
        shared |= {"budget.queries": row.get("queries"), "budget.seconds": None, "batch": 1}
        found = {**row, **spent}
        own = {**shared, **known.get(name, {}), "seed": seed}
        file = folder / name / f"{seed}.json"
        yield RunSummary(file, "baseline", FINISHED, "", own, found, name, file.with_suffix(".jsonl"))
