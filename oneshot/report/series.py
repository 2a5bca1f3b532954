"""What a run recorded over time: validation accuracy, entropy, probabilities, and every query's cost."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import is_number
from ..runs.folder import MAX_BYTES, METRICS, TIMINGS, read_rows
from .summaries import SCORES, RunSummary


class Point(NamedTuple):
    """After so many updates or queries, and seconds (NaN where no clock is left): a value."""

    step: float
    seconds: float
    value: float


def validation(record: RunSummary) -> list[Point]:
    """Accuracy on validation images: of a search's supernet, of the best that a baseline had asked for so far.

    The best is the highest score of the run's metric at the highest fidelity so far. Seconds are with those of the
    supernet's training, where the run says how many.
    """
    return _queries(record) if record.log else _metric(record, "valid_accuracy")


def entropy(record: RunSummary) -> list[Point]:
    """Normalized entropy of a search's probabilities: 1 uniform, 0 decided."""
    return _metric(record, "entropy")


def updates(record: RunSummary) -> float | None:
    """Of a finished search, all steps that its rows count."""
    steps = [row["step"] for row in _rows(record.path / METRICS) if is_number(row.get("step"))]
    return max(steps, default=None)


def probabilities(record: RunSummary, shape: tuple[int, int]) -> np.ndarray | None:
    """(epochs, choices, candidates) of a search, the start first; None where the file does not hold that."""
    path = record.path / SCORES
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        table = np.asarray(json.loads(path.read_text(encoding="utf-8")), dtype=float)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    if table.ndim != 3 or not len(table) or table.shape[1:] != shape or not ((table >= 0) & (table <= 1.001)).all():
        return None
    return table


def asked(record: RunSummary) -> list[tuple[float, float]]:
    """(accuracy, cost) of every different architecture that was asked for and has both, its last answer."""
    answers: dict[Any, tuple[float, float]] = {}
    for row in _rows(record.log) if record.log else ():
        scores = row.get("scores")
        if isinstance(scores, dict) and is_number(scores.get("accuracy")) and is_number(scores.get("cost")):
            answers[str(row.get("notation"))] = (scores["accuracy"], scores["cost"])
    return list(answers.values())


def best_query(record: RunSummary) -> dict[str, Any]:
    """The logged row of what a baseline found, at the highest fidelity; empty where there is none."""
    notation = record.result.get("notation")
    rows = [row for row in _rows(record.log) if row.get("notation") == notation] if record.log else []
    return max(rows, key=lambda row: row["fidelity"] if is_number(row.get("fidelity")) else 0.0, default={})


def _metric(record: RunSummary, name: str) -> list[Point]:
    rows, timings = _rows(record.path / METRICS), _rows(record.path / TIMINGS)
    clocks = [_seconds(row.get("seconds")) for row in timings] + [math.nan] * len(rows)
    return _rising(
        Point(row["step"], clock, row[name])
        for row, clock in zip(rows, clocks, strict=False)
        if is_number(row.get(name)) and is_number(row.get("step"))
    )


def _queries(record: RunSummary) -> list[Point]:
    assert record.log
    metric = str(record.settings.get("metric", "accuracy"))
    before = record.result.get("supernet_seconds") or 0.0
    rows, timings = _rows(record.log), _rows(record.log.with_suffix(".timings.jsonl"))
    points, best, value = [], (-np.inf, -np.inf), np.nan
    for n, row in enumerate(rows):
        scores = row.get("scores")
        if isinstance(scores, dict) and all(is_number(x) for x in (scores.get(metric), row.get("fidelity"))):
            if (row["fidelity"], scores[metric]) > best:
                best = (row["fidelity"], scores[metric])
                value = scores["accuracy"] if is_number(scores.get("accuracy")) else np.nan
        if np.isfinite(value):
            clock = _seconds(timings[n].get("elapsed")) if n < len(timings) else math.nan
            points.append(Point(n + 1, before + clock, value))
    return _rising(points)


def _seconds(value: Any) -> float:
    return float(value) if is_number(value) else math.nan


def _rising(points: Any) -> list[Point]:
    """Those whose step is beyond the one before: of equal steps the first."""
    kept: list[Point] = []
    for point in points:
        if not kept or point.step > kept[-1].step:
            kept.append(point)
    return kept


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that is not too large."""
    try:
        return read_rows(path) if path.is_file() and path.stat().st_size <= MAX_BYTES else []
    except OSError:
        return []
