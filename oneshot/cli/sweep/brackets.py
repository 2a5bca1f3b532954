"""Stop poor jobs of a sweep early, with the asynchronous Hyperband of W&B's sweeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Any

from ...errors import InputError, check_boolean, check_integer, check_range, unknown

LAST = 1e9  # no run has so many rows
KEYS = ("type", "min_iter", "max_iter", "s", "eta", "strict")


@dataclass(frozen=True)
class Brackets:
    """At each bracket a job goes on only if it is among the best 1/eta of all jobs there, itself included.

    W&B checks only the last bracket that a job has passed. Here each bracket is checked when it is reached, because
    rows may come faster than they are read.

    Args:
        rows: Rows of the metric that are brackets; the first row is 0.
        eta: One in `eta` jobs goes on.
        strict: Whether a job is judged by its value at the row (True), or by its best value up to there (False).
    """

    rows: tuple[int, ...]
    eta: float
    strict: bool

    def poor_at(self, losses: Sequence[float], others: Sequence[Sequence[float]], passed: int = -1) -> int | None:
        """Return the first bracket at which a job must stop, or None.

        Args:
            losses: The metric of the job in each row; smaller is better.
            others: The same of the other jobs.
            passed: The last bracket that the job is known to have passed. It is checked again, because other jobs may
                have reached it since; earlier ones are not.
        """
        for row in self.rows:
            if row < passed:
                continue
            if row >= len(losses):
                break
            there = sorted([losses[row], *(other[row] for other in others if row < len(other))])
            own = losses[row] if self.strict else min(losses[: row + 1])
            if own > there[int(len(there) / self.eta)]:
                return row
        return None

    def passed(self, rows: int) -> int:
        """Return the last bracket within so many rows, or -1."""
        return max((row for row in self.rows if row < rows), default=-1)


def brackets(content: Any) -> Brackets | None:
    """Read `early_terminate` of a sweep; None if there is none.

    Raises:
        InputError: If it is malformed.
    """
    if content is None:
        return None
    if not isinstance(content, Mapping) or content.get("type") != "hyperband":
        raise InputError(f"early_terminate={content!r}: must be a mapping with type: hyperband")
    for key in content:
        if key not in KEYS:
            raise unknown("key of early_terminate", key, KEYS)
    eta, strict = content.get("eta", 3), content.get("strict", False)
    check_range("early_terminate.eta", eta, 1.001)
    check_boolean("early_terminate.strict", strict)
    if "max_iter" in content:
        check_integer("early_terminate.max_iter", content["max_iter"], 1)
        check_integer("early_terminate.s", content.get("s", 0), 1, 100)
        rows = [content["max_iter"] / eta**k for k in range(1, content["s"] + 1)]
    elif "min_iter" in content:
        check_integer("early_terminate.min_iter", content["min_iter"], 1, LAST)
        rows = list(takewhile(lambda row: row < LAST, (content["min_iter"] * eta**k for k in count())))
    else:
        raise InputError("early_terminate: needs min_iter, or max_iter and s")
    reached = sorted({int(row) for row in rows if row >= 1})
    if not reached:
        raise InputError(
            f"early_terminate.max_iter={content['max_iter']}: leaves no bracket; must be at least eta={eta}"
        )
    return Brackets(tuple(reached), eta, strict)
