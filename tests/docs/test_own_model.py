"""The example of docs/own_model.md, from Python and from the command line: search, retrain, and what a user gets."""

import json
import re
import shlex
import sys

import pytest
from helpers.support import ROOT

from oneshot.cli.main import main

PAGE = (ROOT / "docs" / "own_model.md").read_text()
EXAMPLE = re.search(r"^```python\n# my_model\.py\n(.*?)^```", PAGE, re.M | re.S)[1]
LINES = re.findall(r"^oneshot .*$", PAGE, re.M)
SHORT = ["epochs=1", "data.train_size=128", "data.batch_size=32", "logger=none"]


def test_example_runs(capsys):
    exec(compile(EXAMPLE, "my_model.py", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == "4 choices of ('conv_3x3', 'conv_5x5', 'skip')\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder with the module."""
    (tmp_path / "my_model.py").write_text(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_its_commands(folder, monkeypatch):
    assert len(LINES) == 3
    for line in LINES:
        _, *words = shlex.split(line)
        short = [word for word in SHORT if not (word.startswith("data.train_size") and "data=mnist1d" in words)]
        short += ["data.train_size=200"] if "data=mnist1d" in words else []
        short += [] if any(word.startswith("out=") for word in words) else [f"out={words[0]}-{len(words)}"]
        monkeypatch.setattr(sys, "argv", ["oneshot", *words, *short])
        main()
    found = json.loads((folder / "found" / "architecture.json").read_text())
    assert set(found["decisions"]) == {f"block{i}" for i in range(4)}
    (trained,) = (path for path in folder.iterdir() if path.name.startswith("retrain"))
    assert 0 <= json.loads((trained / "result.json").read_text())["test_accuracy"] <= 100
