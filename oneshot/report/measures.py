"""The numbers of the groups: what each lineage measured, means and intervals over seeds."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from ..errors import is_number
from ..quantity import ACCURACY, Quantity
from ..statistics import mean_interval
from ..tables.published import LONG, SHORT, TEST_ACCURACY, VALIDATION_RANK
from . import series
from .grouping import Group
from .lineage import Lineage


class Measure(NamedTuple):
    """A number that a table shows of each group.

    Args:
        name: With its unit, as `test, %`.
        of: Its value for a lineage, None where it has none.
        scale: What the value is multiplied with.
        format: How it is written.
        interval: Whether a table shows its interval.
        label: Its name in sentences; None is `of_what`.
        maximize: Whether larger is better.
    """

    name: str
    of: Callable[[Lineage], float | None]
    scale: float
    format: str
    interval: bool = False
    label: str = ""
    maximize: bool = True

    @property
    def of_what(self) -> str:
        """The name for sentences, without its unit."""
        return self.label or self.name.partition(",")[0]

    @property
    def unit(self) -> str:
        """What follows a scaled value: ` %` for a share, else nothing."""
        return " %" if self.name.endswith("%") else ""

    def values(self, group: Group) -> list[float]:
        """Return the scaled values of a group's lineages that have one."""
        found = [self.of(lineage) for lineage in group.lineages]
        return [self.scale * value for value in found if value is not None]

    def mean(self, group: Group) -> float | None:
        """Return the mean of a group's scaled values, None where there is none."""
        values = self.values(group)
        return mean_interval(values)[0] if values else None

    def text(self, group: Group) -> str:
        """Write a group's mean and half of its 95 % interval, as a table shows them.

        Where only some of the group's lineages have the measure, their number follows, as `(2 of 3)`.

        Args:
            group: Whose lineages.

        Returns:
            The text; empty where no lineage has the measure.
        """
        values = self.values(group)
        if not values:
            return ""
        mean, half = mean_interval(values)
        text = f"{mean:{self.format}}"
        text += f" ± {half:{self.format}}" if self.interval and len(values) > 1 else ""
        return f"{text} ({len(values)} of {len(group.lineages)})" if len(values) < len(group.lineages) else text


def updates(lineage: Lineage) -> float | None:
    """Return the number of updates of a search, or of queries of a baseline.

    Args:
        lineage: A search or a baseline, with the trainings of what it found.
    """
    if lineage.head is None:
        return None
    return _number(lineage.head.result, "queries") if lineage.head.log else series.updates(lineage.head)


def validation(lineage: Lineage, metric: Quantity) -> float | None:
    """Return the metric on validation images of what was found.

    It is measured with the supernet's weights for a search, and by the estimator for a baseline.

    Args:
        lineage: A search or a baseline, with the trainings of what it found.
        metric: What is measured.

    Returns:
        The value, not scaled; None where the search measured something else.
    """
    if lineage.head is None:
        return None
    result = lineage.head.result
    for before in ("validation", "best", "found_valid"):
        if is_number(result.get(f"{before}_{metric.name}")):
            return result[f"{before}_{metric.name}"]
    scores = series.best_query(lineage.head).get("scores")
    value: Any = scores.get(metric.score_name) if isinstance(scores, dict) else None
    return metric.score(value) if is_number(value) else None


def test(lineage: Lineage, metric: Quantity) -> float | None:
    """Return the mean of a test metric over the trainings; without trainings, that of the table that a baseline reads.

    Args:
        lineage: A search or a baseline, with the trainings of what it found.
        metric: What is measured.

    Returns:
        The value, not scaled.
    """
    name = f"test_{metric.name}"
    if lineage.trainings:
        return _mean([_number(summary.result, name) for summary in lineage.trained])
    return _number(lineage.first.result, name)


def looked_up(name: str) -> Callable[[Lineage], float | None]:
    """Return a function that reads what a published table says of what a search found.

    Args:
        name: Of the number in the run's result.

    Returns:
        Function of a lineage; its value is None where the run has no such number.
    """
    return lambda lineage: _number(lineage.head.result, name) if lineage.head else None


