"""Statistics against values from tables, counting, and enumeration."""

import itertools
import math
import random

import numpy as np
import pytest

from oneshot.errors import InputError
from oneshot.statistics import kendall_at_top, mean_curve, mean_interval, pareto, precision_at_top, rank_agreement


def test_interval_of_three_values_by_hand():
    mean, half = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2 and half == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)  # t(0.975, 2) = 4.302653


def test_one_value_has_no_interval():
    mean, half = mean_interval([0.5])
    assert mean == 0.5 and math.isnan(half)


def test_tau_and_rho_by_counting_pairs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40))
    b += a
    pairs = [np.sign((a[i] - a[j]) * (b[i] - b[j])) for i in range(40) for j in range(i)]
    found = rank_agreement(list(a), list(b), resamples=200)
    assert found["kendall_tau"].value == pytest.approx(sum(pairs) / len(pairs))
    ranks = [np.argsort(np.argsort(x)) for x in (a, b)]
    assert found["spearman_rho"].value == pytest.approx(np.corrcoef(*ranks)[0, 1])
    for interval in found.values():
        assert interval.low <= interval.value <= interval.high
    assert rank_agreement(list(a), list(b), resamples=200) == found  # the resamples are fixed


def test_extremes():
    values = [float(n) for n in range(50)]
    same, opposite = rank_agreement(values, values, 20), rank_agreement(values, values[::-1], 20)
    assert all(interval.value == pytest.approx(1.0) for interval in same.values())
    assert opposite["kendall_tau"].value == -1 and opposite["precision_at_top_5_percent"].value == 0


def test_tau_of_the_best_fifth_by_counting_pairs():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 41))
    a = np.round(a + b, 1)  # with ties
    best = sorted(range(41), key=lambda i: -b[i])[:9]  # ceil(41 / 5)
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in itertools.combinations(best, 2)]
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    expected = sum(x * y for x, y in signs) / math.sqrt(untied[0] * untied[1])
    assert kendall_at_top(a, b) == pytest.approx(expected)
    worse = np.where(b >= np.sort(b)[-9], a, -b)  # what happens below does not matter
    assert kendall_at_top(worse, b) == pytest.approx(expected)


def test_tau_of_the_best_fifth_where_there_is_no_order():
    assert kendall_at_top(np.array([0.0, 1, 5, 5]), np.array([0.0, 1, 2, 3])) == 0  # the best two have one score
    assert kendall_at_top(np.array([0.0, 1, 2, 3]), np.array([0.0, 1, 1, 1])) == 0  # all that tie are among the best


def test_precision_at_top_with_ties_is_the_mean_over_all_ways_to_break_them():
    scores, reference = np.array([3.0, 2, 2, 2, 1, 0]), np.array([1.0, 5, 4, 0, 2, 3])
    top = {1, 2, 5}  # of the reference
    ways = [{0, *pair} for pair in itertools.combinations([1, 2, 3], 2)]
    expected = sum(len(way & top) / 3 for way in ways) / len(ways)
    assert precision_at_top(scores, reference, 0.5) == pytest.approx(expected)


def test_the_interval_covers():
    rng, inside = np.random.default_rng(1), 0
    for _ in range(30):  # bivariate normal with correlation r: tau = 2 / pi * arcsin(r)
        a = rng.normal(size=80)
        b = 0.6 * a + 0.8 * rng.normal(size=80)
        interval = rank_agreement(list(a), list(b), resamples=200)["kendall_tau"]
        inside += interval.low <= 2 / math.pi * math.asin(0.6) <= interval.high
    assert inside >= 25


def test_nothing_to_rank():
    with pytest.raises(InputError, match=r"all 3 scores are equal \(0.1\): they rank nothing"):
        rank_agreement([0.1, 0.1, 0.1], [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="all 3 references are equal"):
        rank_agreement([1.0, 2.0, 3.0], [0.1, 0.1, 0.1])
    with pytest.raises(InputError, match="at least 3"):
        rank_agreement([1.0, 2.0], [1.0, 2.0])


def test_pareto_by_brute_force():
    rng = random.Random(0)
    for _ in range(50):
        points = [(rng.randrange(6), rng.randrange(6)) for _ in range(12)]
        front = pareto(points)

        def dominated(p, points=points):
            return any(q[0] >= p[0] and q[1] <= p[1] and q != p for q in points)

        assert {points[i] for i in front} == {p for p in points if not dominated(p)}
        assert [points[i][1] for i in front] == sorted(points[i][1] for i in front)
        assert len({points[i] for i in front}) == len(front)


def test_mean_curve_by_hand():
    a, b = [(1, 10.0), (2, 20.0), (5, 50.0)], [(3, 0.0), (2, 4.0), (4, 8.0)]
    band = mean_curve([a, b])
    assert band.x == [2, 3, 4] and band.mean == [12.0, 10.0, 14.0]  # at 3 and 4 the first still holds 20
    assert band.half == pytest.approx([12.706204736 * abs(p - q) / 2 for p, q in ((20, 4), (20, 0), (20, 8))])


def test_mean_curve_of_one_of_none_and_of_those_that_share_nothing():
    band = mean_curve([[(1, 3.0), (2, 4.0)]])
    assert band.mean == [3.0, 4.0] and all(math.isnan(half) for half in band.half)
    for curves in ([], [[]], [[(1, 1.0)], []], [[(1, 1.0), (2, 1.0)], [(3, 1.0), (4, 1.0)]]):
        assert mean_curve(curves) == ([], [], [])


def test_a_long_mean_curve_keeps_its_ends():
    band = mean_curve([[(x, float(x)) for x in range(1000)]] * 2, most=7)
    assert len(band.x) == 7 and (band.x[0], band.x[-1]) == (0, 999) and band.mean == band.x
