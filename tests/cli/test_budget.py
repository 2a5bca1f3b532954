"""The budget of a comparison: what it may be, and the length of the epochs with which a search keeps it."""

import pytest

from oneshot.cli.comparison.budget import Budget, batches_within, read
from oneshot.cli.pace import Pace, Planned
from oneshot.errors import InputError
from oneshot.schedule import Plan, Schedule


def test_read():
    assert read(None) is None and read("seconds:1.5") == Budget("seconds", 1.5) and read("queries:7") == ("queries", 7)
    assert str(read("updates:3000")) == "3,000 updates"


@pytest.mark.parametrize(
    "text", ["", "7", "hours:1", "seconds:", "seconds:x", "updates:1.5", "seconds:0", "queries:-1"]
)
def test_bad_budgets(text):
    with pytest.raises(InputError, match="budget="):
        read(text)


@pytest.mark.parametrize(
    "schedule",
    [Schedule(), Schedule(warmup_epochs=1), Schedule(weight_steps=50, architecture_steps=25), Schedule(joint=True)],
)
@pytest.mark.parametrize("most", [40, 999])
def test_batches_are_the_most_that_fit(schedule, most):
    plan = Plan(schedule, [(4, schedule.warmup_epochs), (3, 0)])

    def updates(batches):
        return len([u for epoch in range(7) for u in plan.epoch(epoch, batches)])

    found = batches_within(lambda batches: plan.total(7, batches), most)
    assert updates(found) <= most < updates(found + 1) or found == 1


def test_a_pace_is_made_of_medians():
    """Three epochs; single slow updates do not count, and the second epoch costs more."""
    updates = [(0, "weight", 1.0), (0, "weight", 1.0), (0, "weight", 9.0), (0, "architecture", 2.0)]
    updates += [(1, "weight", 3.0)] * 3 + [(1, "architecture", 5.0)] * 2 + [(2, "weight", 1.0)]
    pace = Pace(50.0, updates)
    assert pace.fixed == 50 - (13 + 19 + 1)
    counts = {(0, "weight"): 10, (0, "architecture"): 5, (1, "weight"): 10, (1, "architecture"): 5}
    assert pace.seconds(counts) == pace.fixed + 10 * 1 + 5 * 2 + 10 * 3 + 5 * 5
    assert pace.seconds({(2, "architecture"): 7}) == pace.fixed + 7 * 5  # the median of 2, 5, 5
    assert pace.seconds({(0, "joint"): 1}) == pace.fixed + 5  # never seen: the dearest
    assert Pace(1.0, updates).fixed == 0


def test_a_length_by_a_pace_is_the_longest_that_fits():
    plan = Planned(Plan(Schedule(weight_steps=7, architecture_steps=3), [(4, 1), (3, 0)]), 7)
    spent = [(epoch, kind, 0.1 + 0.3 * (kind == "weight") + 0.05 * epoch) for epoch, kind in plan.updates(9)]
    pace = Pace(30 + sum(seconds for _, _, seconds in spent), spent)

    def slowly(length):
        return 30 + sum(0.1 + 0.3 * (kind == "weight") + 0.05 * epoch for epoch, kind in plan.updates(length))

    for seconds in (31.0, 40.0, 123.4):
        found = batches_within(lambda length: pace.seconds(plan.counts(length)), seconds)
        assert found == max(1, sum(slowly(length) <= seconds for length in range(1, 60)))
