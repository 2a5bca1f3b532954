"""The examples of docs/extending.md run, from Python and from the command line."""

import json
import re
import shlex
import sys

import pytest
from helpers.support import ROOT

from oneshot.cli.main import main

PAGE = (ROOT / "docs" / "extending.md").read_text()
EXAMPLES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE, re.M | re.S))
SETTINGS = re.findall(r"^```yaml\n((?:# @package _global_\n)?# (conf/[\w/]+\.yaml).*?)^```", PAGE, re.M | re.S)
LINES = re.findall(r"^oneshot .*$", PAGE, re.M)
KINDS = [
    *(
        "my_operations",
        "my_space",
        "my_architect",
        "my_technique",
        "my_parts",
        "my_freeze",
        "my_selection",
        "my_rule",
        "my_strategy",
        "my_estimator",
        "my_data",
    ),
]
SMALL = ["epochs=1", "data.train_size=128", "data.batch_size=32", "logger=null", "out=own"]


def test_examples_are_seen():
    assert list(EXAMPLES) == KINDS and len(SETTINGS) == 9
    assert len(re.findall("^```python", PAGE, re.M)) == len(EXAMPLES)


def test_a_regularizer_is_at_most_40_lines():
    assert len(EXAMPLES["my_technique"].splitlines()) <= 40


@pytest.mark.parametrize("name", KINDS)
def test_example_runs(name):
    exec(compile(EXAMPLES[name], f"{name}.py", "exec"), {"__name__": "__main__"})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: the modules and the settings of the page."""
    for name, code in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(code)
    for text, name in SETTINGS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def run(monkeypatch, line, *settings):
    """Run a line of the page with more settings. Raises SystemExit unless it succeeds."""
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), *settings])
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise


def line_with(text):
    return next(line for line in LINES if text in line)


CELLS = ["space.cells=3", "space.channels=4", "space.nodes=1"]
QUERIES = ["budget.queries=4", "space.cells=1", "space.channels=4"]


@pytest.mark.parametrize(
    ("part", "settings", "found"),
    [
        ("my_operations", CELLS, "conv_1x1"),
        ("space=kernels", [], "conv_"),
        ("architect=sigmoid", CELLS, "normal/"),
        ("technique=[diversity]", CELLS, "normal/"),
        ("architect=diverse_darts", CELLS, "normal/"),
        ("stop=plateau", CELLS, "normal/"),
        ("selection=leave_one_out", CELLS, "normal/"),
        ("strategy=greedy", ["space=nasbench201", *QUERIES], "cell/"),
        ("estimator=convolutions", QUERIES, "nor_conv"),
        ("data=stripes", CELLS, "normal/"),
    ],
)
def test_own_part_from_the_command_line(part, settings, found, folder, monkeypatch):
    run(monkeypatch, line_with(part), *SMALL, *settings)
    decisions = json.loads((folder / "own" / "architecture.json").read_text())["decisions"]
    assert found in json.dumps(decisions)
