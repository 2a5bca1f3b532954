"""The budget of a comparison: what it may be, and the length of the epochs with which a search keeps it."""

import pytest

from oneshot.cli.comparison.budget import Budget, batches_within, pace, pilots, read
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


def test_pilots_differ():
    for schedule in (Schedule(), Schedule(weight_steps=1000, architecture_steps=1000)):
        short, long = pilots(lambda batches, s=schedule: Plan(s, [(5, 0)]).total(5, batches))
        assert 1 <= short < long


def test_a_pace_is_the_line_through_two_searches():
    line = pace((2, 9.0), (6, 17.0))
    assert line == (5.0, 2.0) and line.batches(105) == 50 and line.batches(4) < 1
    assert pace((2, 9.0), (6, 9.0)) == (0.0, 1.5)  # the clock says nothing about batches
    assert pace((10, 1.0), (20, 3.0)).fixed == 0  # never below 0
