"""Commands that take turns."""

import json
import subprocess
import sys
import time

from support import ROOT

BUSY = """
import time
end = time.process_time() + 1.5
while time.process_time() < end:
    pass
print(time.time())
"""


def turns(folder, lines, *arguments):
    (folder / "commands.txt").write_text("\n".join(lines) + "\n")
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "turns.py"), "commands=commands.txt", "slice=1", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_each_is_timed_in_its_turns_alone(tmp_path):
    """Two that compute for 1.5 s each and take turns: each counts its own seconds and not those of the other."""
    (tmp_path / "busy.py").write_text(BUSY)
    line = f"{sys.executable} busy.py"
    start = time.time()
    done = turns(tmp_path, ["# two", line, "", line], "out=turns")
    both = time.time() - start
    assert (done.returncode, done.stderr) == (0, "")
    rows = json.loads((tmp_path / "turns" / "result.json").read_text())
    assert [row["code"] for row in rows] == [0, 0] and sum(row["seconds"] for row in rows) <= both
    assert all(1.4 < row["cpu_seconds"] <= row["seconds"] + 0.2 for row in rows)
    ends = [float((tmp_path / "turns" / f"{n}.log").read_text()) for n in range(2)]
    assert ends[0] - start > rows[0]["seconds"] + 0.5  # it had to wait for the other's turn


def test_a_command_that_fails_is_shown_and_the_others_go_on(tmp_path):
    done = turns(tmp_path, ["false", "true"], "out=turns")
    assert done.returncode == 1 and done.stderr == ""
    assert [row["code"] for row in json.loads((tmp_path / "turns" / "result.json").read_text())] == [1, 0]


def test_bad_input(tmp_path):
    for lines, arguments, text in (
        (["true"], ["slice=0"], "slice=0"),
        ([], [], "holds no command"),
        (["nothing-of-this-name"], ["out=turns"], "nothing-of-this-name: cannot be started"),
        (["'"], [], "a line cannot be split"),
        (["true"], ["commands=absent.txt"], "absent.txt: cannot be read"),
    ):
        done = turns(tmp_path, lines, *arguments)
        assert done.returncode == 2 and text in done.stderr and done.stderr.count("\n") == 1, done.stderr
