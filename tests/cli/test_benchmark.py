"""`oneshot benchmark` as a user types it."""

import json
import subprocess
import sys

import pytest
from helpers.commands import is_first_line
from helpers.support import build, learns, small_space

from oneshot.cli.benchmark.measurements import Figure
from oneshot.cli.benchmark.processes import combined
from oneshot.cli.conf import choices

TINY = [
    "quick=true",
    "space.cells=3",
    "space.channels=4",
    "space.nodes=2",
    "size=8",
    "batch=4",
    "rounds=1",
    "warmup=0",
    "device=cpu",
]

ARCHITECTS = list(choices("architect"))


def test_a_report_of_every_architect(pictures, run, tmp_path):
    """Uniform comes first, which has one kind of step: shares are those of its updates."""
    order = ["uniform", *sorted({*ARCHITECTS} - {"uniform"})]
    code, out, err = run("benchmark", *TINY, f"architects=[{','.join(order)}]", "out=deep/report.json")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {"report.json", "report.pdf", "report.png", "report.svg"}
    assert "written to deep/report.json" in out and "snas: joint step" in out and "Epoch" not in out
    report = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert report["settings"]["batch"] == 4 and report["device"].startswith("cpu") and report["threads"] >= 1
    assert set(report["versions"]) == {"python", "torch", "pytorch-lightning"}
    figures = {figure["name"]: figure for figure in report["figures"]}
    fields = {"name", "unit", "ours", "reference", "ratio", "low", "high"}
    assert all(set(figure) == fields and figure["low"] is None for figure in figures.values())
    for figure in figures.values():
        if figure["ratio"]:
            assert figure["ratio"] == pytest.approx(figure["reference"] / figure["ours"])
    kinds = {name: {key.partition(": ")[2] for key in figures if key.startswith(f"{name}: ")} for name in ARCHITECTS}
    both = {"weight step", "architecture step", "both steps", "memory", "images"}
    for name in ARCHITECTS:
        joint = {"joint step", "memory", "images"} if name == "snas" else both
        assert kinds[name] == (joint if learns(build(name, small_space())) else {"weight step", "memory", "images"})
    memory = {name: figures[f"{name}: memory"]["ours"] for name in ARCHITECTS}
    assert memory["uniform"] < memory["pc_darts"] < memory["darts"] < memory["darts_second"]
    assert figures["memory, architecture step"]["ratio"] > figures["memory, weight step"]["ratio"] > 1.5
    assert figures["operations, grouped"]["ratio"] > figures["operations, edges"]["ratio"] > 1
    assert {"path, against its network", "NAS-Bench-201: both steps"} <= set(figures)
    share = 100 * figures["augmented batch"]["ours"] / figures["uniform: weight step"]["ours"]
    assert figures["augmented batch, of an update"]["ours"] == pytest.approx(share)


def test_several_processes(run, tmp_path):
    code, out, err = run("benchmark", *TINY, "architects=[uniform]", "freed_memory=both", "out=report.json")
    assert (code, err) == (0, "") and {p.stem for p in tmp_path.iterdir()} == {"report"}
    figures = {figure["name"]: figure for figure in json.loads((tmp_path / "report.json").read_text())["figures"]}
    kept, returned = (figures[f"uniform: weight step{ending}"] for ending in ("", " (returned)"))
    for figure in (kept, returned):
        assert 0 < figure["low"] == figure["ratio"] == figure["high"]  # of one process each
    assert figures["operations, edges"]["low"] == figures["operations, edges"]["high"]
    assert "operations, edges (returned)" not in figures and figures["augmented batch"]["low"] is None


def test_medians_and_ranges_over_processes():
    runs = [
        [Figure("a", "ms", *numbers), Figure("b", "ms", numbers[0])] for numbers in ((1, 3, 3), (2, 2, 1), (3, 6, 2))
    ]
    assert list(combined(runs)) == [Figure("a", "ms", 2, 3, 2, 1, 3), Figure("b", "ms", 2)]


def test_pictures_are_not_overwritten(pictures, run, tmp_path):
    (tmp_path / "report.png").write_text("kept")
    code, out, err = run("benchmark", *TINY, "out=report.json")
    assert code == 2 and is_first_line("benchmark", out) and "report.png exists" in err
    assert (tmp_path / "report.png").read_text() == "kept"


def test_quick(tmp_path):
    """--quick sets the sizes that a shorter name has."""
    command = [sys.executable, "-m", "oneshot", "benchmark", "--quick", "--cfg", "job"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "rounds: 3" in shown and "size: 16" in shown and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rounds=0"], "rounds=0"),
        (["warmup=-1"], "warmup=-1"),
        (["size=4"], "size=4"),
        (["batch=1"], "batch=1"),
        (["processes=0"], "processes=0"),
        (["freed_memory=lost"], "unknown freed_memory 'lost'"),
        (["architects=[]"], "architects=[]: must be a list of at least one"),
        (["architects=darts"], "architects='darts': must be a list, as architects=[...]"),
        (["trainer.precision=64-true"], "trainer.precision=64-true: must be auto, 32-true or bf16-mixed"),
        (["out=chart.png"], "out=chart.png: must be a file that ends with .json"),
        (["out=deep"], "out=deep: must be a file that ends with .json"),
        (["architects=[dart]"], "unknown architect 'dart'; did you mean 'darts'?"),
        (["device=nowhere"], "device=nowhere: must be auto or the name of a device"),
        (["out=there.json"], "out=there.json: exists"),
        (["out=there.json/below.json"], "out=there.json/below.json: cannot be written"),
        (["trainer.compile=2"], "trainer.compile=2"),
        (["quick=slow"], "quick='slow': must be true or false"),
        (["--quik"], "unknown flag '--quik'; did you mean '--quick'?"),
        (["size=1000000"], "size=1000000"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line(run, tmp_path, arguments, message):
    (tmp_path / "there.json").write_text("kept")
    code, out, err = run("benchmark", *TINY, *arguments)
    assert code == 2 and is_first_line("benchmark", out)
    assert err.startswith("error: ") and message in err and len(err.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["there.json"] and (tmp_path / "there.json").read_text() == "kept"
