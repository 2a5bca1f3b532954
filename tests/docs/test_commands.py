"""Every command in README and in the documentation names commands, groups, choices and settings that exist."""

import re
import shlex

import pytest
from helpers.support import ROOT

from oneshot.cli.arguments import arguments
from oneshot.cli.composition import configuration
from oneshot.cli.conf import COMMANDS

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted(path for path in (ROOT / "docs").glob("*.md") if path.stem != "settings")
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
OWN = re.compile(r"^```yaml\n((?:# @package _global_\n)?# conf/([\w/]+\.yaml).*?)^```", re.M | re.S)
EXAMPLE = "ARGS"  # a word that stands for any settings


def commands(text):
    """The words of each `oneshot ...` in blocks of code, and in lines of text between backticks."""
    inline = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    for line in [*lines, *inline]:
        line = re.sub(r'--wrap "([^"]*)"', r"&& \1", line)
        for part in re.split(r"&&|(?<=\s)#.*", line):
            if part.strip().startswith("oneshot ") and EXAMPLE not in part:
                yield part.strip()


FOUND = {path.name: list(commands(path.read_text())) for path in PAGES}
LINES = list(dict.fromkeys(line for lines in FOUND.values() for line in lines))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A folder with the YAML files of docs/extending.md and docs/how_to.md."""
    folder = tmp_path_factory.mktemp("own")
    for text, name in OWN.findall(
        "\n".join((ROOT / "docs" / page).read_text() for page in ("extending.md", "how_to.md"))
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_commands_are_seen():
    assert all(FOUND[page] for page in ("README.md", "tutorial.md", "compare.md", "running.md", "extending.md"))
    assert len(FOUND["how_to.md"]) >= 25


def test_the_recipes_are_seen():
    assert len(re.findall("^## … ", (ROOT / "docs" / "how_to.md").read_text(), re.M)) >= 12


@pytest.mark.parametrize("line", LINES)
def test_command_composes(line, own):
    _, name, *words = shlex.split(line)
    if name.startswith("--"):
        assert name in ("--help", "--version")
        return
    assert name.replace("-", "_") in COMMANDS and "_" not in name
    several = "--multirun" in words
    words = [re.sub(r"(\b\w+=[\w.]+),[\w.,]*", r"\1", word) if several else word for word in words]
    settings, rest = [], list(arguments(name.replace("-", "_"), words))
    while rest:
        word = rest.pop(0)
        if word == "--config-dir":
            rest.pop(0)
            settings.append(f"hydra.searchpath=[file://{own}]")
        elif word in ("--help", "--cfg"):
            if rest and "=" not in rest[0]:
                rest.pop(0)  # a topic
        elif not word.startswith("-"):
            settings.append(word)
    configuration(name.replace("-", "_"), settings)
