"""--help: of every command, at once, and true to what Hydra composes."""

import re
import shlex
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from oneshot.cli import help, meanings
from oneshot.cli.composition import configuration as composed
from oneshot.cli.composition import fits, groups
from oneshot.cli.conf import COMMANDS, CONF, OPTIONAL, spoken
from oneshot.cli.conf import choices as known

ALL = """
import sys
from unittest import mock
from oneshot.cli import main
for command in sys.argv[1:]:
    with mock.patch.object(sys, "argv", ["oneshot", command, "--help"]):
        main.main()
    assert "torch" not in sys.modules, command
    print("=" * 9)
"""


@pytest.fixture(scope="module")
def screens(tmp_path_factory):
    """Command -> what its --help prints, all in a process that must not import torch."""
    words = [sys.executable, "-c", ALL, *COMMANDS]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path_factory.mktemp("help"))
    assert done.returncode == 0, done.stderr
    return dict(zip(COMMANDS, done.stdout.split("=" * 9 + "\n"), strict=False))


GROUPS = {path.name for path in CONF.iterdir() if path.is_dir()} - {"sweeps"}


def flat(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        elif key not in ("_target_", "_partial_"):
            yield f"{prefix}{key}"


def choices(screen, group):
    """The words of a group's row, over its lines."""
    row = re.search(rf"^  {group}= .*\n(?: {{8,}}.*\n)*", screen, re.M)
    return row[0].replace(",", " ").split()[1:] if row else None


@pytest.mark.parametrize("command", COMMANDS)
def test_screen(screens, command):
    said, screen = help.description(command), screens[command]
    assert " ".join(screen.split()).startswith(" ".join(said.title.split()))
    assert f"usage  oneshot {spoken(command)} " in screen and "--help all" in screen
    file = meanings.read(CONF / f"{command}.yaml")
    shown = set(re.findall(r"^  ([\w.]+)= ", screen, re.M))
    own = {setting.key for setting in file.settings if not setting.meaning.endswith(meanings.NOT_USED)}
    assert {key for key in own if not key.startswith(help.SELDOM)} <= shown
    choices = re.search(r"^group .*\n(?: .*\n)*", screen, re.M)  # their number grows with every method
    assert len(screen.splitlines()) - len(choices[0].splitlines() if choices else []) <= 75


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_compose(run, command):
    """With the words of a real command line; capitals are paths of the reader's."""
    examples = help.description(command).examples
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["oneshot", spoken(command)]
        code, out, err = run(spoken(command), *words[2:], "--cfg", "job")
        assert (code, err) == (0, ""), example
        assert out


@pytest.mark.parametrize("command", COMMANDS)
def test_groups_and_choices_are_those_of_the_command(screens, command):
    composed_groups = {key: None for name in meanings.included(command) for key in groups(name)}
    for group in composed_groups:
        names = set(known(group.partition("@")[0])) - {"none"}
        found = choices(screens[command], group)
        if command == "compare" and group in help.NAMED_BY_METHODS:
            assert found is None
            continue
        assert found, group
        fitting = {name for name in names if fits(CONF / group.partition("@")[0] / f"{name}.yaml", command)}
        assert fitting <= set(found) <= fitting | {"none"}, group
        if group in OPTIONAL:
            assert "none" in found
    assert set(re.findall(r"^  (\w+)= +\S+", screens[command], re.M)) & GROUPS <= {
        group.partition("@")[0] for group in composed_groups
    }


def test_the_default_comes_first(screens):
    for command in ("search", "baseline", "rank"):
        first = composed(command, [], hydra_too=True).hydra.runtime.choices["architect"]
        assert choices(screens[command], "architect")[0] == first
    assert choices(screens["retrain"], "architect") is choices(screens["search"], "strategy") is None


def test_choices_for_some_commands_only(screens):
    """A trainer of several processes is for the two commands that its file names."""
    assert "ddp" in choices(screens["search"], "trainer") and "ddp" in choices(screens["retrain"], "trainer")
    assert "ddp" not in choices(screens["baseline"], "trainer")
    assert "nb201_cifar10" in choices(screens["rank"], "experiment")
    assert "nb201_cifar10" in choices(screens["search"], "experiment")


def test_defaults_are_those_that_hold(run):
    for experiment in ("digits", "darts_cifar10"):
        code, out, _ = run("search", f"experiment={experiment}", "--help")
        config = composed("search", [f"experiment={experiment}"])
        assert code == 0
        shown = dict(re.findall(r"^  ([\w.]+)= +(\S+)", out, re.M))
        assert shown["epochs"] == str(config.epochs) and shown["space.cells"] == str(config.space.cells)
        assert shown["data"] == ("digits" if experiment == "digits" else "cifar10")


def test_all_lists_every_setting(run):
    code, out, _ = run("search", "--help", "all", "architect=enas")
    config = OmegaConf.to_container(composed("search", ["architect=enas"]))
    assert code == 0 and set(re.findall(r"^  ([\w.]+)= ", out, re.M)) == set(flat(config))


def test_topics(run):
    out = run("search", "--help", "cost")[1]
    assert {f"cost={name}" for name in known("cost")} <= set(out.split())
    keys = set(re.findall(r"^  ([\w.]+)= ", run("search", "-h", "data.augmentation")[1], re.M))
    assert keys == {key for key in flat(OmegaConf.to_container(composed("search", []))) if "augmentation" in key}


def test_settings_of_techniques(run):
    """Of those that are chosen among the others, and of any one by its name."""
    out = run("search", "--help", "architect=pc_darts", "technique=[beta_decay]")[1]
    keys = set(re.findall(r"^  ([\w.]+)= ", out, re.M))
    assert {"technique.beta_decay.weight", "technique.beta_decay.start", "space.partial_channels"} <= keys
    assert "technique.zero_one.weight" not in keys and "none" in choices(out, "technique")
    out = run("search", "--help", "technique.beta_decay")[1]
    assert out.startswith("technique=beta_decay  Beta decay") and "technique.beta_decay.weight=" in out
    assert run("search", "--help", "technique.beta_deacy")[0] == 2


def test_choices_of_another_folder(run, tmp_path):
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "layers.yaml").write_text("# A chain\n_target_: my.Chain\nlayers: 3   # in a row\n")
    folder = f"hydra.searchpath=[file://{tmp_path}]"
    assert "layers" in choices(run("search", folder, "--help")[1], "space")
    out = run("search", folder, "space=layers", "--help", "space.layers")[1]
    assert re.search(r"space.layers= +3 +in a row", out)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--help", "spaces"), "unknown topic of --help 'spaces'; did you mean 'space'?"),
        (("--help", "space.cels=2"), "unknown setting 'space.cels'; did you mean 'space.cells'?"),
        (("architect=dart", "--help"), "unknown choice for architect 'dart'; did you mean 'darts'?"),
    ],
)
def test_what_cannot_be_answered(run, arguments, line):
    code, out, err = run("search", *arguments)
    assert (code, out) == (2, "") and err.startswith(f"error: {line}") and err.count("\n") == 1
