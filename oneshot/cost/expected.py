"""The expected cost that an architect adds to its loss."""

from collections.abc import Sequence

from torch import Tensor

from ..errors import InputError, check_range, unknown
from ..spaces.base import SearchSpace
from .counting import candidate_costs, count_multiply_accumulates, count_parameters

FORMS = ("additive", "multiplicative")
SMALLEST = 1e-6  # smallest ratio of cost and reference in the multiplicative form


class ExpectedCost:
    """The expected cost of an architecture, added to the loss: E[c] = sum of p * c over all choices and candidates.

    Two forms:
        - additive (ProxylessNAS, equation 7, without the logarithm): loss + weight * E[c] / reference.
        - multiplicative (MnasNet's reward as a loss): loss * (E[c] / reference)^weight. A ratio below 1e-6 counts as
          1e-6, because a network without cost would end the search.

    Args:
        table: Cost of each candidate, (choices, candidates), at least 0, in any unit.
        weight: Weight of the cost, at least 0. Additive: the loss that one `reference` costs. Multiplicative: the
            exponent.
        form: "additive" or "multiplicative".
        reference: The cost that counts as 1, in the unit of the table. None is 1, for the additive form only.

    Raises:
        InputError: If the form is unknown, the multiplicative form has no reference, or a number is out of range.

    Reference:
        Cai, Zhu and Han, ProxylessNAS, arXiv:1812.00332.
        Tan et al., MnasNet, arXiv:1807.11626.
    """

    def __init__(self, table: Tensor, weight: float, form: str = "additive", reference: float | None = None) -> None:
        check_range("cost.weight", weight, 0.0)
        if form not in FORMS:
            raise unknown("cost.form", form, FORMS)
        if reference is None and form == "multiplicative":
            raise InputError("cost.reference: the multiplicative form needs one: a cost that changes nothing")
        if reference is not None:
            check_range("cost.reference", reference, 0.0, open_low=True)
        if not bool(((table >= 0) & table.isfinite()).all()):
            raise InputError("cost.table: every cost must be a finite number, at least 0")
        self.table = self.moved = table.detach()
        self.weight, self.form, self.reference = weight, form, 1.0 if reference is None else reference

    def __call__(self, loss: Tensor, probabilities: Tensor) -> Tensor:
        """Add the expected cost to a loss.

        Args:
            loss: Scalar.
            probabilities: (choices, candidates), with the gradient that the cost shall have.

        Returns:
            The loss with the cost, a scalar.
        """
        ratio = self.expected(probabilities) / self.reference
        if self.form == "multiplicative":
            return loss * ratio.clamp(min=SMALLEST) ** self.weight
        return loss + self.weight * ratio

    def expected(self, probabilities: Tensor) -> Tensor:
        """Compute E[c].

        Args:
            probabilities: (choices, candidates).

        Returns:
            A scalar in the unit of the table.
        """
        if self.moved.device != probabilities.device or self.moved.dtype != probabilities.dtype:
            self.moved = self.table.to(probabilities)
        return (probabilities * self.moved).sum()

    def of(self, decisions: Sequence[int]) -> float:
        """Compute the cost of one architecture.

        Args:
            decisions: Index of a candidate for each choice.

        Returns:
            The cost, in the unit of the table.
        """
        return sum(float(row[k]) for row, k in zip(self.table, decisions, strict=True))


def parameters(
    space: SearchSpace, weight: float = 0.1, form: str = "additive", reference: float | None = 1e6
) -> ExpectedCost:
    """The expected number of parameters of the candidates.

    Args:
        space: The search space.
        weight: Weight of the cost, as in `ExpectedCost`.
        form: "additive" or "multiplicative".
        reference: Number of parameters that counts as 1. None is 1, for the additive form only.

    Returns:
        The cost for an architect or for `Priced`.

    Raises:
        InputError: As `ExpectedCost` does.
    """
    return ExpectedCost(candidate_costs(space, count_parameters), weight, form, reference)


def multiply_accumulates(
    space: SearchSpace, weight: float = 0.1, form: str = "additive", reference: float | None = 1e6
) -> ExpectedCost:
    """The expected number of multiply-accumulates of the candidates, for one image.

    Args:
        space: The search space.
        weight: Weight of the cost, as in `ExpectedCost`.
        form: "additive" or "multiplicative".
        reference: Number of multiply-accumulates that counts as 1. None is 1, for the additive form only.

    Returns:
        The cost for an architect or for `Priced`.

    Raises:
        InputError: As `ExpectedCost` does.
    """
    return ExpectedCost(candidate_costs(space, count_multiply_accumulates), weight, form, reference)
