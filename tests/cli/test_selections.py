"""The group `selection`: the architect's published choice, and the command line that wins."""

import pytest
from omegaconf import OmegaConf

from oneshot.cli.arguments import searched
from oneshot.cli.composition import compose, configuration
from oneshot.cli.objects import make
from oneshot.selection import BestOf, ByScores, Shapley, SkipLimit


def selected(*words, command="search"):
    return make(configuration(command, words).selection)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], ByScores()),
        (["architect=pc_darts"], ByScores()),
        (["architect=enas"], BestOf(30)),
        (["architect=fairnas", "seed=4"], BestOf(30, 4)),
        (["architect=setn"], BestOf(100, from_scores=True)),
        (["architect=enas", "selection=by_scores"], ByScores()),
        (["selection=by_scores", "architect=setn"], ByScores()),
        (["architect=darts", "selection=best_of", "selection.samples=5", "seed=2"], BestOf(5, 2)),
        (["architect=setn", "selection.samples=5"], BestOf(5, from_scores=True)),
        (["architect=uniform", "selection=best_by_scores"], BestOf(100, from_scores=True)),
        (["architect=enas", "selection=skip_limit", "selection.cell=null"], SkipLimit(2, None)),
        (["selection=shapley", "selection.batches=0", "seed=9"], Shapley(batches=0, seed=9)),
    ],
)
def test_search(words, expected):
    assert selected(*words) == expected


def test_commands_that_train_a_supernet_have_the_one_of_its_architect():
    assert selected(command="baseline") == BestOf(30)
    assert selected("architect=darts", command="rank") == ByScores()
    assert selected("selection=skip_limit", command="rank") == SkipLimit()


def test_defaults_are_those_of_the_classes():
    for name, made in (("by_scores", ByScores), ("skip_limit", SkipLimit), ("shapley", Shapley)):
        assert selected(f"selection={name}") == made()


@pytest.fixture
def own(tmp_path):
    """The override with which Hydra finds a user's architects: one overrides the group, one sets it inline."""
    texts = {
        "limited": "defaults:\n  - uniform\n  - override /selection: skip_limit\n",
        "inherits": "defaults:\n  - limited\n",
        "inline": "defaults: [darts]\nselection: {_target_: oneshot.selection.BestOf, samples: 7}\n",
        "earlier": "defaults: [darts]\nselection: {_target_: oneshot.search.by_scores, _partial_: true}\n",
    }
    (tmp_path / "architect").mkdir()
    for name, text in texts.items():
        (tmp_path / "architect" / f"{name}.yaml").write_text(f"# @package _global_\n# An architect\n{text}")
    return searched(["--config-dir", str(tmp_path)])


def test_architects_of_ones_own(own):
    assert selected("architect=limited", *own) == SkipLimit()
    assert selected("architect=inherits", *own) == SkipLimit()
    assert selected("architect=inherits", "selection=by_scores", *own) == ByScores()
    assert selected("architect=inline", *own) == BestOf(7)
    assert selected("architect=earlier", *own).func == ByScores()


def test_help_shows_what_is_chosen():
    for words, choice in ((["architect=enas"], "best_of"), (["architect=enas", "selection=shapley"], "shapley")):
        composed = compose("search", words)
        assert composed.choices["selection"] == choice
        settings = {key for key in OmegaConf.to_container(configuration("search", words).selection) if key[0] != "_"}
        assert all(composed.settings[f"selection.{key}"].meaning for key in settings)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["architect=enas", "selection.sampels=4"], "did you mean 'selection.samples'?"),
        (["architect=fairnas", "selection.sampels=4"], "did you mean 'selection.samples'?"),
        (["architect=enas", "selection=skip_limit", "selection.limt=4"], "did you mean 'selection.limit'?"),
        (["selection=skiplimit"], "unknown choice for selection 'skiplimit'; did you mean 'skip_limit'?"),
        (["selection=skip_limit", "space=nasbench201"], "has no such cell; its cells: cell; null counts"),
        (["selection=shapley", "selection.threshold=2"], "selection.threshold=2: must be a number, at least 0.0"),
    ],
)
def test_wrong_words_are_refused_with_one_line(run, words, message):
    code, _, err = run("search", *words, "logger=none")
    assert code == 2 and message in err and len(err.splitlines()) == 1
