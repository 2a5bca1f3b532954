"""The expected cost that an architect adds to its loss."""

import random
from collections.abc import Sequence
from functools import partial, reduce
from operator import mul
from typing import Any

import torch
from torch import Tensor, nn

from ..architecture import Architecture
from ..draws import seed_of
from ..errors import InputError, check_range, unknown
from ..spaces.base import Conditions, SearchSpace
from .counting import Measure, count_multiply_accumulates, count_parameters, joint_costs, network_cost
from .limits import Limit, Whole, check_reachable, parse_limit

FORMS = ("additive", "multiplicative")
SMALLEST = 1e-6  # smallest ratio of cost and reference in the multiplicative form
STRENGTH = 40.0  # how far the multiplier moves in a whole search whose cost is always twice the limit
EXAMPLES = 5  # whole networks; where parts come and go with the choices, as a cell's inputs, the most counts as fixed
TRIES = 1000  # draws of architectures that differ
MOST = 10.0  # largest factor, and the inverse of the smallest, between the cost of an architecture and the expected one


class ExpectedCost(nn.Module):
    """The expected cost of an architecture, added to the loss: E[c] = sum of p * c over all choices and candidates.

    Two forms:
        - additive (ProxylessNAS, equation 7, without the logarithm): loss + weight * E[c] / reference.
        - multiplicative (MnasNet's reward as a loss): loss * (E[c] / reference)^weight. A ratio below 1e-6 counts as
          1e-6, because a network without cost would end the search.

    With a limit, the reference is the limit, and a multiplier takes the place of the weight. It starts at the weight
    and moves after each architecture step by 40 / (updates of the search) * (C / limit - 1), never below 0, where C is
    the cost of the whole network: the gradient ascent of LightNAS, with a rate that follows the length of the search.
    Mixtures pay for more edges than a network keeps. So C = fixed cost + kept * E[c], where `kept` is the cost of the
    architecture that the scores give as a share of E[c], measured after each epoch. In LightNAS C is the prediction of
    a network for the mixture, and the multiplier can become negative, as its limit is a target.

    Args:
        table: Cost of each candidate, (choices, candidates), at least 0, in any unit.
        weight: Weight of the cost, at least 0. Additive: the loss that one `reference` costs. Multiplicative: the
            exponent.
        form: "additive" or "multiplicative".
        reference: The cost that counts as 1, in the unit of the table. None is 1, for the additive form only. It has no
            meaning with a limit.
        limit: The most that the final network may cost. None: no limit.
        kept: The cost of an architecture as a share of the expected one, at the start. Only a limit needs it.
        joint: What several decisions cost together, as `joint_costs` gives it. Their expected cost is the product of
            their probabilities times the cost.

    Raises:
        InputError: If the form is unknown, the multiplicative form has no reference, or a number is out of range.

    Reference:
        Cai, Zhu and Han, ProxylessNAS, arXiv:1812.00332.
        Tan et al., MnasNet, arXiv:1807.11626.
        Luo et al., You Only Search Once (LightNAS), arXiv:2208.14446.
    """

    def __init__(
        self,
        table: Tensor,
        weight: float,
        form: str = "additive",
        reference: float | None = None,
        limit: Limit | None = None,
        kept: float = 1.0,
        joint: Sequence[tuple[Conditions, float]] = (),
    ) -> None:
        super().__init__()
        check_range("cost.weight", weight, 0.0)
        if form not in FORMS:
            raise unknown("cost.form", form, FORMS)
        if reference is None and form == "multiplicative" and limit is None:
            raise InputError("cost.reference: the multiplicative form needs one: a cost that changes nothing")
        if reference is not None:
            check_range("cost.reference", reference, 0.0, open_low=True)
        if not bool(((table >= 0) & table.isfinite()).all()):
            raise InputError("cost.table: every cost must be a finite number, at least 0")
        self.weight, self.form, self.limit = weight, form, limit
        self.reference = 1.0 if reference is None else reference
        self.register_buffer("table", table.detach(), persistent=False)
        self.table: Tensor
        self.joint = list(joint)
        self.moved = self.table, self._indices(), torch.tensor([cost for _, cost in joint], dtype=torch.float64)
        # of a limit: the multiplier, `kept`, and the sum and number of the expected costs since `kept` was measured
        state = torch.tensor([weight, kept, 0.0, 0.0], dtype=torch.float64)
        self.register_buffer("state", state, persistent=limit is not None)
        self.state: Tensor
        self.last: Tensor | None = None  # the expected cost of the last loss

    def _apply(self, function: Any, recurse: bool = True) -> "ExpectedCost":
        """Move to a device. The costs and the multiplier stay in float64 whatever the data type of the weights is."""
        device = function(torch.zeros(1, device=self.table.device)).device
        self.table, self.state = self.table.to(device), self.state.to(device)
        return self

    @property
    def kept(self) -> float:
        """The cost of an architecture as a share of the expected one."""
        return float(self.state[1])

    @property
    def multiplier(self) -> float:
        """The multiplier of a limit; without one the weight."""
        return float(self.state[0])

    def forward(self, loss: Tensor, probabilities: Tensor) -> Tensor:
        """Add the expected cost to a loss.

        Args:
            loss: Scalar.
            probabilities: (choices, candidates), with the gradient that the cost shall have.

        Returns:
            The loss with the cost, a scalar.
        """
        expected = self.expected(probabilities)
        if self.limit is None:
            return self._added(loss, expected / self.reference, self.weight)
        self.last = expected.detach()
        return self._added(loss, self._share(expected), self.state[0].to(loss))

    def _added(self, loss: Tensor, ratio: Tensor, weight: float | Tensor) -> Tensor:
        if self.form == "multiplicative":
            return loss * ratio.clamp(min=SMALLEST) ** weight
        return loss + weight * ratio

    def _share(self, expected: Tensor) -> Tensor:
        """The predicted cost of the whole network, as a share of the limit."""
        assert self.limit is not None
        return (self.limit.fixed + self.state[1].to(expected) * expected) / self.limit.value

    def expected(self, probabilities: Tensor) -> Tensor:
        """Compute E[c].

        Args:
            probabilities: (choices, candidates).

        Returns:
            A scalar in the unit of the table.
        """
        table, indices, costs = self.moved
        if table.device != probabilities.device or table.dtype != probabilities.dtype:
            table, costs = self.table.to(probabilities), costs.to(probabilities)
            indices = indices.to(probabilities.device)
            self.moved = table, indices, costs
        alone = (probabilities * table).sum()
        if not self.joint:
            return alone
        flat = torch.cat([probabilities.flatten(), probabilities.new_ones(1)])
        first, *others = flat[indices].unbind(1)
        return alone + (reduce(mul, others, first) * costs).sum()  # the backward pass of `prod` waits for the GPU

    def _indices(self) -> Tensor:
        """(joint costs, most conditions): the places of their probabilities in a flat table, else that of a 1."""
        rows, width = self.table.numel(), self.table.shape[1]
        most = max((len(conditions) for conditions, _ in self.joint), default=1)
        listed = [[i * width + k for i, k in conditions] for conditions, _ in self.joint]
        return torch.tensor([row + [rows] * (most - len(row)) for row in listed]).reshape(-1, most)

    def marginals(self, probabilities: Tensor) -> Tensor:
        """Return what a candidate costs where the others are drawn by their probabilities.

        Args:
            probabilities: (choices, candidates).

        Returns:
            Tensor (choices, candidates) of float64 on the CPU; the table itself where nothing is joint.
        """
        if not self.joint:
            return self.table.cpu().double()
        p = probabilities.detach().cpu().double().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.expected(p), p)
        return slope

    @torch.no_grad()
    def adapt(self, updates: int) -> None:
        """Move the multiplier of a limit after an architecture step. Does nothing without a limit.

        Args:
            updates: Updates of the whole search.
        """
        if self.limit is None or self.last is None:
            return
        last = self.last.to(self.state)
        self.state[0] = (self.state[0] + STRENGTH / updates * (self._share(last) - 1)).clamp(min=0)
        self.state[2] += last
        self.state[3] += 1

    @torch.no_grad()
    def measure_kept(self, decisions: Sequence[int]) -> None:
        """Compare the expected costs since the last call with the cost of an architecture. Only a limit needs it.

        Args:
            decisions: What the scores give now, without decisions that have no effect.
        """
        number = float(self.state[3])
        if self.limit is None or not number:
            return
        mean, found = float(self.state[2]) / number, self.of(decisions) - self.limit.fixed
        if mean > 0:
            self.state[1] = min(max(found / mean, 1 / MOST), MOST)
        self.state[2:] = 0

    def of(self, decisions: Sequence[int]) -> float:
        """Compute the cost of one architecture.

        Args:
            decisions: Index of a candidate for each choice.

        Returns:
            The cost of its candidates, in the unit of the table; with a limit the cost of the whole network.
        """
        fixed = self.limit.fixed if self.limit else 0.0
        alone = sum(float(row[k]) for row, k in zip(self.table, decisions, strict=True))
        return fixed + alone + sum(cost for pairs, cost in self.joint if all(decisions[i] == k for i, k in pairs))