def control(name: str) -> Callable[[Lineage], float | None]:
    """Return a function that reads how a search compares with its controls inside the supernet, as a share.

    Args:
        name: In `controls` of the run's result: `share_beaten` or `beats_largest`.

    Returns:
        Function of a lineage; its value is None where the search had no such control.
    """

    def of(lineage: Lineage) -> float | None:
        own = lineage.head.result.get("controls") if lineage.head else None
        value = own.get(name) if isinstance(own, dict) else None
        return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None

    return of


def search_seconds(lineage: Lineage) -> float | None:
    """Return the seconds of a search or a baseline, with those of its supernet's training where the run recorded them.

    Args:
        lineage: A search or a baseline, with the trainings of what it found.
    """
    if lineage.head is None:
        return None
    if lineage.head.log is None:
        return _number(lineage.head.result, "seconds")
    own = _number(lineage.head.result, "search_seconds")
    return None if own is None else own + (_number(lineage.head.result, "supernet_seconds") or 0.0)


def training_seconds(lineage: Lineage) -> float | None:
    """Return the mean seconds of a training.

    Args:
        lineage: A search or a baseline, with the trainings of what it found.
    """
    return _mean([_number(summary.result, "seconds") for summary in lineage.trained])


def peak_memory(lineage: Lineage) -> float | None:
    """Return the largest peak memory of the finished runs (search, baseline and trainings), in bytes.

    Args:
        lineage: A search or a baseline, with the trainings of what it found.
    """
    found = [_number(summary.result, "peak_memory_bytes") for summary in lineage.summaries if summary.finished]
    return max((value for value in found if value is not None), default=None)


def size(name: str) -> Callable[[Lineage], float | None]:
    """Return a function that reads a size of the trained network.

    Where no network was trained, it is that of what was found, with the search's own numbers of cells and channels.

    Args:
        name: Of the number in the run's result, `parameters` or `multiply_accumulates`.

    Returns:
        Function of a lineage; its value is None where the run has no such number.
    """
    return lambda lineage: _number((lineage.trained or [lineage.first])[0].result, name)


def last(name: str) -> Callable[[Lineage], float | None]:
    """Return a function that reads a number of a search's last row that has it, up to the epoch that it kept.

    Args:
        name: Of the number in the rows.

    Returns:
        Function of a lineage; its value is None where no row has such a number.
    """

    def of(lineage: Lineage) -> float | None:
        found = series.number(lineage.head, name, kept=True) if lineage.head and not lineage.head.log else []
        return found[-1][1] if found else None

    return of


def operations(lineage: Lineage) -> float | None:
    """Return the number of operations of what a search with diagnostics found: its decisions without `none`.

    Args:
        lineage: A search, with the trainings of what it found.
    """
    if lineage.head is None or last("skips")(lineage) is None:
        return None
    decided = lineage.head.result.get("architecture")
    return sum(name != "none" for name in decided.values()) if isinstance(decided, dict) else None


MEASURES = {  # besides the metric
    "updates": Measure("updates", updates, 1.0, ",.0f"),
    "share_beaten": Measure("better than random ones,\N{NO-BREAK SPACE}%", control("share_beaten"), 100.0, ".0f"),
    "beats_largest": Measure("better than the largest,\N{NO-BREAK SPACE}%", control("beats_largest"), 100.0, ".0f"),
    "table_rank": Measure(f"rank in the table ({SHORT} epochs)", looked_up(VALIDATION_RANK), 1.0, ",.0f"),
    "table_test": Measure(
        f"test in the table ({LONG} epochs),\N{NO-BREAK SPACE}%", looked_up(TEST_ACCURACY), 100.0, ".2f", True
    ),
    "parameters": Measure("parameters", size("parameters"), 1.0, ",.0f"),
    "multiply_accumulates": Measure("multiply-accumulates", size("multiply_accumulates"), 1.0, ",.0f"),
    "search_seconds": Measure("search,\N{NO-BREAK SPACE}s", search_seconds, 1.0, ",.1f"),
    "training_seconds": Measure("training,\N{NO-BREAK SPACE}s", training_seconds, 1.0, ",.1f"),
    "peak_memory": Measure("peak memory, MiB", peak_memory, 2.0**-20, ",.0f"),
}
DIAGNOSTICS = {  # at the end of a search, by their names in its rows
    "skips": Measure("skips", last("skips"), 1.0, ".1f"),
    "parameter_free": Measure("operations without parameters", last("parameter_free"), 1.0, ".1f"),
    "operations": Measure("operations in all", operations, 1.0, ".1f"),
    "entropy": Measure("entropy", last("entropy"), 1.0, ".3f"),
    "alpha_eigenvalue_smallest": Measure("smallest eigenvalue", last("alpha_eigenvalue_smallest"), 1.0, ".3g"),
    "alpha_eigenvalue_largest": Measure("largest eigenvalue", last("alpha_eigenvalue_largest"), 1.0, ".3g"),
    "discretization_gap": Measure("discretization gap", last("discretization_gap"), 1.0, ".3f"),
    "flatness": Measure("flatness", last("flatness"), 1.0, ".2g"),
}
QUALITIES = ("test", "validation")
COSTS = ("multiply_accumulates", "parameters", "search_seconds", "training_seconds", "peak_memory")


