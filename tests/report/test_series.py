"""Curves as the files hold them, and what is left of damaged files."""

import json
import math

import pytest
from helpers.run_folders import leave, records, search

from oneshot.report.series import Point, asked, best_query, entropy, probabilities, updates, validation


def one(root):
    (summary,) = records(root)
    return summary


def test_a_searchs_curves(tmp_path):
    search(tmp_path)
    summary = one(tmp_path)
    assert validation(summary) == [Point(4, 40.0, 0.4)]
    assert entropy(summary) == [Point(0, 0.0, 1.0), Point(4, 40.0, 0.5)]
    assert updates(summary) == 4


def test_lost_clocks_and_odd_rows(tmp_path):
    search(tmp_path)
    (tmp_path / "timings.jsonl").write_text('{"seconds": "x"}\n')
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write(
            '{"step": "y", "entropy": 1}\n{"step": 3, "entropy": 1}\n{"step": 8, "entropy": 0.25}\n{"step": 9, "ent'
        )
    points = entropy(one(tmp_path))
    assert [(point.step, point.value) for point in points] == [(0, 1.0), (4, 0.5), (8, 0.25)]
    assert all(math.isnan(point.seconds) for point in points)


QUERIES = [  # notation, fidelity, accuracy (None: failed), cost
    ("a", 0.5, 0.9, 10.0),
    ("b", 1.0, None, None),
    ("c", 1.0, 0.3, 20.0),
    ("d", 1.0, 0.2, 5.0),
    ("c", 1.0, 0.4, 20.0),
]


@pytest.fixture
def baseline(tmp_path):
    node = {"strategy": {"_target_": "oneshot.strategies.TPE"}, "metric": "accuracy"}
    leave(tmp_path, node, {"supernet_seconds": 100.0, "notation": "c"})
    lines, clocks = [], []
    for n, (notation, fidelity, accuracy, cost) in enumerate(QUERIES, 1):
        answer = {"error": "x"} if accuracy is None else {"scores": {"accuracy": accuracy, "cost": cost}}
        lines.append(json.dumps({"query": n, "notation": notation, "fidelity": fidelity, **answer}) + "\n")
        clocks.append(json.dumps({"query": n, "seconds": 1.0, "elapsed": float(n)}) + "\n")
    (tmp_path / "queries.jsonl").write_text("".join(lines))
    (tmp_path / "queries.timings.jsonl").write_text("".join(clocks))
    return one(tmp_path)


def test_the_best_so_far_is_that_of_the_highest_fidelity(baseline):
    assert [point.value for point in validation(baseline)] == [0.9, 0.9, 0.3, 0.3, 0.4]
    assert [point.seconds for point in validation(baseline)] == [101.0, 102.0, 103.0, 104.0, 105.0]


def test_what_was_asked_for_counts_once(baseline):
    assert asked(baseline) == [(0.9, 10.0), (0.4, 20.0), (0.2, 5.0)]
    assert best_query(baseline)["query"] == 3


@pytest.mark.parametrize(
    "content", ["[[1]]", "[]", "{}", "[[[1, 2]], [[1]]]", '[[["a", "b"]]]', "[[[-1, 2]]]", "[[[NaN, 1]]]", "[" * 9999]
)
def test_probabilities_that_are_none(tmp_path, content):
    search(tmp_path)
    (tmp_path / "scores.json").write_text(content)
    assert probabilities(one(tmp_path), (1, 2)) is None


def test_probabilities(tmp_path):
    search(tmp_path)
    (tmp_path / "scores.json").write_text("[[[0.5, 0.5]], [[0.25, 0.75]]]")
    table = probabilities(one(tmp_path), (1, 2))
    assert table is not None and table.tolist() == [[[0.5, 0.5]], [[0.25, 0.75]]]
    assert probabilities(one(tmp_path), (2, 1)) is None
