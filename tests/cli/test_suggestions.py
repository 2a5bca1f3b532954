"""What comes next in a sweep, and that nothing of it is lost or doubled."""

import itertools
import json
import math
import sqlite3
import statistics

import pytest

from oneshot.cli.sweep.file import sweep
from oneshot.cli.sweep.suggestions import STORAGE, Sampled, count, suggestions

COMMAND = ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"]
PARAMETERS = {
    "weights.optimizer.lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0},
    "space.candidates": {"values": ["[none]", "[none,skip_connect]"]},
    "architect": {"value": "darts"},
    "epochs": {"min": 2, "max": 5},
}


def make(method, parameters=PARAMETERS, **more):
    metric = {"name": "valid/accuracy", "goal": "maximize"}
    content = {"program": "scripts/search.py", "method": method, "metric": metric, "parameters": parameters}
    return sweep({**content, "command": COMMAND, **more})


def score(values):
    return -abs(values["weights.optimizer.lr"] - 0.1) + values["epochs"]


def played(asked, numbers, failing=()):
    drawn = []
    for number in numbers:
        drawn.append(asked.ask(number))
        asked.tell(number, None if number in failing else score(drawn[-1]))
    return drawn


def test_a_grid_is_the_product_in_order():
    lists = {"seed": [0, 1, 2], "architect": ["darts", "snas"], "epochs": [2, 3]}
    parameters = {name: {"values": values} for name, values in lists.items()}
    parameters["epochs"] = {"min": 2, "max": 3}
    found = make("grid", parameters)
    asked = suggestions(found, None, 0)
    assert count(found, None) == 12 and count(found, 5) == 5 and count(found, 99) == 12
    expected = [dict(zip(lists, point, strict=True)) for point in itertools.product(*lists.values())]
    assert [asked.ask(number) for number in range(12)] == expected
    assert count(make("random"), None) == 20 and count(make("random", run_cap=7), None) == 7
    assert count(make("random", run_cap=7), 9) == 9


@pytest.mark.parametrize("method", ["random", "bayes"])
def test_a_seed_decides(tmp_path, method):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    number = 12 if method == "bayes" else 4  # the first 10 of TPE are random
    first, again, other = (
        played(suggestions(make(method), folder, seed), range(number))
        for folder, seed in zip(folders, (0, 0, 1), strict=True)
    )
    assert first == again and first != other and len({json.dumps(values) for values in first}) == number
    for values in first:
        assert 0.001 <= values["weights.optimizer.lr"] <= 1 and values["epochs"] in (2, 3, 4, 5)
        assert values["space.candidates"] in ("[none]", "[none,skip_connect]") and values["architect"] == "darts"


def test_after_a_kill_it_goes_on_as_if_there_had_been_none(tmp_path):
    (tmp_path / "whole").mkdir()
    whole = played(suggestions(make("bayes"), tmp_path / "whole", 3), range(13))
    before = suggestions(make("bayes"), tmp_path, 3)
    assert played(before, range(11)) == whole[:11]
    assert before.ask(11) == whole[11]  # killed with this job under way
    after = suggestions(make("bayes"), tmp_path, 3)
    assert played(after, range(13)) == whole
    rows = read(tmp_path)
    assert [row[0] for row in rows] == list(range(13)) and {row[1] for row in rows} == {"COMPLETE"}
    assert [row[2] for row in rows] == [pytest.approx(score(values)) for values in whole]
    assert [json.loads(row[3]) for row in rows] == whole


def read(folder):
    """Job, state, value and parameters of each trial, from the file itself."""
    with sqlite3.connect(folder / STORAGE) as database:
        return database.execute(
            "SELECT CAST(job.value_json AS INTEGER), state, value, given.value_json FROM trials"
            " JOIN trial_user_attributes job ON job.trial_id = trials.trial_id AND job.key = 'job'"
            " JOIN trial_user_attributes given ON given.trial_id = trials.trial_id AND given.key = 'parameters'"
            " LEFT JOIN trial_values ON trial_values.trial_id = trials.trial_id ORDER BY number"
        ).fetchall()


def test_a_failed_job_is_asked_for_again_with_the_same_values(tmp_path):
    asked = suggestions(make("bayes"), tmp_path, 0)
    drawn = played(asked, range(3), failing=(1,))
    assert [row[:2] for row in read(tmp_path)] == [(0, "COMPLETE"), (1, "FAIL"), (2, "COMPLETE")]
    asked.tell(1, None)  # known already
    assert suggestions(make("bayes"), tmp_path, 0).ask(1) == drawn[1]
    asked.tell(1, 5.0)
    asked.tell(1, 6.0)  # the first answer stays
    assert [row[:3] for row in read(tmp_path)][1:] == [
        (1, "FAIL", None),
        (2, "COMPLETE", score(drawn[2])),
        (1, "COMPLETE", 5.0),
    ]


def test_a_refused_job_is_given_others_and_the_same_ones_after_a_kill(tmp_path):
    drawn = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        asked = suggestions(make("bayes"), tmp_path / name, 0)
        drawn.append(played(asked, range(11)))
        for number in (11, 11, 12):
            drawn[-1].append(asked.ask(number))
            if name == "b":
                asked = suggestions(make("bayes"), tmp_path / name, 0)
            asked.refuse(number)
            asked.refuse(number)  # known already
        drawn[-1].append(asked.ask(11))
    assert drawn[0] == drawn[1] and len({json.dumps(values) for values in drawn[0]}) == 15
    assert [row[:2] for row in read(tmp_path / "b")][11:] == [
        (11, "PRUNED"),
        (11, "PRUNED"),
        (12, "PRUNED"),
        (11, "RUNNING"),
    ]


def test_bayes_goes_where_it_is_good(tmp_path):
    """log-uniform on [1e-4, 1], the optimum at 0.01: half of random draws are further away than a factor of 10."""
    spec = {"lr": {"distribution": "log_uniform_values", "min": 0.0001, "max": 1.0}}
    asked, losses = Sampled(make("bayes", spec).parameters, tmp_path / STORAGE, True, False, 0), []
    for number in range(24):
        losses.append(abs(math.log(asked.ask(number)["lr"] / 0.01)))
        asked.tell(number, losses[-1])
    assert statistics.median(losses[-11:]) < math.log(10) / 2