COST_UNITS = {
    "parameters": "parameters",
    "multiply_accumulates": "multiply-accumulates",
    "latency": "ms",
}  # by the function of oneshot.cost that made it
ESTIMATORS = {
    "FewShot": "few-shot supernets",
    "OneShot": "one-shot supernet",
    "Tabular": "benchmark table",
    "Training": "training from scratch",
}  # by class


def measures(metric: Quantity, searched: Sequence[Quantity] = ()) -> dict[str, Measure]:
    """Return all measures by name, those of QUALITIES with this metric.

    A search may have measured another metric than the training of what it found. That is a measure of its own, named
    `validation_` and the metric.

    Args:
        metric: What the runs measured last.
        searched: What the searches measured.
    """
    others = [one for one in searched if one != metric]
    found = {"updates": MEASURES["updates"]}
    for part, of, one in (*(("validation", validation, one) for one in (*others, metric)), ("test", test, metric)):
        label = f"{part} {one.label}"
        column = (part if one == ACCURACY and not others else label) + (",\N{NO-BREAK SPACE}%" if one.share else "")
        name = part if one == metric else f"{part}_{one.name}"
        found[name] = Measure(column, partial(of, metric=one), one.scale, one.format, True, label, one.maximize)
    return found | MEASURES


def cost_unit(settings: Mapping[str, Any]) -> str:
    """The unit in which a run counts the cost of candidates.

    Args:
        settings: Of the run, by dotted name; `cost._target_` counts.

    Returns:
        The unit as an axis shows it; "in its own unit" where the cost is not one of the package's.
    """
    name = str(settings.get("cost._target_", "")).rpartition(".")[2]
    return COST_UNITS.get(name, "in its own unit")


def estimator_name(target: object) -> str:
    """What an estimator is called in tables and on axes.

    Args:
        target: Its `_target_`, as `oneshot.estimators.OneShot`.

    Returns:
        As `one-shot supernet`; the class's own name where it is not one of the package's.
    """
    name = str(target).rpartition(".")[2][:60]
    return ESTIMATORS.get(name, name)


def best(groups: Sequence[Group], measure: Measure) -> Group | None:
    """Find the group whose interval is better than those of all others that have the measure; None if there is none.

    Every interval needs two seeds, so one seed shows nothing.

    Args:
        groups: The groups that are compared.
        measure: The number that they are compared by.
    """
    sign = 1 if measure.maximize else -1
    intervals = {
        group: mean_interval([sign * value for value in values])
        for group in groups
        if (values := measure.values(group))
    }
    if len(intervals) < 2 or any(math.isnan(half) for _, half in intervals.values()):
        return None
    top = max(intervals, key=lambda group: intervals[group][0])
    low = intervals[top][0] - intervals[top][1]
    others = [mean + half for group, (mean, half) in intervals.items() if group is not top]
    return top if all(low > high for high in others) else None


def _number(result: Mapping[str, Any], name: str) -> float | None:
    value = result.get(name)
    return value if is_number(value) else None


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return math.fsum(found) / len(found) if found else None
