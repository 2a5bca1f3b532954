"""The commands of docs/how_to.md name scripts, groups and settings that exist."""

import re
import shlex

import pytest
from helpers.support import ROOT
from hydra import compose, initialize_config_dir

PAGE = (ROOT / "docs" / "how_to.md").read_text()
COMMANDS = re.findall(r"^(python scripts/.*)$", "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)), re.M)
OWN = ("space=chain", "architect=sigmoid", "strategy=greedy")  # of README and notebooks/add_your_own.ipynb


def test_commands_are_seen():
    assert len(COMMANDS) >= 25
    assert len(re.findall("^## … ", PAGE, re.M)) >= 12


@pytest.mark.parametrize("command", COMMANDS)
def test_command_composes(command):
    _, path, *words = shlex.split(command)
    assert (ROOT / path).is_file()
    script = path.removeprefix("scripts/").removesuffix(".py")
    settings = [
        word
        for word in words
        if ("=" in word or word.startswith("~")) and not word.startswith("hydra.") and word not in OWN
    ]
    if "--multirun" in words:
        settings = [re.sub(r"=(\w+),.*", r"=\1", word) for word in settings]
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        compose(script, settings)


def test_links():
    for target in re.findall(r"\]\(([\w./]+)\)", PAGE):
        assert (ROOT / "docs" / target).is_file()
    for target in re.findall(r"`(notebooks/[\w.]+|conf/)`", PAGE):
        assert (ROOT / target).exists()
