"""DARTS+: a search ends when a cell has several skip connections."""

from ..architecture import Choice
from ..errors import check_integer, unknown
from ..spaces.base import SearchSpace
from .base import History, Stop, StoppingRule


class SkipCount(StoppingRule):
    """Ends a search when a cell has several skip connections, as in DARTS+.

    In the paper a search stops when there are two or more skip connections in the normal cell. Here they are counted
    at the end of each epoch, in the discretized architecture and without edges that have no effect. Before the
    architect has moved they do not count. The epoch before is kept, which had fewer skip connections. If it had `limit`
    or more too, which happens at the first epoch that counts, the last epoch is kept.

    Args:
        limit: The number of skip connections at which the search ends.
        skip: Name of the candidate that is the skip connection.
        cell: Name of the cell, the part of the choices' names before the slash. None: the first cell of the space,
            which is the normal cell in the DARTS space.
        from_epoch: First epoch at whose end they are counted.

    Raises:
        InputError: If a number is out of range.

    Reference:
        Liang, Zhang, Sun, He, Huang, Zhuang and Li, DARTS+: Improved Differentiable Architecture Search with Early
        Stopping, arXiv:1909.06035.
    """

    back = 1

    def __init__(
        self, limit: int = 2, skip: str = "skip_connect", cell: str | None = None, from_epoch: int = 1
    ) -> None:
        check_integer("stop.limit", limit, 1)
        check_integer("stop.from_epoch", from_epoch, 1)
        self.limit, self.skip, self.cell, self.from_epoch = limit, skip, cell, from_epoch
        self.first_end = from_epoch

    def check(self, space: SearchSpace) -> None:
        """Raise InputError if the space has no such cell, or the cell no such candidate or too few choices."""
        cell = self._cell(space)
        if cell not in map(cell_of, space.choices):
            raise unknown("stop.cell", cell, set(map(cell_of, space.choices)))
        choices = [choice for choice in space.choices if cell_of(choice) == cell]
        names = {name for choice in choices for name in choice.candidates}
        if self.skip not in names:
            raise unknown("stop.skip", self.skip, names)
        check_integer("stop.limit", self.limit, 1, len(choices))

    def __call__(self, history: History) -> Stop | None:
        """Return a Stop if the cell has at least `limit` skip connections now."""
        epoch = history.epoch
        if epoch < self.from_epoch or not history.moved(epoch) or (now := self.count(history, epoch)) < self.limit:
            return None
        kept = epoch - 1 if self.count(history, epoch - 1) < self.limit else epoch
        return Stop(f"{now} times {self.skip} in the cell {self._cell(history.space)!r}, limit {self.limit}", kept)

    def count(self, history: History, epoch: int) -> int:
        """Count the skip connections at the end of an epoch.

        Args:
            history: The search so far.
            epoch: The epoch; 0 is the start.
        """
        space = history.space
        decisions = space.used(history.architecture(epoch)).decisions
        own = [(c, k) for c, k in zip(space.choices, decisions, strict=True) if cell_of(c) == self._cell(space)]
        return sum(choice.candidates[k] == self.skip for choice, k in own)

    def _cell(self, space: SearchSpace) -> str:
        return cell_of(space.choices[0]) if self.cell is None else self.cell


def cell_of(choice: Choice) -> str:
    """Return the name of the cell of a choice: what its name has before the slash, "" without a slash.

    Args:
        choice: The choice.
    """
    return choice.name.rpartition("/")[0]