def parameters(
    space: SearchSpace,
    weight: float = 0.1,
    form: str = "additive",
    reference: float | None = 1e6,
    limit: float | str | None = None,
) -> ExpectedCost:
    """The expected number of parameters of the candidates.

    Args:
        space: The search space. With a limit: of the sizes of the final network.
        weight: Weight of the cost, as in `ExpectedCost`.
        form: "additive" or "multiplicative".
        reference: Number of parameters that counts as 1. None is 1, for the additive form only.
        limit: The most that the final network may have, as 300_000, "300k" or "300k_parameters". None: no limit.

    Returns:
        The cost for an architect or for `Priced`.

    Raises:
        InputError: As `ExpectedCost` does, and if no network of the space holds the limit.
    """
    return _counted(space, "parameters", count_parameters, weight, form, reference, limit)


def multiply_accumulates(
    space: SearchSpace,
    weight: float = 0.1,
    form: str = "additive",
    reference: float | None = 1e6,
    limit: float | str | None = None,
) -> ExpectedCost:
    """The expected number of multiply-accumulates of the candidates, for one image.

    Args:
        space: The search space. With a limit: of the sizes of the final network.
        weight: Weight of the cost, as in `ExpectedCost`.
        form: "additive" or "multiplicative".
        reference: Number of multiply-accumulates that counts as 1. None is 1, for the additive form only.
        limit: The most that the final network may have, as 2e7, "20M" or "20M_macs". None: no limit.

    Returns:
        The cost for an architect or for `Priced`.

    Raises:
        InputError: As `ExpectedCost` does, and if no network of the space holds the limit.
    """
    measure = count_multiply_accumulates
    return _counted(space, "multiply_accumulates", measure, weight, form, reference, limit)


