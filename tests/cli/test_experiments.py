"""The `when:` blocks of an experiment: which hold, in which order, and what wins."""

import pytest
from omegaconf import OmegaConf

from oneshot.cli import experiments
from oneshot.cli.composition import configuration, fits
from oneshot.cli.conf import COMMANDS, choices
from oneshot.errors import InputError

CHOICES = {"space": "cells", "architect": "snas", "cost": None, "estimator@reference": "tabular"}


def applied(when, command="search", given=(), choices=CHOICES, **more):
    """What a configuration with these blocks becomes."""
    start = {"epochs": 1, "quick": False, "space": {"cells": 1, "channels": 2}, "list": [1], **more}
    config = OmegaConf.create({**start, "when": when})
    OmegaConf.set_struct(config, True)
    experiments.apply(config, command, choices, set(given))
    assert "when" not in config
    return OmegaConf.to_container(config)


def test_without_blocks_nothing_changes():
    config = OmegaConf.create({"epochs": 1})
    experiments.apply(config, "search", CHOICES, set())
    assert config == {"epochs": 1}
    assert applied({}) == applied(None) == applied({"architect=enas": {"epochs": 9}})


@pytest.mark.parametrize("command", COMMANDS)
def test_search_is_every_command_that_builds_a_supernet(command):
    found = applied({"search": {"epochs": 2}, "retrain": {"epochs": 3}}, command)["epochs"]
    assert found == (3 if command in ("retrain", "latency") else 2)
    only = applied({"rank": {"epochs": 4}}, command)["epochs"]
    assert only == (4 if command == "rank" else 1)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("architect=snas", True),
        ("architect=enas", False),
        ("space=c*s search", True),
        ("space=cell?", True),
        ("space=cell", False),
        ("space=CELLS", False),
        ("cost=*", False),  # there is none
        ("space=cells architect=snas search", True),
        ("space=cells architect=enas", False),
        ("retrain architect=snas", False),
        ("quick=false", True),
        ("quick=true", False),
        ("epochs=1", True),
        ("space.cells=1", True),
        ("space.cells=2", False),
        ("cost=none", False),
        ("strategy=random", False),  # a group that this command does not have
    ],
)
def test_conditions(condition, holds):
    assert applied({condition: {"epochs": 7}})["epochs"] == (7 if holds else 1)


def test_later_blocks_win_and_see_what_earlier_ones_set():
    when = {"search": {"epochs": 2, "space": {"cells": 5}}, "architect=snas": {"epochs": 3}}
    assert applied(when) == applied({}) | {"epochs": 3, "space": {"cells": 5, "channels": 2}}
    assert applied(dict(reversed(when.items())))["epochs"] == 2
    assert applied({"search": {"quick": True}, "quick=true": {"epochs": 9}})["epochs"] == 9
    assert applied({"quick=true": {"epochs": 9}, "search": {"quick": True}})["epochs"] == 1


def test_the_command_line_wins():
    when = {"search": {"epochs": 2, "space": {"cells": 5, "channels": 6}}, "architect=snas": {"epochs": 3}}
    assert applied(when, given=["epochs"])["epochs"] == 1
    assert applied(when, given=["space.cells"])["space"] == {"cells": 1, "channels": 6}
    assert applied(when, given=["space.cell"])["space"] == {"cells": 5, "channels": 6}  # another name


def test_a_chosen_group_takes_the_experiments_settings():
    """space=NAME on the command line chooses a file, which the experiment sizes; it gives no setting."""
    assert applied({"search": {"space": {"cells": 5}}}, given=["space", "architect"])["space"]["cells"] == 5


def test_a_mapping_of_the_command_line_is_kept_whole():
    kept = applied({"search": {"weights": {"lr": 5}}}, given=["weights"], weights={"lr": 1})
    assert kept["weights"] == {"lr": 1}
    assert applied({"search": {"list": [2, 3]}})["list"] == [2, 3]


def test_a_setting_that_does_not_exist():
    """It is refused where the block names the command; a block for several may set what only others have."""
    with pytest.raises(InputError, match="when, 'search': `oneshot search` has no setting 'epohcs'"):
        applied({"search": {"epohcs": 2}})
    with pytest.raises(InputError, match="has no setting 'space.cels'"):
        applied({"search space=cells": {"space": {"cels": 2}}})
    assert applied({"search": {"epohcs": 2}}, "rank") == applied({"architect=snas": {"schedule": {"joint": True}}})


@pytest.mark.parametrize(
    ("when", "line"),
    [
        (3, "when: must be a mapping"),
        ([1], "when: must be a mapping"),
        ({"search": 3}, "when, 'search': must be a mapping of settings"),
        ({"search": None}, "when, 'search': must be a mapping of settings"),
        ({"serach": {"epochs": 2}}, "when: 'serach' is neither a command nor NAME=VALUE"),
    ],
)
def test_blocks_that_are_none(when, line):
    with pytest.raises(InputError) as error:
        applied(when)
    assert str(error.value).startswith(line)


def test_an_experiment_of_the_users(run, tmp_path):
    """From a folder that the command line names; a mistake in it is one line."""
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    text = "# @package _global_\n# Mine\ndefaults:\n  - override /data: digits\nwhen:\n  search: {epochs: 2}\n"
    (folder / "mine.yaml").write_text(text + "  architect=snas: {epochs: 3}\n")
    words = ["--config-dir", str(tmp_path / "mine"), "experiment=mine", "--cfg", "job"]
    for more, epochs in (([], 2), (["architect=snas"], 3), (["architect=snas", "epochs=5"], 5)):
        code, out, err = run("search", *words, *more)
        assert (code, err) == (0, "") and OmegaConf.create(out).epochs == epochs
    (folder / "mine.yaml").write_text(text + "  search architect=snas: {epohcs: 3}\n")
    code, out, err = run("search", *words, "architect=snas")
    assert (code, out) == (2, "") and "has no setting 'epohcs'" in err and err.count("\n") == 1


@pytest.mark.parametrize("command", ["search", "retrain"])
def test_a_space_that_builds_on_darts_has_its_sizes(command):
    for name in (name for name in choices("experiment") if fits(choices("experiment")[name], command)):
        found = {}
        for space in ("darts", "darts_s1", "darts_s2", "darts_s3", "darts_s4"):
            config = OmegaConf.to_container(configuration(command, [f"experiment={name}", f"space={space}"]))
            found[space] = {key: value for key, value in config["space"].items() if "candidates" not in key}
        assert all(sizes == found["darts"] for sizes in found.values())


def test_a_condition_of_an_unknown_group_is_refused():
    config = OmegaConf.create({"epochs": 1, "when": {"architct=darts": {"epochs": 2}}})
    with pytest.raises(InputError, match="no group and no setting 'architct'"):
        experiments.apply(config, "search", {"architect": "darts"}, ())


def test_a_condition_of_another_command_does_not_hold():
    config = OmegaConf.create({"epochs": 1, "when": {"architect=darts": {"epochs": 2}, "drop_path=0.1": {"epochs": 3}}})
    experiments.apply(config, "retrain", {"space": "darts"}, ())
    assert config.epochs == 1
