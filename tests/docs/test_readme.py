"""README is short, its example runs, and its commands are the ones that .ci/run takes from it."""

import re

import pytest
from helpers.support import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_it_is_short():
    assert len(README.splitlines()) <= 150


def test_example_runs(tmp_path, monkeypatch):
    (code,) = EXAMPLES
    for text, smaller in (("epochs=6", "epochs=1"), ("NASBench201(data)", "NASBench201(data, cells=1, channels=4)")):
        assert text in code
        code = code.replace(text, smaller)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize(
    "line",
    [
        "pip install -e . -c constraints.txt && oneshot search && oneshot retrain",
        'pip install -e ".[dev]" -c constraints.txt && pytest -n 2',
    ],
)
def test_commands_of_ci(line):
    first = line[: line.index(" -c")] + " "
    assert next(found for found in README.splitlines() if found.startswith(first)) == line


def test_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)
