"""`dry_run=true`: the parts of a search from those of a short one, against plain sums; and as a user types it."""

import json
import re

import pytest

from oneshot.cli.dry_run import Part, measured, predicted
from oneshot.cli.pace import Planned
from oneshot.schedule import Plan, Schedule

SMALL = ["space.cells=3", "space.channels=4", "space.nodes=1", "data.train_size=128", "data.batch_size=16"]
SMALL += ["logger=none", "controls=2", "epochs=4"]


def write(folder, rows):
    """The rows of a run: (update, seconds)."""
    for name, key in (("metrics", "step"), ("timings", "seconds")):
        lines = [json.dumps({"step": step, key: {"step": step, "seconds": at}[key]}) for step, at in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_the_parts_of_one_stage(tmp_path):
    """Three epochs of two pairs. Weight updates take 2 s, architecture updates 1 s, the ends of epochs 5 s."""
    at, step, rows = 3.0, 0, [(0, 3.0)]
    for epoch in range(3):
        for n, seconds in enumerate((1, 2, 1, 2)):
            late = (10.0 if epoch == 0 else 4.0) if n == 0 else 0.0  # first update of all, and of an epoch
            at, step = at + seconds + late, step + 1
            rows.append((step, at))
        at += 5
        rows.append((step, at))
    write(tmp_path, rows)
    plan = Planned(Plan(Schedule(), [(3, 0)]), 3)
    whole = Planned(Plan(Schedule(warmup_epochs=2), [(50, 2)]), 50)
    found = predicted(measured(tmp_path, plan, 2, at + 7), whole, 100)
    assert found == [
        Part("weight updates", 5000, 10_000.0),
        Part("architecture updates", 4800, 4800.0),
        Part("ends of epochs", 50, 50 * (5 + 4.0)),
        Part("start and end", 1, 3 + 10 + 7.0),
    ]


def test_the_parts_of_two_stages(tmp_path):
    """One short epoch of each stage: the second one costs three times as much, and its beginning 30 s."""
    rows, at = [(0, 1.0)], 1.0
    for step, seconds in ((1, 1), (2, 2), (2, 5), (3, 33), (4, 6), (4, 15)):
        at += seconds
        rows.append((step, at))
    write(tmp_path, rows)
    short, whole = Planned(Plan(Schedule(), [(1, 0), (1, 0)]), 2), Planned(Plan(Schedule(), [(3, 1), (2, 0)]), 5)
    found = predicted(measured(tmp_path, short, 1, at), whole, 10)
    assert found == [
        Part("weight updates", 50, 30 * 2 + 20 * 6.0),
        Part("architecture updates", 40, 20 * 1 + 20 * 33.0),  # a single update is its own median
        Part("ends of epochs", 5, 3 * 5 + 2 * 15.0),
        Part("start and end", 1, 1.0),
    ]


@pytest.mark.parametrize("more", [[], ["architect=p_darts"], ["architect=enas", "stop=decided"]])
def test_nothing_is_written(run, tmp_path, more):
    code, out, err = run("search", "dry_run=true", *SMALL, *more)
    assert (code, err) == (0, "") and not list(tmp_path.iterdir())
    total = float(re.search(r"this search takes (?:at most )?about \d+:\d+ \((\d+) s\)", out)[1])
    assert 0 < total < 600 and "weight updates" in out and "peak memory: about" in out
    assert ("at most" in out) == ("stop=decided" in more)


@pytest.mark.parametrize("command", ["rank", "baseline", "compare"])
def test_it_is_for_a_search(run, command):
    code, _, err = run(command, "dry_run=true", *(["methods=[darts]"] if command == "compare" else []))
    assert code == 2 and err == "error: dry_run=True: is for oneshot search alone\n"
