"""Constructors need no YAML: their defaults are the values of the settings files."""

import inspect

import pytest
from helpers.support import ROOT
from hydra.utils import get_object
from omegaconf import OmegaConf

GROUPS = ("strategy", "estimator", "executor", "cost")
FILES = [path for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


def is_plain(value):
    """Whether a value is in the file itself: neither missing, nor taken from another file, nor a mapping."""
    return not isinstance(value, dict | list) and not (isinstance(value, str) and (value == "???" or "${" in value))


def described(path):
    """The settings of a file and the parameters of what it names."""
    settings = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return settings, inspect.signature(get_object(settings["_target_"])).parameters


CHOICES = [path for path in FILES if "_target_" in OmegaConf.load(path)]


@pytest.mark.parametrize("path", CHOICES, ids=[f"{path.parent.name}/{path.stem}" for path in CHOICES])
def test_defaults_are_those_of_the_settings_file(path):
    settings, parameters = described(path)
    plain = {name: value for name, value in settings.items() if name != "_target_" and is_plain(value)}
    defaults = {name: parameters[name].default for name in plain}
    assert defaults == plain
    assert {name: type(value) for name, value in defaults.items()} == {n: type(v) for n, v in plain.items()}


@pytest.mark.parametrize("path", CHOICES, ids=[f"{path.parent.name}/{path.stem}" for path in CHOICES])
def test_what_may_be_left_out_has_a_default(path):
    settings, parameters = described(path)
    required = {name for name, value in settings.items() if value == "???"}
    optional = set(settings) - required - {"_target_"}
    assert not [name for name in optional if parameters[name].default is inspect.Parameter.empty]


def test_every_group_has_settings_files():
    assert {path.parent.name for path in CHOICES} == set(GROUPS)
