"""Searches in stages from the command line."""

import json

import pytest
from helpers.commands import is_first_line
from helpers.support import TINY


def test_a_search_in_stages_answers_again_is_trained_and_scores_no_whole_space(run, tmp_path):
    words = [*TINY, "space.nodes=1", "logger=none"]
    search = ["search", *words, "architect=darts_pt", "stages.search=1", "epochs=3", "out=found", "controls=2"]
    code, out, err = run(*search)
    assert (code, err) == (0, "") and "\ncontrols: the stages of this search left one architecture, so " in out
    result = json.loads((tmp_path / "found" / "result.json").read_text())
    assert result["stages"]["number"] == 3
    assert {name: [chosen] for name, chosen in result["architecture"].items()} == result["stages"]["kept"]
    assert run(*search)[0] == 0  # is finished
    assert run("retrain", *words, "epochs=1", "architecture=found", "out=trained")[0] == 0
    code, _, err = run("baseline", *words, "supernet=found", "budget.queries=2", "out=based")
    assert code == 2 and "its search left out candidates or changed sizes in stages" in err
    assert not (tmp_path / "based").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["stages=[{},{kep: 2}]"], "unknown setting of a stage 'kep'; did you mean 'keep'? known: depth, keep"),
        (["stages=[]"], "stages=[]: must be a list of mappings"),
        (["stages=three"], "stages=three: must be a list of mappings"),
        (["stages=[{},{keep: 0}]"], "stages.keep=0: must be a whole number, at least 1"),
        (
            ["stages=[{},{},{},{}]"],
            "epochs=3: too few for 4 stages, as each needs at least one; with these shares 4 are enough",
        ),
        (["architect=darts_pt", "stages.criterion=best"], "unknown stages.criterion 'best'"),
        (["architect=enas", "schedule.warmup_epochs=0", "stages=[{},{keep: 2}]"], "ENAS cannot leave out candidates"),
    ],
)
def test_what_is_refused_before_anything_is_written(run, tmp_path, words, message):
    code, out, err = run("search", *TINY, "logger=none", "out=run", *words)
    assert code == 2 and err.count("\n") <= 2 and message in err and is_first_line("search", out)
    assert not (tmp_path / "run").exists()
