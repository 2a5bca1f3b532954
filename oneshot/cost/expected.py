"""The expected cost that an architect adds to its loss."""

from collections.abc import Sequence

from torch import Tensor

from ..errors import InputError, check_range, unknown
from ..spaces.base import SearchSpace
from .counting import candidate_costs, count_multiply_accumulates, count_parameters

FORMS = ("additive", "multiplicative")
SMALLEST = 1e-6  # of the reference: the least that a multiplicative cost multiplies with


class ExpectedCost:
    """The cost that an architect adds to its loss: E[c] = sum p * c over all choices and candidates.

    additive (ProxylessNAS, equation 7, without log): loss + weight * E[c] / reference, reference 1 if None.
    multiplicative (MnasNet's reward as a loss): loss * (E[c] / reference)^weight; a ratio below 1e-6 counts as
    that, since a network of no cost would end the search.
    table: (choices, candidates), non-negative, in any unit, the reference's too. weight: at least 0.
    Raises InputError for another form, a multiplicative one without reference and anything out of range.
    Sources: arXiv:1812.00332, arXiv:1807.11626.
    """

    def __init__(self, table: Tensor, weight: float, form: str = "additive", reference: float | None = None) -> None:
        check_range("cost.weight", weight, 0.0)
        if form not in FORMS:
            raise unknown("cost.form", form, FORMS)
        if reference is None and form == "multiplicative":
            raise InputError("cost.reference: the multiplicative form needs one, the cost that changes nothing")
        if reference is not None:
            check_range("cost.reference", reference, 0.0, open_low=True)
        if not bool(((table >= 0) & table.isfinite()).all()):
            raise InputError("cost.table: every cost must be a finite number, at least 0")
        self.table = self.moved = table.detach()
        self.weight, self.form, self.reference = weight, form, 1.0 if reference is None else reference

    def __call__(self, loss: Tensor, probabilities: Tensor) -> Tensor:
        """loss: scalar; probabilities: (choices, candidates), with the gradient that the cost shall have."""
        ratio = self.expected(probabilities) / self.reference
        if self.form == "multiplicative":
            return loss * ratio.clamp(min=SMALLEST) ** self.weight
        return loss + self.weight * ratio

    def expected(self, probabilities: Tensor) -> Tensor:
        """Scalar, in the table's unit."""
        if self.moved.device != probabilities.device or self.moved.dtype != probabilities.dtype:
            self.moved = self.table.to(probabilities)
        return (probabilities * self.moved).sum()

    def of(self, decisions: Sequence[int]) -> float:
        """The cost of one candidate a choice, in the table's unit."""
        return sum(float(row[k]) for row, k in zip(self.table, decisions, strict=True))


def parameters(
    space: SearchSpace, weight: float, form: str = "additive", reference: float | None = None
) -> ExpectedCost:
    """The expected number of parameters of the candidates."""
    return ExpectedCost(candidate_costs(space, count_parameters), weight, form, reference)


def multiply_accumulates(
    space: SearchSpace, weight: float, form: str = "additive", reference: float | None = None
) -> ExpectedCost:
    """The expected multiply-accumulates of the candidates, for one image."""
    return ExpectedCost(candidate_costs(space, count_multiply_accumulates), weight, form, reference)
