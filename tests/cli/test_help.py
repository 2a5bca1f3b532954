"""--help: of every script, at once, and true to what Hydra composes."""

import re
import shlex
import subprocess
import sys

import pytest
from helpers.support import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from oneshot.cli import meanings

SCRIPTS = sorted(path.stem for path in (ROOT / "conf").glob("*.yaml"))
ALL = """
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        assert not end.code, script
    assert "torch" not in sys.modules, script
    print("=" * 9)
"""


@pytest.fixture(scope="module")
def screens():
    """Script -> what its --help prints, all in a process that must not import torch."""
    paths = [str(ROOT / "scripts" / f"{name}.py") for name in SCRIPTS]
    done = subprocess.run([sys.executable, "-c", ALL, *paths], capture_output=True, text=True, cwd=ROOT / "scripts")
    assert done.returncode == 0, done.stderr
    return dict(zip(SCRIPTS, done.stdout.split("=" * 9 + "\n"), strict=False))


def composed(script, *overrides):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return compose(script, list(overrides))


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


def test_scripts_are_seen():
    assert len(SCRIPTS) >= 10


@pytest.mark.parametrize("script", SCRIPTS)
def test_screen(screens, script):
    said, screen = manual.command(script), screens[script]
    assert " ".join(screen.split()).startswith(" ".join(said.title.split()))
    assert f"python scripts/{script}.py" in screen and "--help all" in screen
    file = meanings.read(ROOT / "conf" / f"{script}.yaml")
    shown = set(re.findall(r"^  ([\w.]+)= ", screen, re.M))
    own = {setting.key for setting in file.settings if not setting.meaning.endswith("not used")}
    assert {key for key in own if not key.startswith(manual.SELDOM)} <= shown
    assert len(screen.splitlines()) <= 90


@pytest.mark.parametrize("script", SCRIPTS)
def test_examples_compose(script):
    examples = manual.command(script).examples
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[:2] == ["python", f"scripts/{script}.py"]
        composed(script, *(word for word in words if "=" in word and not word.startswith("--")))


def test_groups_and_choices_are_those_of_the_script(screens):
    architects = {path.stem for path in (ROOT / "conf" / "architect").glob("*.yaml")}
    assert set(choices(screens["search"], "architect")) == architects
    assert choices(screens["search"], "architect")[0] == "darts"
    assert choices(screens["baseline"], "architect")[0] == "uniform"
    assert set(choices(screens["search"], "experiment")).isdisjoint({"compare_architects", "rank_nb201"})
    assert "rank_nb201" in choices(screens["rank"], "experiment")
    assert choices(screens["compare"], "experiment") == ["compare_architects"]
    assert choices(screens["retrain"], "architect") is choices(screens["search"], "strategy") is None
    assert set(choices(screens["benchmark"], "sizes")) == {"benchmark", "benchmark_quick"}


def test_defaults_are_those_that_hold(run):
    for experiment in ("digits", "darts_cifar10"):
        code, out, _ = run("search", f"experiment={experiment}", "--help")
        config = composed("search", f"experiment={experiment}")
        assert code == 0
        shown = dict(re.findall(r"^  ([\w.]+)= +(\S+)", out, re.M))
        assert shown["epochs"] == str(config.epochs) and shown["space.cells"] == str(config.space.cells)
        assert shown["data"] == ("digits" if experiment == "digits" else "cifar10")


def test_all_lists_every_setting(run):
    code, out, _ = run("search", "--help", "all", "architect=enas")
    config = OmegaConf.to_container(composed("search", "architect=enas"))
    assert code == 0 and set(re.findall(r"^  ([\w.]+)= ", out, re.M)) == set(flat(config))


def test_topics(run):
    out = run("search", "--help", "cost")[1]
    assert {f"cost={path.stem}" for path in (ROOT / "conf" / "cost").glob("*.yaml")} <= set(out.split())
    keys = set(re.findall(r"^  ([\w.]+)= ", run("search", "-h", "data.augmentation")[1], re.M))
    assert keys == {f"data.augmentation.{key}" for key in ("mean", "std", "pad", "flip", "cutout")}


def test_choices_of_another_folder(run, tmp_path):
    (tmp_path / "space").mkdir()
    (tmp_path / "space" / "chain.yaml").write_text("# A chain\n_target_: my.Chain\nlayers: 3   # in a row\n")
    folder = f"hydra.searchpath=[file://{tmp_path}]"
    assert "chain" in choices(run("search", folder, "--help")[1], "space")
    out = run("search", folder, "space=chain", "--help", "space.layers")[1]
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
