"""Numbers of groups against the same by hand."""

import statistics

import pytest
from helpers.run_folders import leave, records, retrain, search

from oneshot.quantity import ACCURACY
from oneshot.report.grouping import sections
from oneshot.report.measures import best, measures

T = {2: 12.706204736432095, 3: 4.302652729911275}  # the 97.5 % quantile of Student's t for n - 1 degrees, from a table


def groups(root):
    (section,), _ = sections(records(root))
    return {group.label: group for group in section.groups}


def half(values):
    return T[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def test_mean_and_interval_over_seeds(tmp_path):
    found, tested = (0.5, 0.625, 0.75), (0.91, 0.95, 0.9)
    for seed in range(3):
        search(tmp_path / f"s{seed}", found=found[seed], seed=seed)
        retrain(tmp_path / f"t{seed}", tmp_path / f"s{seed}", test=tested[seed], seed=seed)
    (group,) = groups(tmp_path).values()
    for name, values in (("validation", found), ("test", tested)):
        percent = [100 * value for value in values]
        assert measures(ACCURACY)[name].text(group) == f"{statistics.mean(percent):.2f} ± {half(percent):.2f}"
    assert measures(ACCURACY)["updates"].text(group) == "4"
    assert (
        measures(ACCURACY)["parameters"].text(group) == "7"
        and measures(ACCURACY)["multiply_accumulates"].text(group) == "9"
    )


def test_sizes_are_of_the_search_where_nothing_was_trained(tmp_path):
    search(tmp_path / "s")
    (group,) = groups(tmp_path).values()
    assert measures(ACCURACY)["parameters"].text(group) == "1,000" and measures(ACCURACY)["test"].text(group) == ""


def test_trainings_of_one_architecture_are_one_value(tmp_path):
    """Else the interval would shrink by trainings that share a search."""
    for seed, tests in enumerate(((0.9, 0.8), (0.6,))):
        search(tmp_path / f"s{seed}", seed=seed)
        for n, test in enumerate(tests):
            retrain(tmp_path / f"t{seed}{n}", tmp_path / f"s{seed}", test=test, seed=n)
    (group,) = groups(tmp_path).values()
    assert measures(ACCURACY)["test"].text(group) == f"72.50 ± {half([85.0, 60.0]):.2f}"


def test_fewer_seeds_than_the_group_has_are_said(tmp_path):
    for seed in (0, 1):
        search(tmp_path / f"s{seed}", seed=seed)
    retrain(tmp_path / "t", tmp_path / "s0", test=0.75)
    (group,) = groups(tmp_path).values()
    assert measures(ACCURACY)["test"].text(group) == "75.00 (1 of 2)"


def test_seconds_of_a_baseline_are_with_those_of_its_supernet(tmp_path):
    result = {"best_accuracy": 0.5, "search_seconds": 3.0, "supernet_seconds": 40.0, "queries": 12}
    node = {"strategy": {"_target_": "oneshot.strategies.TPE"}}
    leave(tmp_path / "a", node, result)
    (group,) = groups(tmp_path).values()
    assert measures(ACCURACY)["search_seconds"].values(group) == [43.0] and measures(ACCURACY)["updates"].values(
        group
    ) == [12.0]
    assert measures(ACCURACY)["validation"].values(group) == [50.0]


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        ({"a": (0.90, 0.91), "b": (0.10, 0.11)}, "a"),
        ({"a": (0.90, 0.80), "b": (0.20, 0.21)}, None),  # 85 ± 63.5 and 20.5 ± 6.4
        ({"a": (0.90,), "b": (0.10, 0.11)}, None),
        ({"a": (0.90, 0.91)}, None),
    ],
)
def test_best_only_where_its_interval_is_above_all_others(tmp_path, tests, expected):
    for method, values in tests.items():
        for seed, test in enumerate(values):
            path = tmp_path / f"{method}{seed}"
            search(path, seed=seed, architect={"_target_": f"my.{method}"})
            retrain(tmp_path / f"t{method}{seed}", path, test=test, seed=seed)
    found = best(list(groups(tmp_path).values()), measures(ACCURACY)["test"])
    assert (found.label if found else None) == expected


@pytest.mark.parametrize("strange", [3, {}, {"share_beaten": "x", "beats_largest": []}, {"share_beaten": 2.0}])
def test_strange_controls_are_none(tmp_path, strange):
    node = {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}
    leave(tmp_path / "s", {"architect": node}, {"found_valid_accuracy": 0.5, "controls": strange})
    (group,) = groups(tmp_path).values()
    assert [measures(ACCURACY)[name].values(group) for name in ("share_beaten", "beats_largest")] == [[], []]
