"""What a comparison says at its end: a table with a row for each method, and a verdict on each method in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..architecture import Architecture
from ..controls import LARGEST, RANDOM
from ..estimators import Tabular
from ..quantity import Quantity
from ..statistics import Verdict, against_control, against_random, mean_interval

OFF = 0.1  # share by which a method may leave the budget before a line says it
Row = Mapping[str, Any]
AMOUNTS = {  # column of the table -> (name in a row, scale, format)
    "search, s": ("seconds", 1.0, ",.0f"),
    "queries": ("queries", 1.0, ",.0f"),
    "peak memory, MiB": ("peak_memory_bytes", 2.0**-20, ",.0f"),
    "parameters": ("parameters", 1.0, ",.0f"),
}


class Ranked:
    """A table of accuracies as a judge: the test accuracy of each architecture, and its rank among all.

    Args:
        table: The table.
    """

    def __init__(self, table: Tabular) -> None:
        self.table = table
        self.accuracies = np.sort([test for _, test in table.rows.values()])

    def rank(self, accuracy: float) -> tuple[int, int]:
        """Return the first and the last rank of all architectures with this test accuracy; 1 is the best.

        Args:
            accuracy: A share.
        """
        at = round(100 * accuracy, 6)
        above = len(self.accuracies) - int(np.searchsorted(self.accuracies, at + 1e-6))
        return above + 1, len(self.accuracies) - int(np.searchsorted(self.accuracies, at - 1e-6))

    def of(self, architecture: Architecture) -> dict[str, float]:
        """Return what a row says of an architecture: accuracies, regrets, and the last of the ranks that it ties.

        Args:
            architecture: The architecture.
        """
        known = self.table.report(architecture)
        return {**known, "rank": self.rank(known["test_accuracy"])[1]}


class Judged(NamedTuple):
    """What the results of one judge say of a method.

    Args:
        mean: Mean over seeds, as a share or in the unit of the metric.
        half: Half of its 95 % interval; NaN for one seed.
        beaten: Share of the random architectures that are worse, on average. None: there are none.
        verdicts: Beside random and largest, as far as they are there.
    """

    mean: float
    half: float
    beaten: float | None
    verdicts: list[Verdict]


def judge(rows: Sequence[Row], value: str, quantity: Quantity, ranked: Ranked | None) -> dict[str, Judged]:
    """Judge each method by one number of its rows.

    Args:
        rows: A row for each method and seed, with `method`, `seed` and the number.
        value: Name of the number.
        quantity: What it is.
        ranked: The table that it is from; None: trainings.

    Returns:
        By the name of the method. A method that lacks seeds of others gets no verdict.
    """
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        values.setdefault(row["method"], {})[row["seed"]] = row[value]
    seeds = max(values.values(), key=len).keys()
    full = {name: [own[seed] for seed in seeds] for name, own in values.items() if own.keys() == seeds}
    compared = {name: own for name, own in full.items() if name not in (RANDOM, LARGEST)}
    verdicts: dict[str, list[Verdict]] = {name: [] for name in values}
    beaten: dict[str, float | None] = dict.fromkeys(values)
    if ranked:
        ranks = {name: [ranked.rank(one) for one in own.values()] for name, own in values.items()}
        size = len(ranked.accuracies)
        beaten = {name: sum(size - last for _, last in own) / len(own) / size for name, own in ranks.items()}
        last, first = ({name: [pair[k] for pair in ranks[name]] for name in compared} for k in (1, 0))
        _add(verdicts, against_random(last, size, first) if last else {})
    elif RANDOM in values:
        against = list(values[RANDOM].values())
        beaten = {name: _beaten(own.values(), against, quantity.maximize) for name, own in values.items()}
    for control in (RANDOM, LARGEST):
        if control in full and not (ranked and control == RANDOM):
            other = {LARGEST: full[LARGEST]} if control == RANDOM and LARGEST in full else {}
            if others := {**compared, **other}:
                _add(verdicts, against_control(others, full[control], control, quantity.maximize))
    means = {name: mean_interval(list(own.values())) for name, own in values.items()}
    return {name: Judged(*means[name], beaten[name], verdicts[name]) for name in values}


def _add(verdicts: dict[str, list[Verdict]], more: Mapping[str, Verdict]) -> None:
    for name, verdict in more.items():
        verdicts[name].append(verdict)


def _beaten(own: Any, against: Sequence[float], maximize: bool) -> float:
    """The share of the pairs in which ours is better; equal ones count half."""
    sign = 1 if maximize else -1
    pairs = np.sign([[sign * (a - b) for b in against] for a in own])
    return float((pairs + 1).mean() / 2)


def table(rows: Sequence[Row], judged: Mapping[str, Judged], quantity: Quantity, title: str) -> str:
    """Return a Markdown table with a row for each method, and a line with the verdict on each but random.

    Args:
        rows: As in `judge`.
        judged: What it returned.
        quantity: What was judged.
        title: What judged.
    """
    names = list(judged)
    shown = {column: _means(rows, *spec) for column, spec in AMOUNTS.items()}
    columns = {column: cells for column, cells in shown.items() if any(cells.get(name) for name in names)}
    heads = ["method", quantity.titled("test"), "random ones beaten", *columns]
    lines = [f"**{title}**", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name in names:
        one = judged[name]
        half = "" if math.isnan(one.half) or not one.half else f" ± {quantity.scale * one.half:{quantity.format}}"
        beaten = "" if one.beaten is None else f"{one.beaten:.1%}"
        cells = [name.replace("|", r"\|"), f"{quantity.scale * one.mean:{quantity.format}}{half}", beaten]
        lines.append(f"| {' | '.join([*cells, *(columns[column].get(name, '') for column in columns)])} |")
    sentences = [sentence(name, one) for name, one in judged.items() if name != RANDOM]
    return "\n".join([*lines, "", *sentences]) + "\n"


def sentence(name: str, judged: Judged) -> str:
    """Return the verdict on a method in words.

    Args:
        name: The method.
        judged: What was found.
    """
    if not judged.verdicts:
        words = "no verdict" if judged.beaten is None else f"beats {judged.beaten:.0%} of random architectures"
        return f"- {name}: {words}"
    by_table = judged.verdicts[0].effect == judged.beaten  # its effect has a column
    said = [one.said(with_effect=not (by_table and one.control == RANDOM)) for one in judged.verdicts]
    return f"- {name}: {'; '.join(said)}"


def _means(rows: Sequence[Row], key: str, scale: float, form: str) -> dict[str, str]:
    """By method, the mean of a number over its seeds as text."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row.get(key) is not None:
            values.setdefault(row["method"], []).append(scale * row[key])
    return {name: f"{sum(own) / len(own):{form}}" for name, own in values.items()}


