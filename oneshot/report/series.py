"""What a run recorded over time: validation metric, entropy, probabilities, and every query's cost."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, is_number
from ..quantity import of_result
from ..runs.files import parse_json, read_bytes
from ..runs.folder import METRICS, TIMINGS, read_rows
from ..tables.published import VALIDATION_RANK
from .summaries import SCORES, RunSummary, kept_epoch


class Point(NamedTuple):
    """A value that a run recorded at one time.

    Args:
        step: Updates of a search, or queries of a baseline, up to then.
        seconds: Time up to then; NaN where the run recorded none.
        value: The recorded number.
    """

    step: float
    seconds: float
    value: float


def validation(summary: RunSummary) -> list[Point]:
    """Read the metric on validation images over time.

    For a search it is that of its supernet. For a baseline it is that of the best architecture so far: the one with the
    highest score of the run's metric at the highest fidelity so far. Seconds include the training of the supernet,
    where the run recorded it.

    Args:
        summary: Of a search or a baseline.

    Returns:
        Values that are not scaled, with rising steps.
    """
    return _queries(summary) if summary.log else _metric(summary, f"valid_{of_result(summary.result).name}")


def entropy(summary: RunSummary) -> list[Point]:
    """Read the normalized entropy of a search's probabilities over time: 1 is uniform, 0 is decided.

    Args:
        summary: Of a search.

    Returns:
        Points with rising steps.
    """
    return _metric(summary, "entropy")


def table_rank(summary: RunSummary) -> list[Point]:
    """Read the rank that a published table gives to the architecture which the search's probabilities choose.

    Args:
        summary: Of a search.

    Returns:
        Points with rising steps; none where the package has no table of the space.
    """
    return _metric(summary, VALIDATION_RANK)


def number(summary: RunSummary, name: str, kept: bool = False) -> list[tuple[float, float]]:
    """Read one of the numbers that a search measures at the ends of its epochs.

    Args:
        summary: Of a search.
        name: Of the number in its rows.
        kept: Whether the epochs count that come after the one that a stopping rule kept: false, all count.

    Returns:
        Pairs of the step and the value, with rising steps.
    """
    last = kept_epoch(summary.result) if kept else None
    return [(point.step, point.value) for point in _metric(summary, name, last)]


def updates(summary: RunSummary) -> float | None:
    """Read how many steps a finished search made.

    Args:
        summary: Of a search.

    Returns:
        The largest step of its metrics; None where it recorded none.
    """
    steps = [row["step"] for row in _rows(summary.path / METRICS) if is_number(row.get("step"))]
    return max(steps, default=None)


def probabilities(summary: RunSummary, shape: tuple[int, int]) -> np.ndarray | None:
    """Read a search's probabilities.

    Args:
        summary: Of a search.
        shape: (choices, candidates) of its space.

    Returns:
        (epochs, choices, candidates), the start first. None where the file does not hold that.
    """
    try:
        table = np.asarray(parse_json(read_bytes(summary.path / SCORES)), dtype=float)
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    if table.ndim != 3 or not len(table) or table.shape[1:] != shape or not ((table >= 0) & (table <= 1.001)).all():
        return None
    return table


def asked(summary: RunSummary) -> list[tuple[float, float]]:
    """Read metric and cost of every different architecture that a baseline asked for.

    Of several answers for one architecture, the last one that has both numbers counts.

    Args:
        summary: Of a baseline.

    Returns:
        Pairs of the value, not scaled, and the cost in the unit of the run.
    """
    metric = of_result(summary.result)
    answers: dict[Any, tuple[float, float]] = {}
    for row in _rows(summary.log) if summary.log else ():
        scores = row.get("scores")
        if isinstance(scores, dict) and is_number(scores.get(metric.score_name)) and is_number(scores.get("cost")):
            answers[str(row.get("notation"))] = (metric.score(scores[metric.score_name]), scores["cost"])
    return list(answers.values())


def best_query(summary: RunSummary) -> dict[str, Any]:
    """Read the logged row of what a baseline found, at the highest fidelity.

    Args:
        summary: Of a baseline.

    Returns:
        The row; empty where there is none.
    """
    notation = summary.result.get("notation")
    rows = [row for row in _rows(summary.log) if row.get("notation") == notation] if summary.log else []
    return max(rows, key=lambda row: row["fidelity"] if is_number(row.get("fidelity")) else 0.0, default={})


def _metric(summary: RunSummary, name: str, last: int | None = None) -> list[Point]:
    rows, timings = _rows(summary.path / METRICS), _rows(summary.path / TIMINGS)
    clocks = [_seconds(row.get("seconds")) for row in timings] + [math.nan] * len(rows)
    return _rising(
        Point(row["step"], clock, row[name])
        for row, clock in zip(rows, clocks, strict=False)
        if is_number(row.get(name)) and is_number(row.get("step"))
        if last is None or (is_number(row.get("epoch")) and row["epoch"] <= last)
    )


def _queries(summary: RunSummary) -> list[Point]:
    assert summary.log
    quantity = of_result(summary.result)
    asked_for = summary.settings.get("metric")
    metric = quantity.score_name if asked_for in (None, quantity.name) else str(asked_for)
    before = summary.result.get("supernet_seconds") or 0.0
    rows, timings = _rows(summary.log), _rows(summary.log.with_suffix(".timings.jsonl"))
    points, best, value = [], (-np.inf, -np.inf), np.nan
    for n, row in enumerate(rows):
        scores = row.get("scores")
        if isinstance(scores, dict) and all(is_number(x) for x in (scores.get(metric), row.get("fidelity"))):
            if (row["fidelity"], scores[metric]) > best:
                best = (row["fidelity"], scores[metric])
                shown = scores.get(quantity.score_name)
                value = quantity.score(shown) if is_number(shown) else np.nan  # type: ignore[arg-type]
        if np.isfinite(value):
            clock = _seconds(timings[n].get("elapsed")) if n < len(timings) else math.nan
            points.append(Point(n + 1, before + clock, value))
    return _rising(points)


def _seconds(value: Any) -> float:
    return float(value) if is_number(value) else math.nan


def _rising(points: Any) -> list[Point]:
    """Those with a larger step than the one before: of equal steps the first."""
    kept: list[Point] = []
    for point in points:
        if not kept or point.step > kept[-1].step:
            kept.append(point)
    return kept


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file; none if it is too large or no file."""
    try:
        return read_rows(path)
    except InputError:
        return []