def _counted(
    space: SearchSpace,
    quantity: str,
    measure: Measure,
    weight: float,
    form: str,
    reference: float | None,
    limit: float | str | None,
) -> ExpectedCost:
    table, joint = joint_costs(space, measure)
    if limit is None:
        return ExpectedCost(table, weight, form, reference, joint=joint)
    value = parse_limit(limit, quantity)
    whole = partial(_count, space, quantity)
    free = ExpectedCost(table, 0.0, joint=joint)
    fixed = max(whole(a).value - free.of(a.decisions) for a in examples(space, EXAMPLES, table if not joint else None))
    most = Limit(value, quantity, str(limit), fixed, whole, sizes_of(space))
    return limited(space, table, weight, form, most, joint)


def examples(space: SearchSpace, number: int, table: Tensor | None = None) -> list[Architecture]:
    """Return random architectures, all different where the space has so many.

    Args:
        space: The space.
        number: How many.
        table: The cost of each candidate, (choices, candidates); then the smallest and the largest one are among them.
    """
    rng = random.Random(seed_of(0, "examples", 0))
    ends = [] if table is None else [space.smallest(table), space.largest(table)]
    found = dict.fromkeys(map(space.used, ends))
    for _ in range(TRIES):
        if len(found) >= number:
            break
        found[space.used(space.sample(rng))] = None
    return list(found)[:number]


def _count(space: SearchSpace, quantity: str, architecture: Architecture) -> Whole:
    shape: Any = space.image_shape  # type: ignore[attr-defined]
    return Whole(network_cost(space, architecture, shape)[quantity])


def sizes_of(space: SearchSpace) -> dict[str, Any]:
    """Return the sizes of a space that a limit is for, for the reader of a result.

    Args:
        space: The space.
    """
    return {"sizes": dict(space.settings), "image_shape": list(getattr(space, "image_shape", ()))}


def limited(
    space: SearchSpace,
    table: Tensor,
    weight: float,
    form: str,
    limit: Limit,
    joint: Sequence[tuple[Conditions, float]] = (),
) -> ExpectedCost:
    """Return a cost with a limit.

    Args:
        space: The search space, of the sizes of the final network.
        table: Cost of each candidate there, (choices, candidates).
        weight: As in `ExpectedCost`.
        form: As in `ExpectedCost`.
        limit: The limit.
        joint: As in `ExpectedCost`.

    Raises:
        InputError: If no network of the space holds it, and as `ExpectedCost` does.
    """
    kept = _share_kept(space, ExpectedCost(table, 0.0, joint=joint))
    cost = ExpectedCost(table, weight, form, limit=limit, kept=kept, joint=joint)
    check_reachable(space, cost)
    if not joint and cost.of(space.used(space.largest(table)).decisions) <= limit.value:
        limit.about["all_hold"] = True
    return cost


def _share_kept(space: SearchSpace, priced: ExpectedCost) -> float:
    """The mean cost of random architectures as a share of the one that equal probabilities expect."""
    expected = float(priced.expected((space.mask / space.mask.sum(1, keepdim=True)).double()))
    drawn = random.Random(seed_of(0, "kept", 0))
    costs = [priced.of(space.used(space.sample(drawn)).decisions) for _ in range(64)]
    return sum(costs) / len(costs) / expected if expected > 0 else 1.0
