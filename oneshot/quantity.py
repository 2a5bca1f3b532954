"""What a number that measures networks is called, which direction is better, and how it is shown. Needs no torch."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

LONGEST = 60  # characters of a label from a file


class Quantity(NamedTuple):
    """Name and direction of a metric.

    Args:
        name: Short name, as in the setting `metric` and in the names of numbers (`valid_accuracy`).
        label: Name for readers.
        maximize: Whether larger is better.
        share: Whether it is a share of 1, which is shown in percent.
    """

    name: str
    label: str
    maximize: bool = True
    share: bool = True

    @property
    def score_name(self) -> str:
        """Name of the score that a strategy maximizes: the metric's own, or `negative_` before it."""
        return self.name if self.maximize else f"negative_{self.name}"

    @property
    def scale(self) -> float:
        """What a value is multiplied with when it is shown."""
        return 100.0 if self.share else 1.0

    @property
    def format(self) -> str:
        """How a scaled value is written."""
        return ".2f" if self.share else ".4g"

    def titled(self, before: str = "") -> str:
        """Return the label with its unit, for an axis or a column: `accuracy, %`.

        Args:
            before: Words before the label.
        """
        return f"{before} {self.label}".strip() + (", %" if self.share else "")

    def text(self, value: float) -> str:
        """Return a value with its unit.

        Args:
            value: Not scaled.
        """
        return f"{self.scale * value:{self.format}}" + (" %" if self.share else "")

    def score(self, value: float) -> float:
        """Return a value so that larger is better; the score of the score is the value again.

        Args:
            value: Not scaled.
        """
        return value if self.maximize else -value


ACCURACY = Quantity("accuracy", "accuracy")


def of_result(result: Mapping[str, Any]) -> Quantity:
    """Return the metric that a run's result names; accuracy where it names none that could be one.

    Args:
        result: What result.json holds, perhaps a stranger's.
    """
    return _read(result.get("metric")) or ACCURACY


def others_of(result: Mapping[str, Any]) -> list[Quantity]:
    """Return the further metrics that a run's result names in `metrics`.

    Args:
        result: What result.json holds, perhaps a stranger's.
    """
    found = result.get("metrics")
    read = [_read(one) for one in found] if isinstance(found, list) else []
    return [quantity for quantity in read if quantity]


def _read(found: Any) -> Quantity | None:
    if not isinstance(found, dict):
        return None
    name, label, maximize, share = (found.get(field) for field in Quantity._fields)
    if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) and isinstance(label, str)):
        return None
    return Quantity(name, label[:LONGEST], maximize is not False, share is not False)
