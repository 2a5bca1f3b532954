"""What a comparison says: its means, shares and verdicts against plain arithmetic, scipy and enumeration."""

import math
import random

import numpy as np
import pytest
from scipy import stats

from oneshot.comparison.verdicts import Ranked, judge, off_budget, sentence, table, unequal
from oneshot.estimators import Tabular
from oneshot.quantity import ACCURACY, Quantity
from oneshot.spaces import NASBench201

SEEDS = range(10)


def rows_of(values):
    return [{"method": m, "seed": s, "value": v} for m, own in values.items() for s, v in enumerate(own)]


@pytest.fixture(scope="module")
def ranked():
    return Ranked(Tabular(NASBench201((3, 32, 32), 10), epochs=200))


def test_ranks_are_those_of_the_sorted_table(ranked):
    rng, every = random.Random(0), [test for _, test in ranked.table.rows.values()]
    for accuracy in rng.sample(every, 50):
        first, last = 1 + sum(a > accuracy for a in every), sum(a >= accuracy for a in every)
        assert ranked.rank(accuracy / 100) == (first, last)
    assert ranked.rank(max(every) / 100)[0] == 1 and ranked.rank(min(every) / 100)[1] == 15_625


def test_what_a_row_says_of_an_architecture(ranked):
    space = ranked.table.space
    found = space.sample(random.Random(3))
    row = ranked.of(found)
    assert row["test_accuracy"] == ranked.table.rows[found.decisions][1] / 100
    assert row["rank"] == sum(test >= 100 * row["test_accuracy"] - 1e-9 for _, test in ranked.table.rows.values())


def test_by_a_table(ranked):
    """The best, the worst and random architectures of the table."""
    rng, order = random.Random(1), [a / 100 for a in ranked.accuracies]
    values = {"good": order[-10:], "bad": order[:10], "drawn": [rng.choice(order) for _ in SEEDS]}
    judged = judge(rows_of(values), "value", ACCURACY, ranked)
    (good,), (bad,), (drawn,) = (judged[name].verdicts for name in values)
    assert sentence("good", judged["good"]) == "- good: better than random (p < 0.001)" and good.kind == "better than"
    assert bad.kind == "worse than" and drawn.kind == "not shown to be better than"
    share = np.mean([np.mean([other < value - 1e-9 for other in order]) for value in values["drawn"]])
    assert judged["drawn"].beaten == pytest.approx(share, abs=1e-3)  # ties get the last rank
    assert judged["good"].mean == pytest.approx(np.mean(values["good"]))


def test_by_trainings():
    rng = np.random.default_rng(0)
    values = {"random": rng.normal(0.9, 0.01, 10), "largest": rng.normal(0.92, 0.01, 10)}
    values["ahead"] = values["random"] + rng.normal(0.02, 0.01, 10)
    judged = judge(rows_of(values), "value", ACCURACY, None)
    better, beside = judged["ahead"].verdicts
    differences = values["ahead"] - values["random"]
    assert better.effect == pytest.approx(differences.mean() / differences.std(ddof=1))
    exact = stats.permutation_test((differences,), np.mean, permutation_type="samples", alternative="greater")
    assert better.control == "random" and better.p == pytest.approx(
        min(1, 2 * exact.pvalue)
    )  # Holm: the smaller of two
    assert beside.control == "largest" and [v.control for v in judged["largest"].verdicts] == ["random"]
    assert not judged["random"].verdicts
    pairs = [a > b for a in values["ahead"] for b in values["random"]]
    assert judged["ahead"].beaten == pytest.approx(np.mean(pairs)) and judged["random"].beaten == 0.5


def test_a_metric_that_is_minimized():
    error = Quantity("rmse", "error", maximize=False, share=False)
    judged = judge(rows_of({"random": [2.0] * 10, "low": [1.0 + s / 100 for s in SEEDS]}), "value", error, None)
    assert judged["low"].beaten == 1 and judged["low"].verdicts[0].kind == "better than"
    assert "| low | 1.045 ± " in table(rows_of({"low": [1.0]}), judged, error, "title")


@pytest.mark.parametrize("seeds", [1, 3])
def test_few_seeds_give_no_verdict(seeds):
    values = {"random": [0.8 + s / 100 for s in range(seeds)], "found": [0.9] * seeds}
    (verdict,) = judge(rows_of(values), "value", ACCURACY, None)["found"].verdicts
    assert verdict.kind == "too few seeds to compare with" and math.isnan(verdict.p)


def test_a_method_that_lacks_seeds_gets_no_verdict():
    values = {"random": [0.8] * 10, "whole": [0.9] * 10, "half": [0.9] * 5}
    judged = judge(rows_of(values), "value", ACCURACY, None)
    assert judged["whole"].verdicts and not judged["half"].verdicts
    assert sentence("half", judged["half"]) == "- half: beats 100% of random architectures"


def test_without_random_nothing_is_said_about_chance():
    judged = judge(rows_of({"a": [0.9, 0.8], "b": [0.7, 0.8]}), "value", ACCURACY, None)
    assert all(one.beaten is None and not one.verdicts for one in judged.values())
    assert sentence("a", judged["a"]) == "- a: no verdict"


def test_lines_about_the_budget():
    rows = [{"method": "a", "seconds": 100.0}, {"method": "a", "seconds": 104.0}, {"method": "b", "seconds": 130.0}]
    assert off_budget(rows, 100) == ["b: its searches took 130 s on average, +30% of the budget"]
    assert unequal(rows) == []
    (line,) = unequal([*rows, {"method": "c", "seconds": 300.0}])
    assert "from 104 s (a) to 300 s (c)" in line
