"""The example of own data in docs/how_to.md runs, from Python and from the command line."""

import json
import re
import shlex
import sys

import pytest
from helpers.support import ROOT

from oneshot.cli.main import main

PAGE = (ROOT / "docs" / "how_to.md").read_text()
((CODE, NAME),) = [(code, name) for name, code in re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE, re.M | re.S)]
((SETTINGS, PATH),) = re.findall(r"^```yaml\n(# (conf/[\w/]+\.yaml).*?)^```", PAGE, re.M | re.S)
LINES = [line for line in re.findall(r"^oneshot search .*$", PAGE, re.M) if NAME in line or "data=bright" in line]
SMALL = "epochs=1 space.cells=3 space.channels=4 space.nodes=1 logger=none out=own"


def test_lines_are_seen():
    assert len(LINES) == 3


def test_example_runs(capsys):
    exec(compile(CODE, f"{NAME}.py", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == "(3, 8, 8) 2 192 64\n"


@pytest.mark.parametrize("line", LINES)
def test_lines_run(line, tmp_path, monkeypatch):
    (tmp_path / f"{NAME}.py").write_text(CODE)
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    words = [*shlex.split(line), *SMALL.split()]
    monkeypatch.setattr(sys, "argv", words)
    main()
    assert "normal/" in json.dumps(json.loads((tmp_path / "own" / "architecture.json").read_text()))
