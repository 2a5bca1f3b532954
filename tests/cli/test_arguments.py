"""The words of a command line: what reaches Hydra, and what is refused before it."""

import shlex
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from oneshot.cli.arguments import ALONE, FILES, WITH_VALUE, WORDS, arguments, shown
from oneshot.cli.conf import COMMANDS, OPTIONAL
from oneshot.cli.meanings import own_settings
from oneshot.errors import InputError

TEXTS = [
    "runs/a",
    "결과",
    "결과 폴더/첫 번째",
    "my runs/first run",
    "a,b",
    "a=b",
    "lr=0.1,seed=1 (copy)",
    "it's",
    "#1",
    "50%",
    "C:\\runs",
    "ü 木, = 'x'",
]
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


def read(word):
    """What a word of Hydra's sets: its name and its value, as a configuration holds them."""
    override = OverridesParser.create().parse_override(word)
    assert not override.is_sweep_override(), word
    return override.key_or_group, OmegaConf.create({"value": override.value()}).value


@pytest.mark.parametrize("setting", FILES)
@pytest.mark.parametrize("text", TEXTS)
def test_a_path_arrives_as_it_was_typed(setting, text):
    (word,) = arguments("search", [f"{setting}={text}"])
    assert read(word) == (setting, text)
    (word,) = arguments("search", [f"+{setting}={text}"])
    assert word.startswith("+") and read(word[1:]) == (setting, text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a machine that others use too
@given(st.sampled_from(FILES), PATHS)
@example("out", "null")
@example("out", "1e3")
@example("out", "[a]")
@example("out", "'")
@example("out", "${oc.env:HOME}")
@example("out", "a\\")
@example("out", " a ")
def test_what_is_shown_can_be_typed(setting, text):
    """A setting in a printed command, through the shell's words, ours and Hydra's."""
    (typed,) = shlex.split(shlex.join([shown(setting, text)]))
    (word,) = arguments("retrain", [typed])
    assert read(word) == (setting, text)


def test_several_values_of_a_multirun_stay_several():
    *_, word = arguments("search", ["--multirun", "out=a,b"])
    assert word == "out=a,b" and OverridesParser.create().parse_override(word).is_sweep_override()
    *_, word = arguments("search", ["-m", "out=결과,b"])
    assert read(word) == ("out", "결과,b")


def test_what_hydra_means_is_left_to_it():
    words = [
        "architect=darts", "epochs=3", "space.candidates=[none,skip_connect]", "out=${seed}", "out='a b'", "seed=0,1",
        "+space.operations.mine={_target_: m.f, _partial_: true}", "~cost", "hydra.sweep.dir=x", "data@other=digits",
    ]  # fmt: skip
    assert arguments("search", words) == words


def test_other_texts_that_are_not_ascii_are_quoted():
    (word,) = arguments("search", ["experiment=실험"])
    assert read(word) == ("experiment", "실험")


@pytest.mark.parametrize("group", OPTIONAL)
def test_null_is_none_for_a_group_of_which_there_may_be_none(group):
    assert arguments("search", [f"{group}=null", "out=null"]) == [f"{group}=none", "out=null"]


def test_quick():
    assert arguments("benchmark", ["--quick", "seed=1"]) == ["quick=true", "seed=1"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--epochs", "3"], "--epochs: settings have no dashes; write epochs=VALUE"),
        (["--epochs=3"], "--epochs=3: settings have no dashes; write epochs=3"),
        (["-e", "3"], "-e: settings have no dashes; write e=VALUE"),
        (["--space.cells=3"], "--space.cells=3: settings have no dashes; write space.cells=3"),
        (["--mutlirun"], "unknown flag '--mutlirun'; did you mean '--multirun'?"),
        (["--config-dri", "x"], "unknown flag '--config-dri'; did you mean '--config-dir'?"),
        (["--quik"], "unknown flag '--quik'; did you mean '--quick'?"),
    ],
)
def test_flags_that_do_not_exist(command, words, line):
    with pytest.raises(InputError) as error:
        arguments(command, words)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {*WORDS}))
def test_flags_keep_their_values(command):
    """Also values that look like settings, and a topic after --help."""
    words = [word for flag in WITH_VALUE for word in (flag, "a=결과 b")]
    assert arguments(command, [*words, *ALONE, "seed=1"]) == [*words, *ALONE, "seed=1"]
    assert arguments(command, ["--help", "space", "seed=1"]) == ["--help", "space", "seed=1"]
    assert arguments(command, ["--help", "seed=1"]) == ["--help", "seed=1"]
    assert arguments(command, ["--config-dir=conf"]) == ["--config-dir=conf"]


def test_a_report_reads_no_settings_of_the_users():
    for words in (["--config-dir", "conf"], ["--config-dir=conf"], ["-cd", "conf"]):
        with pytest.raises(InputError, match="reads no settings of yours"):
            arguments("report", words)


def test_words_without_a_name(tmp_path, monkeypatch):
    """A run or a setting: what begins with a setting's name is one, what lies in the folder is a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=0.1").mkdir()
    (tmp_path / "out=x").mkdir()
    settings = own_settings("report")
    words = ["a/b", "lr=0.1", "out=x", "group_by=[a,b]", "c/d=e", "lr=0.2", "--help", "+x=1"]
    rest = ["out=x", "group_by=[a,b]", "c/d=e", "lr=0.2", "--help", "+x=1"]
    *found, runs = arguments("report", words, settings)
    assert found[:2] == rest[:2] and found[4:] == rest[4:] and runs == "runs=['a/b','lr=0.1']"
    assert [read(word) for word in found[2:4]] == [("c/d", "e"), ("lr", 0.2)]
    assert arguments("report", ["결과 1"], settings) == ["runs=['결과 1']"]


def test_a_sweep_is_one_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = own_settings("sweep")
    assert arguments("sweep", ["my sweep.yaml", "jobs=2"], settings) == ["jobs=2", "file='my sweep.yaml'"]
    assert arguments("sweep", ["a.yaml", "b.yaml"], settings) == ["file=['a.yaml','b.yaml']"]  # which is refused later
    (tmp_path / "a=1.yaml").touch()
    assert arguments("sweep", ["a=1.yaml"], settings) == ["file='a=1.yaml'"]


@pytest.mark.parametrize("words", [["--version"], ["search", "--version"]])
def test_the_version(words):
    done = subprocess.run([sys.executable, "-m", "oneshot", *words], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("oneshot ") and done.stderr == ""


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_lists_every_command(words):
    done = subprocess.run([sys.executable, "-m", "oneshot", *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        (line,) = [line for line in done.stdout.splitlines() if line.split()[:1] == [command.replace("_", "-")]]
        assert len(line.split()) > 3 and len(line) <= 120


def test_a_command_that_does_not_exist():
    done = subprocess.run([sys.executable, "-m", "oneshot", "serach"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown command 'serach'; did you mean 'search'?")
    assert done.stderr.count("\n") == 1