def off_budget(rows: Sequence[Row], seconds: float) -> list[str]:
    """Return a line for each method whose searches took clearly more or less than the budget.

    Args:
        rows: As in `judge`.
        seconds: The budget.
    """
    lines = []
    for name in dict.fromkeys(row["method"] for row in rows):
        own = [row["seconds"] for row in rows if row["method"] == name and row.get("seconds") is not None]
        mean = sum(own) / len(own) if own else seconds
        if abs(mean / seconds - 1) > OFF:
            lines.append(f"{name}: its searches took {mean:,.0f} s on average, {mean / seconds - 1:+.0%} of the budget")
    return lines


def unequal(rows: Sequence[Row]) -> list[str]:
    """Return a line that names the cheapest and the dearest search where there was no budget.

    Args:
        rows: As in `judge`.
    """
    spent = {row["method"]: row["seconds"] for row in rows if row.get("seconds") is not None}
    if len(spent) < 2 or max(spent.values()) < 1.5 * min(spent.values()):
        return []
    low, high = min(spent, key=spent.__getitem__), max(spent, key=spent.__getitem__)
    return [
        f"budget=null: searches were not equally long, from {spent[low]:,.0f} s ({low}) to {spent[high]:,.0f} s "
        f"({high}); budget=seconds:N gives all the same"
    ]
