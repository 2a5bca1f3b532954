"""Commands that take turns."""

import json
import sys
import time

import pytest
from helpers.scripts import script

BUSY = """
import time
end = time.process_time() + 1.5
while time.process_time() < end:
    pass
print(time.time())
"""


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """scripts/turns.py in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    turns = script("turns")

    def called(*words):
        monkeypatch.setattr(sys, "argv", ["turns.py", *words])
        with pytest.raises(SystemExit) as end:
            turns.main()
        return end.value.code, *capsys.readouterr()

    return called


def test_each_is_timed_in_its_turns_alone(run, tmp_path):
    """Two that compute for 1.5 s each and take turns: each counts its own seconds and not those of the other."""
    (tmp_path / "busy.py").write_text(BUSY)
    line = f"{sys.executable} busy.py"
    start = time.time()
    (tmp_path / "commands.txt").write_text(f"# two\n{line}\n\n{line}\n")
    code, _, err = run("commands.txt", "--slice", "1", "--out", "turns")
    both = time.time() - start
    assert (code, err) == (0, "")
    rows = json.loads((tmp_path / "turns" / "result.json").read_text())
    assert [row["code"] for row in rows] == [0, 0] and sum(row["seconds"] for row in rows) <= both
    assert all(1.4 < row["cpu_seconds"] <= row["seconds"] + 0.2 for row in rows)
    ends = [float((tmp_path / "turns" / f"{n}.log").read_text()) for n in range(2)]
    assert ends[0] - start > rows[0]["seconds"] + 0.5  # it had to wait for the other's turn


def test_a_command_that_fails_is_shown_and_the_others_go_on(run, tmp_path):
    (tmp_path / "commands.txt").write_text("false\ntrue\n")
    code, _, err = run("commands.txt", "--slice", "1", "--out", "turns")
    assert (code, err) == (1, "")
    assert [row["code"] for row in json.loads((tmp_path / "turns" / "result.json").read_text())] == [1, 0]


@pytest.mark.parametrize(
    ("lines", "words", "text"),
    [
        ("true", ["commands.txt", "--slice", "0"], "--slice=0: must be a whole number, from 1 to 3600"),
        ("true", ["commands.txt", "--slice", "many"], "argument --slice: invalid int value: 'many'"),
        ("", ["commands.txt"], "holds no command"),
        ("'", ["commands.txt"], "a line cannot be split"),
        ("true", ["absent.txt"], "absent.txt: cannot be read"),
        ("nothing-of-this-name", ["commands.txt"], "nothing-of-this-name: cannot be started"),
    ],
)
def test_bad_input(run, tmp_path, lines, words, text):
    (tmp_path / "commands.txt").write_text(lines + "\n")
    code, out, err = run(*words, "--out", "turns")
    assert (code, out) == (2, "") and text in err.splitlines()[-1] and "Traceback" not in err
