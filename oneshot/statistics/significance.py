"""Whether methods are better than a control: exact tests, corrected for the number of methods, and a verdict in words.

Two situations are told apart. Where a table ranks every architecture of a space, a method is tested against the exact
distribution of architectures that are drawn at random. Else it is tested against the control, seed by seed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import nct, t

from ..errors import InputError, check_integer

SEEDS = 10  # fewer pairs of results give no verdict
ENOUGH = 3  # pairs from which a number of seeds is planned; two say hardly anything about a standard deviation
LEVEL = 0.05  # of the tests
POWER = 0.8  # at which numbers of seeds are planned
RESAMPLES = 2**14  # of the signs; up to 14 pairs all of them are enumerated
BETTER, WORSE, OPEN, FEW = "better than", "worse than", "not shown to be better than", "too few seeds to compare with"


class Verdict(NamedTuple):
    """What results say about a method beside a control.

    Args:
        kind: `BETTER`, `WORSE`, `OPEN` or `FEW`.
        control: Name of the control.
        p: Probability of a difference as large in favour of the method if there is none, corrected for the number of
            methods; where the method is worse, of one as large against it. NaN with too few seeds.
        effect: How large the difference is. With a table: the share of random architectures that the method beats, on
            average. Else: the mean difference divided by its standard deviation over seeds (Cohen's d for pairs); NaN
            for one seed, infinite if all differences are equal and not 0.
        needed: Seeds with which a difference of this size would be shown, with probability 0.8. None if the method is
            not ahead, or if the number is not needed.
    """

    kind: str
    control: str
    p: float
    effect: float
    needed: int | None

    def __str__(self) -> str:
        """Return the verdict in words."""
        return self.said()

    def said(self, with_effect: bool = False) -> str:
        """Return the verdict in words.

        Args:
            with_effect: Whether it has the effect in standard deviations, where that is finite and enough seeds are
                there to estimate it.
        """
        known = with_effect and math.isfinite(self.effect) and self.kind != FEW
        details = [f"effect {self.effect:+.1f}"] if known else []
        if not math.isnan(self.p):
            details.append(f"p = {self.p:.2g}" if self.p >= 0.001 else "p < 0.001")
        if self.needed is not None:
            details.append(f"about {self.needed} seeds would show it")
        words = f"{self.kind} {self.control}"
        return f"{words} ({', '.join(details)})" if details else words


def uniform_mean_p(ranks: Sequence[int], size: int) -> float:
    """Compute how probable it is that random ranks have as small a mean as these.

    Exact, by counting: the number of ways in which n numbers of 1 to `size` have at most this sum.

    Args:
        ranks: Ranks of results that were drawn independently, 1 is the best. Tied architectures all get the last rank
            of the tie, so that the test is never too optimistic. (Published tables give them the first rank.)
        size: Number of all architectures.

    Returns:
        The probability, in (0, 1].

    Raises:
        InputError: If a rank is out of range, or there is none.
    """
    check_integer("size", size, 1)
    for rank in ranks:
        check_integer("rank", rank, 1, size)
    if not ranks:
        raise InputError("ranks: must hold at least one")
    n, most = len(ranks), sum(ranks)
    terms = range((most - n) // size + 1)
    ways = sum((-1) ** k * math.comb(n, k) * math.comb(most - k * size, n) for k in terms)
    return ways / size**n


def sign_flip_p(differences: Sequence[float]) -> float:
    """Test whether paired differences lie above 0, by the permutation test of their signs.

    If there is no difference, each sign is as probable as the other. The result is the share of all signs under which
    the mean is at least as large. With more than 14 pairs a fixed sample of the signs is taken.

    Args:
        differences: Of pairs, in favour of the method where positive.

    Returns:
        The p-value, one-sided.

    Raises:
        InputError: If there are none, or one is not finite.
    """
    values = _finite(differences)
    values = values.round(12)  # 0.93 - 0.92 and 0.03 - 0.02 are one number: ties must count as ties
    n, known = len(values), 0
    if 2**n <= RESAMPLES:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs, known = np.random.default_rng(0).choice((-1, 1), size=(RESAMPLES, n)), 1  # and the signs that are there
    return (np.count_nonzero((signs @ values).round(12) >= values.sum().round(12)) + known) / (len(signs) + known)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number, so that all verdicts together are wrong with at most the level's probability.

    Args:
        ps: By the name of the method. NaN stands for no test, and does not count.

    Returns:
        The corrected ones, at most 1, in the same order.

    Reference:
        Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    tested = sorted((p, name) for name, p in ps.items() if not math.isnan(p))
    corrected, largest = dict(ps), 0.0
    for before, (p, name) in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - before) * p))
        corrected[name] = largest
    return corrected


def power(effect: float, seeds: int, level: float = LEVEL) -> float:
    """Compute how often a difference is found by a paired, one-sided t-test.

    Args:
        effect: The true mean difference, divided by the standard deviation of the differences.
        seeds: Number of pairs, at least 2.
        level: Of the test.

    Returns:
        The probability.
    """
    check_integer("seeds", seeds, 2)
    return float(nct.sf(t.isf(level, seeds - 1), seeds - 1, effect * math.sqrt(seeds)))


def seeds_needed(effect: float, level: float = LEVEL) -> int | None:
    """Compute how many seeds show a difference of this size with a probability of 0.8.

    Args:
        effect: As in `power`.
        level: Of the test.

    Returns:
        The number, at least `SEEDS`; None if the effect is not above 0 or more than 10,000 seeds are needed.
    """
    if effect == math.inf:
        return SEEDS
    if math.isnan(effect) or effect <= 0 or power(effect, 10_000, level) < POWER:
        return None
    low, high = SEEDS, 10_000
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, level) >= POWER else (middle + 1, high)
    return low


def against_random(
    ranks: Mapping[str, Sequence[int]], size: int, first: Mapping[str, Sequence[int]] | None = None
) -> dict[str, Verdict]:
    """Judge methods by the ranks of what they found among all architectures of a space.

    Args:
        ranks: Of each method, one for each seed, as in `uniform_mean_p`.
        size: Number of all architectures.
        first: The same where tied architectures get the first rank of the tie, for the question whether a method is
            worse. None: there are no ties.

    Returns:
        A verdict for each method. It needs no least number of seeds, as nothing is estimated.
    """
    better = holm({name: uniform_mean_p(own, size) for name, own in ranks.items()})
    from_below = {name: [size + 1 - rank for rank in own] for name, own in (first or ranks).items()}
    worse = holm({name: uniform_mean_p(own, size) for name, own in from_below.items()})
    verdicts = {}
    for name, own in ranks.items():
        kind = BETTER if better[name] < LEVEL else WORSE if worse[name] < LEVEL else OPEN
        p = worse[name] if kind == WORSE else better[name]
        verdicts[name] = Verdict(kind, "random", p, float(np.mean([size - r for r in own])) / size, None)
    return verdicts


def against_control(
    values: Mapping[str, Sequence[float]], control: Sequence[float], name: str, larger_is_better: bool = True
) -> dict[str, Verdict]:
    """Judge methods by their results beside those of a control with the same seeds.

    Args:
        values: Of each method, one for each seed.
        control: Results of the control, in the order of the same seeds.
        name: Of the control.
        larger_is_better: Whether a larger value is better.

    Returns:
        A verdict for each method. With fewer than `SEEDS` seeds it is that these are too few.

    Raises:
        InputError: If a method has another number of results than the control.
    """
    sign, differences = (1 if larger_is_better else -1), {}
    for method, own in values.items():
        if len(own) != len(control):
            raise InputError(f"{method}: {len(own)} results beside {len(control)} of {name}; each seed needs both")
        differences[method] = sign * (_finite(own) - _finite(control))
    few = len(control) < SEEDS
    better, worse = (
        holm({method: math.nan if few else sign_flip_p(way * own) for method, own in differences.items()})
        for way in (1, -1)
    )
    verdicts = {}
    for method, own in differences.items():
        effect = _effect(own)
        kind = FEW if few else BETTER if better[method] < LEVEL else WORSE if worse[method] < LEVEL else OPEN
        unclear = kind in (FEW, OPEN) and len(own) >= ENOUGH
        needed = seeds_needed(effect, LEVEL / len(values)) if unclear else None
        p = worse[method] if kind == WORSE else better[method]
        verdicts[method] = Verdict(kind, name, p, effect, needed)
    return verdicts


def _effect(differences: np.ndarray) -> float:
    if len(differences) < 2:
        return math.nan
    mean, rounded = float(differences.mean()), differences.round(12)
    if rounded.min() == rounded.max():  # whose standard deviation may be 1e-17 in place of 0
        return math.copysign(math.inf, mean) if rounded[0] else 0.0
    return mean / float(rounded.std(ddof=1))


def _finite(values: Sequence[float]) -> np.ndarray:
    found = np.asarray(values, dtype=float)
    if not len(found) or not np.isfinite(found).all():
        raise InputError(f"results: must be finite numbers, at least one, not {list(values)!s:.80}")
    return found
