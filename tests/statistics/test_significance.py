"""Tests of significance against enumeration, SciPy, a worked example and simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control, permutation_test, ttest_rel

from oneshot.errors import InputError
from oneshot.statistics.significance import (
    BETTER,
    FEW,
    OPEN,
    WORSE,
    against_control,
    against_random,
    holm,
    power,
    seeds_needed,
    sign_flip_p,
    uniform_mean_p,
)


@pytest.mark.parametrize(("size", "n"), [(1, 3), (2, 4), (5, 1), (5, 3), (6, 4), (11, 2)])
def test_random_ranks_by_enumeration(size, n):
    sums = [sum(ranks) for ranks in itertools.product(range(1, size + 1), repeat=n)]
    for ranks in {tuple(sorted(r)) for r in itertools.product(range(1, size + 1), repeat=n)}:
        assert uniform_mean_p(ranks, size) == pytest.approx(sum(s <= sum(ranks) for s in sums) / len(sums), rel=1e-12)


def test_random_ranks_of_a_large_table():
    """The sum of 10 ranks of 15,625 is nearly normal; one rank is its own share."""
    assert uniform_mean_p([156], 15625) == 156 / 15625
    size, n = 15625, 10
    deviation = math.sqrt(n * (size**2 - 1) / 12)
    for z in (-2.0, -1.0, 0.0, 1.5):
        total = round(n * (size + 1) / 2 + z * deviation)
        ranks = [total // n] * (n - 1) + [total - (n - 1) * (total // n)]
        assert uniform_mean_p(ranks, size) == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), abs=0.003)
    assert 0 < uniform_mean_p([1] * 10, 15625) == 15625.0**-10


@pytest.mark.parametrize("n", [1, 2, 5, 10])
def test_signs_by_enumeration(n):
    rng = np.random.default_rng(n)
    for _ in range(5):
        values = rng.normal(0.5, size=n).round(2)
        means = [float(np.dot(signs, np.abs(values))) for signs in itertools.product((1, -1), repeat=n)]
        expected = sum(round(mean, 9) >= round(float(values.sum()), 9) for mean in means) / 2**n
        assert sign_flip_p(values) == pytest.approx(expected, rel=1e-12)
    assert sign_flip_p([0.0] * n) == 1.0
    assert sign_flip_p([0.93 - 0.92, *[0.03 - 0.02] * (n - 1)]) == pytest.approx(0.5**n)


def test_many_signs_are_sampled_and_agree_with_the_t_test():
    rng = np.random.default_rng(3)
    a, b = rng.normal(0.4, size=40), rng.normal(size=40)
    found = sign_flip_p(a - b)
    permuted = permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=20_000, alternative="greater", random_state=1
    )
    assert found == pytest.approx(permuted.pvalue, abs=0.01)
    assert found == sign_flip_p(a - b) == pytest.approx(ttest_rel(a, b, alternative="greater").pvalue, abs=0.01)


def test_holm_by_a_worked_example_and_by_its_definition():
    """Of four p-values .01, .04, .03, .005 at 5 %: the two smallest hold (.005 < .05/4, .01 < .05/3, .03 > .05/2)."""
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005, "e": math.nan})
    assert [found[k] for k in "abcd"] == pytest.approx([0.03, 0.06, 0.06, 0.02]) and math.isnan(found["e"])
    rng = np.random.default_rng(0)
    for _ in range(200):
        ps = dict(enumerate(rng.uniform(size=6) ** 3))
        corrected, rejected = holm(ps), set()
        for before, (k, p) in enumerate(sorted(ps.items(), key=lambda item: item[1])):
            if p > 0.05 / (6 - before):
                break
            rejected.add(k)
        assert {k for k, p in corrected.items() if p <= 0.05} == rejected
        by = false_discovery_control(list(ps.values()), method="bh")  # weaker: no corrected one lies below its
        assert all(corrected[k] >= by[k] - 1e-12 for k in ps)
    assert holm({}) == {}


def test_power_by_simulation():
    rng = np.random.default_rng(0)
    for effect, seeds in ((1.0, 10), (0.5, 20)):
        draws = rng.normal(effect, size=(4000, seeds))
        found = sum(ttest_rel(d, np.zeros(seeds), alternative="greater").pvalue < 0.05 for d in draws)
        assert binomtest(found, 4000, power(effect, seeds)).pvalue > 0.001
    assert power(0.0, 10) == pytest.approx(0.05)
    for effect in (0.3, 0.6, 2.0):
        n = seeds_needed(effect)
        assert power(effect, n) >= 0.8 and (n == 10 or power(effect, n - 1) < 0.8)
    assert seeds_needed(0.0) is seeds_needed(-1.0) is seeds_needed(math.nan) is seeds_needed(1e-4) is None
    assert seeds_needed(math.inf) == 10


def test_without_a_difference_better_comes_in_at_most_5_percent():
    """1,000 comparisons of 5 methods that are all like the control; any verdict "better" is wrong."""
    rng = np.random.default_rng(0)
    paired = ranked = 0
    for _ in range(1000):
        results = rng.normal(size=(6, 10))
        found = against_control({str(n): row for n, row in enumerate(results[1:])}, results[0], "random")
        paired += any(verdict.kind == BETTER for verdict in found.values())
        ranks = rng.integers(1, 15626, size=(5, 3)).tolist()
        ranked += any(
            v.kind == BETTER for v in against_random({str(n): r for n, r in enumerate(ranks)}, 15625).values()
        )
    assert paired <= 50 and ranked <= 50


def test_a_difference_of_one_standard_deviation_is_found():
    """With 10 seeds; the power of the test of signs is that of the t-test, about."""
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(1000):
        method, control = rng.normal(1.0, math.sqrt(0.5), size=10), rng.normal(0.0, math.sqrt(0.5), size=10)
        found += against_control({"method": method}, control, "random")["method"].kind == BETTER
    assert found / 1000 == pytest.approx(power(1.0, 10), abs=0.03)


def test_verdicts_in_words():
    control = [0.9, 0.91, 0.92, 0.9, 0.91, 0.93, 0.9, 0.92, 0.91, 0.9]
    ahead = [value + 0.01 * (1 + n % 3) for n, value in enumerate(control)]
    mixed = [value + 0.01 * (-1) ** n for n, value in enumerate(control)]
    found = against_control({"a": ahead, "b": mixed, "c": control[::-1]}, control, "random")
    assert [found[k].kind for k in "abc"] == [BETTER, OPEN, OPEN]
    assert str(found["a"]) == f"better than random (p = {3 / 1024:.2g})" and found["a"].needed is None
    assert str(found["b"]).startswith("not shown to be better than random (p = ") and found["b"].needed is None
    behind = against_control({"a": ahead}, control, "largest", larger_is_better=False)["a"]
    assert (
        behind.kind == WORSE
        and behind.p < 0.05
        and behind.effect == -against_control({"a": ahead}, control, "largest")["a"].effect
    )
    few = against_control({"a": ahead[:3], "b": mixed[:1] + [0.5, 0.4]}, control[:3], "random")
    assert few["a"].kind == few["b"].kind == FEW and math.isnan(few["a"].p)
    assert str(few["a"]) == "too few seeds to compare with random (about 10 seeds would show it)"
    assert str(few["b"]) == "too few seeds to compare with random"
    one = against_control({"a": [0.93]}, [0.9], "random")["a"]
    assert one.kind == FEW and math.isnan(one.effect) and one.needed is None
    table = against_random({"good": [150, 800, 30], "bad": [15000, 15500, 15600], "middle": [4000, 9000, 100]}, 15625)
    assert [v.kind for v in table.values()] == [BETTER, WORSE, OPEN]
    assert all(v.p < 0.05 for v in list(table.values())[:2])  # each p is that of its verdict
    assert table["good"].effect == pytest.approx(1 - (150 + 800 + 30) / 3 / 15625)
    assert str(table["good"]) == "better than random (p < 0.001)"
    tied = against_random({"broken": [15625]}, 15625, {"broken": [14000]})["broken"]  # 1,626 cells are as bad
    assert tied.kind == OPEN and against_random({"broken": [15625]}, 15625)["broken"].kind == WORSE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: uniform_mean_p([], 5), "ranks: must hold at least one"),
        (lambda: uniform_mean_p([0], 5), "rank=0"),
        (lambda: uniform_mean_p([6], 5), "rank=6"),
        (lambda: sign_flip_p([]), "must be finite numbers"),
        (lambda: sign_flip_p([0.1, math.nan]), "must be finite numbers"),
        (lambda: against_control({"a": [0.1]}, [0.1, 0.2], "random"), "a: 1 results beside 2 of random"),
        (lambda: power(1.0, 1), "seeds=1"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("seeds", [2, 3, 7, 10])
def test_equal_differences_have_no_finite_effect(seeds):
    """Also where the standard deviation of equal numbers is not 0 in floating point."""
    verdict = against_control({"a": [0.70917] * seeds}, [0.93757] * seeds, "largest")["a"]
    assert verdict.effect == -math.inf and "effect" not in verdict.said(with_effect=True)
