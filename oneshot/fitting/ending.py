"""How a search asks its stopping rule, and goes back to the architect of the epoch that the rule keeps."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..architects.base import Architect
from ..errors import InputError, one_line
from ..spaces.base import SearchSpace
from ..stopping.base import History, Stop, StoppingRule


class Ending:
    """A stopping rule with what it decided, and the architect at the end of the last epochs.

    Everything here does nothing without a rule.

    Args:
        rule: The rule, or None.
        architect: The architect of the search.
        space: The space of the search.
        names: Names of the numbers that the row of each epoch's end has.

    Raises:
        InputError: If the rule is none, reads other numbers, or has no meaning in the space.
    """

    def __init__(
        self, rule: StoppingRule | None, architect: Architect, space: SearchSpace, names: Collection[str]
    ) -> None:
        self.rule, self.architect, self.space = rule, architect, space
        self.decided: Stop | None = None
        self.architects: dict[int, dict[str, Tensor]] = {}  # by epoch
        if rule is None:
            return
        if not isinstance(rule, StoppingRule):
            raise InputError(f"stop: {rule!r:.60} is no StoppingRule")
        if lacking := [name for name in rule.rows if name not in names]:
            raise InputError(
                f"stop: {type(rule).__name__} reads {', '.join(lacking)}, which the rows of this search do not have; "
                f"they have {', '.join(sorted(names))}"
            )
        rule.check(space)

    def keep(self, epoch: int) -> None:
        """Keep the architect as it is at the end of an epoch, and forget those that the rule cannot need any more.

        Args:
            epoch: The epoch; 0 is the start.
        """
        if self.rule is None:
            return
        now = {name: tensor.detach().cpu().clone() for name, tensor in self.architect.state_dict().items()}
        self.architects = {n: self.architects[n] for n in self._kept(epoch) if n in self.architects} | {epoch: now}

    def ask(self, rows: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[Sequence[float]]]) -> Stop | None:
        """Ask the rule at the end of an epoch.

        Args:
            rows: All rows of the search.
            scores: Of the start and of each epoch's end.

        Returns:
            What the rule says.

        Raises:
            InputError: If it gives anything else than a Stop that keeps one of the last epochs, or None.
        """
        if self.rule is None:
            return None
        ends = {row["epoch"]: row for row in rows if "valid_loss" in row}  # the last row of an epoch is that of its end
        epoch = len(scores) - 1
        said = self.rule(History(self.space, [ends[n] for n in range(1, epoch + 1)], scores))
        if said is None:
            return None
        if not isinstance(said, Stop) or type(said.kept_epoch) is not int or said.kept_epoch not in self.architects:
            raise InputError(
                f"stop: {type(self.rule).__name__} gives {said!r:.80}; must be a Stop that keeps one of the epochs "
                f"{min(self.architects)} to {epoch} (back={self.rule.back}), or None"
            )
        return Stop(one_line(said.reason), said.kept_epoch)

    def go_back(self) -> None:
        """Give the architect what it was at the end of the epoch that is kept, if the rule ended the search."""
        if self.decided is not None:
            self.architect.load_state_dict(self.architects[self.decided.kept_epoch])

    def forget(self) -> None:
        """Forget all progress."""
        self.decided, self.architects = None, {}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        if self.rule is None:
            return {}
        decided = None if self.decided is None else self.decided._asdict()
        return {"stop": {"decided": decided, "architects": self.architects}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned.

        Args:
            state: The content of a checkpoint, with `ended`, the number of epochs.

        Raises:
            KeyError: If a part is missing.
            TypeError: If a part has another type.
            ValueError: If a part has an impossible value.
        """
        if self.rule is None:
            return
        decided, architects = state["stop"]["decided"], state["stop"]["architects"]
        if list(architects) != list(self._kept(state["ended"])):
            raise ValueError(f"stop: architects of the epochs {list(architects)!s:.40}")
        own = {name: (tensor.shape, tensor.dtype) for name, tensor in self.architect.state_dict().items()}
        for epoch, tensors in architects.items():
            if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != own:
                raise ValueError(f"stop: the architect of epoch {epoch} has other parameters")
        if decided is not None:
            decided = Stop(**decided)
            if not isinstance(decided.reason, str) or decided.kept_epoch not in architects:
                raise ValueError("stop: decided")
        self.decided, self.architects = decided, architects

    def _kept(self, epoch: int) -> range:
        """The epochs whose architects are kept at the end of this one."""
        assert self.rule is not None
        return range(max(0, epoch - self.rule.back), epoch + 1)
