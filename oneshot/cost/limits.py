"""The most that a final network may cost, and the architectures that hold it."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from ..architecture import Architecture
from ..draws import seed_of
from ..errors import InputError, is_number
from ..spaces.base import NONE, SearchSpace

if TYPE_CHECKING:
    from .expected import ExpectedCost

UNITS = {  # of a quantity: what may follow a number, and how many of the quantity that is
    "parameters": {"parameters": 1.0},
    "multiply_accumulates": {"macs": 1.0, "multiply_accumulates": 1.0},
    "latency": {"ms": 1.0, "us": 1e-3, "s": 1e3},
}
FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
LIMIT = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)([kMG]?)_?([a-z_]*)")
EXAMPLES = {
    "parameters": "number of parameters above 0, as 300k (k, M or G)",
    "multiply_accumulates": "number of multiply-accumulates above 0, as 20M (k, M or G)",
    "latency": "time above 0, as 10ms (us, ms or s)",
}
MOST = 1e15  # of a limit
PRESSURE = 1e6  # largest, where the largest size and the largest cost of a candidate are 1
HALVINGS = 60  # of an interval, which then has no number of float64 inside
DRAWS = 100_000  # of a random architecture
STARTS = 16  # random architectures from which the largest is sought too
SPREAD = 600.0  # largest difference of logarithms: exp of it is a number of float64


class Whole(NamedTuple):
    """The cost of a whole network, counted or measured.

    Args:
        value: The cost, in the unit of its quantity.
        drift: How much slower the device is than when the table was measured, as a factor; 1 for what is counted.
    """

    value: float
    drift: float = 1.0


@dataclass(frozen=True)
class Limit:
    """The most that a final network may cost.

    Args:
        value: The number, above 0, in the unit of the quantity: parameters, multiply-accumulates for one image, or
            milliseconds for a batch.
        quantity: "parameters", "multiply_accumulates" or "latency".
        text: As it was given.
        fixed: What the network costs besides its candidates: stem, classifier and so on.
        whole: Returns the cost of the whole network of an architecture, counted or measured; None where that cannot be
            done here, as on another device.
        about: What the cost is of, for the reader of a result: sizes of the network, device, batch.
    """

    value: float
    quantity: str
    text: str
    fixed: float = 0.0
    whole: Callable[[Architecture], Whole | None] = field(default=lambda _: None, repr=False, compare=False)
    about: dict[str, Any] = field(default_factory=dict, compare=False)


def parse_limit(text: Any, quantity: str) -> float:
    """Read a limit.

    Args:
        text: A number, or a text as "300k", "300k_parameters", "20M_macs" or "10ms".
        quantity: What it is a limit of, a key of `UNITS`.

    Returns:
        The number in the unit of the quantity.

    Raises:
        InputError: If it is none, has the unit of another quantity, or is not above 0.
    """
    allowed = f"must be a {EXAMPLES[quantity]}"
    if is_number(text):
        value = float(text)
    else:
        found = LIMIT.fullmatch(text) if isinstance(text, str) else None
        unit = found[3] if found else ""
        others = [name for name, units in UNITS.items() if unit in units and name != quantity]
        if others:
            raise InputError(f"cost.limit={text!s:.40}: is a limit of {others[0]}; cost={others[0]} takes it")
        factor = found[2] if found else ""
        if found is None or unit and unit not in UNITS[quantity] or factor and quantity == "latency":
            raise InputError(f"cost.limit={text!s:.40}: {allowed}")
        value = float(found[1]) * FACTORS[found[2]] * UNITS[quantity].get(unit, 1.0)
    if not 0 < value <= MOST:
        raise InputError(f"cost.limit={text!s:.40}: {allowed}")
    return value


def check_reachable(space: SearchSpace, cost: "ExpectedCost") -> None:
    """Check that some architecture holds the limit.

    Args:
        space: The search space.
        cost: With a limit.

    Raises:
        InputError: If even the smallest network costs more.
    """
    limit, least = limit_of(cost), cost.of(space.used(_cheapest(space, cost)).decisions)
    if least > limit.value:
        raise InputError(
            f"cost.limit={limit.text}: the smallest network of this space has {said(least, limit.quantity)}"
            f"{', as predicted' if limit.quantity == 'latency' else ''}; a smaller space or a higher limit is needed"
        )


def said(value: float, quantity: str) -> str:
    """Return a cost as a text with its unit.

    Args:
        value: The cost.
        quantity: What it is of.
    """
    if quantity == "latency" and value < 1000:
        return f"{value:.3g} ms"
    return f"{value:,.0f} {'ms' if quantity == 'latency' else quantity.replace('_', '-')}"


def limit_of(cost: "ExpectedCost") -> Limit:
    """Return the limit of a cost that has one.

    Args:
        cost: The cost.
    """
    assert cost.limit is not None
    return cost.limit


def holds(space: SearchSpace, cost: "ExpectedCost", architecture: Architecture) -> bool:
    """Return whether the network of an architecture holds the limit, by the prediction from its candidates.

    Args:
        space: The search space.
        cost: With a limit.
        architecture: An architecture of the space.
    """
    return cost.of(space.used(architecture).decisions) <= limit_of(cost).value


def discretize_within(space: SearchSpace, cost: "ExpectedCost", scores: Tensor) -> Architecture:
    """Return the architecture that scores give under a limit.

    It is the space's own discretization of scores times exp(-pressure * cost), with the smallest pressure under which
    its network holds the limit: a Lagrangian relaxation. Candidates with a higher score then replace others, one after
    the other, as long as the limit holds.

    Args:
        space: The search space.
        cost: With a limit, which some architecture holds.
        scores: (choices, candidates), at least 0, as `Architect.scores`; below 0 where a candidate is left out.
    """
    scores = scores.detach().cpu().double()
    out, logs = scores < 0, scores.clamp_min(0).log()
    table = cost.marginals(scores.clamp_min(0) / scores.clamp_min(0).sum(1, keepdim=True).clamp_min(1e-300))

    def chosen(pressure: float) -> Architecture:
        tilted = logs - pressure * table
        return space.discretize((tilted - tilted.max()).exp().masked_fill(out, -1.0))

    found = _least(chosen, lambda a: holds(space, cost, a), SPREAD / float(table.max().clamp_min(1e-30)))
    if found is None:
        found = _cheapest(space, cost, space.possible(~out))
    rows = scores.tolist()
    return _improved(space, cost, found, lambda a: _sum(rows, a))


def largest_within(space: SearchSpace, cost: "ExpectedCost", left: Tensor | None = None) -> Architecture:
    """Return a network with many parameters that holds the limit.

    It is the largest of several that no single other candidate makes larger within the limit. One of them is found from
    the largest sum of parameters minus pressure times cost, with the smallest pressure under which the network holds
    the limit; the others from random networks. It need not be the very largest one.

    Args:
        space: The search space.
        cost: With a limit, which some architecture holds.
        left: As in `SearchSpace.largest`.

    Raises:
        InputError: If the space does not give the places of its candidates.
    """
    sizes, table = space.parameters(), cost.marginals(space.mask / space.mask.sum(1, keepdim=True))
    scaled, price = sizes / sizes.max().clamp_min(1), table / table.max().clamp_min(1e-30)

    def chosen(pressure: float) -> Architecture:
        values = scaled - pressure * price
        return space.largest((values - values.min(1, keepdim=True).values), left)

    found = _least(chosen, lambda a: holds(space, cost, a), PRESSURE)
    if found is None:
        found = _cheapest(space, cost, left)
    rows = (sizes if left is None else sizes.masked_fill(~left, -1.0)).tolist()

    absent = [[name == NONE for name in choice.candidates] for choice in space.choices]

    def size(architecture: Architecture) -> tuple[float, float]:
        return _sum(rows, space.used(architecture)), -_sum(absent, architecture)  # of equal ones that with more paths

    rng = random.Random(seed_of(0, "largest", 0))
    starts = [found, *(sample_within(space, cost, rng, left) for _ in range(STARTS))]
    return max((_improved(space, cost, start, size) for start in starts), key=size)


def sample_within(
    space: SearchSpace, cost: "ExpectedCost", rng: random.Random, left: Tensor | None = None
) -> Architecture:
    """Return a random architecture that holds the limit, with the probabilities that `SearchSpace.sample` gives it.

    Where decisions cost something together, those over the limit are drawn again. Else, to be fast, proposals are drawn
    in proportion to exp(-pressure * cost) and accepted in proportion to its inverse, which is exact whatever the
    pressure is. It is chosen so that about half of the proposals hold the limit.

    Args:
        space: The search space.
        cost: With a limit, which some architecture holds.
        rng: Source of the draws.
        left: The candidates that it may have, (choices, candidates) of bool. None: all.

    Raises:
        InputError: If none of 100,000 proposals was accepted.
    """
    limit, table = limit_of(cost), cost.table.cpu().double()
    if cost.joint and left is None:
        for _ in range(DRAWS):
            drawn = space.sample(rng)
            if holds(space, cost, drawn):
                return drawn
        raise _none_holds(limit)
    room = max(0.0, limit.value - limit.fixed)
    mask = space.decidable if left is None else left.cpu()
    pressure = 0.0 if cost.joint else _tilt(table, mask, room, cost.kept)
    weights = ((-pressure * (table - table.min())).exp() * mask).tolist()
    for _ in range(DRAWS):
        drawn = space.sample_by(weights, rng)
        spent = sum(float(table[i, k]) for i, k in enumerate(drawn.decisions))
        if holds(space, cost, drawn) and rng.random() <= exp(pressure * (min(spent, room) - room)):
            return drawn
    raise _none_holds(limit)


def _none_holds(limit: Limit) -> InputError:
    return InputError(
        f"cost.limit={limit.text}: none of {DRAWS:,} random architectures holds it; a higher limit is needed"
    )


def _cheapest(space: SearchSpace, cost: "ExpectedCost", left: Tensor | None = None) -> Architecture:
    """The architecture of the smallest cost; where decisions cost something together, the end of a descent."""
    if not cost.joint:
        return space.smallest(cost.table.cpu().double(), left)

    def price(architecture: Architecture) -> float:
        return cost.of(space.used(architecture).decisions)

    rng = random.Random(seed_of(0, "cheapest", 0))
    found = min((space.sample(rng) for _ in range(STARTS)), key=price)
    while price(below := min(space.neighbours(found), key=price)) < price(found):
        found = below
    return found


def _tilt(table: Tensor, mask: Tensor, room: float, kept: float) -> float:
    """The pressure under which independent draws cost as much as there is room for; 0 where they do without."""

    def spent(pressure: float) -> float:
        p = ((-pressure * (table - table.min())).exp() * mask).double()
        return kept * float((p / p.sum(1, keepdim=True).clamp_min(1e-300) * table).sum())

    low, high = 0.0, SPREAD / float(table.max().clamp_min(1e-30))
    if spent(low) <= room:
        return 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spent(middle) > room else (low, middle)
    return high


def _least(
    chosen: Callable[[float], Architecture], good: Callable[[Architecture], bool], most: float
) -> Architecture | None:
    """The good architecture of the smallest pressure up to `most`; None if that of `most` is not good."""
    found = chosen(0.0)
    if good(found):
        return found
    low, high, best = 0.0, most, chosen(most)
    if not good(best):
        return None
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = chosen(middle)
        if good(found):
            high, best = middle, found
        else:
            low = middle
    return best


def _sum(rows: Sequence[Sequence[float]], architecture: Architecture) -> float:
    return sum(row[k] for row, k in zip(rows, architecture.decisions, strict=True))


def _improved(
    space: SearchSpace,
    cost: "ExpectedCost",
    architecture: Architecture,
    value: Callable[[Architecture], Any],
) -> Architecture:
    """Replace one candidate after the other by one that keeps the limit, each time that of the largest value."""
    selectable = space.selectable.tolist()
    while True:
        best, found = value(architecture), None
        for i, decision in enumerate(architecture.decisions):
            for k, able in enumerate(selectable[i]):
                if not able or k == decision or not selectable[i][decision]:
                    continue
                changed = Architecture(
                    space.fingerprint, (*architecture.decisions[:i], k, *architecture.decisions[i + 1 :])
                )
                if value(changed) > best and space.is_valid(changed.decisions) and holds(space, cost, changed):
                    best, found = value(changed), changed
        if found is None:
            return architecture
        architecture = found
