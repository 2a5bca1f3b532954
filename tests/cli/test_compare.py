"""`oneshot compare` as a user types it: what it leaves, what it does not do twice, what it refuses."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers.commands import is_first_line

SIZES = ["experiment=digits", "epochs=1", "space.cells=3", "space.channels=4", "space.nodes=2", "data.train_size=128"]
TINY = ["architects=[uniform,random]", "seeds=[3]", f"settings={SIZES}", "out=compared"]
JOBS = ["uniform/3/search", "uniform/3/retrain", "random/3/retrain"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with one comparison, made by a process of its own."""
    folder = tmp_path_factory.mktemp("compare")
    command = [sys.executable, "-m", "oneshot", "compare", *TINY]
    environment = {**os.environ, "ONESHOT_PICTURES": "screen"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| uniform | " in done.stdout and "written to compared" in done.stdout
    return folder


def times(folder):
    return {job: (folder / job / "result.json").stat().st_mtime_ns for job in JOBS}


def test_what_it_leaves(finished):
    folder = finished / "compared"
    search, retrain, random = (json.loads((folder / job / "result.json").read_text()) for job in JOBS)
    first, second = json.loads((folder / "results.json").read_text())
    assert (first["architect"], second["architect"]) == ("uniform", "random") and first["seed"] == second["seed"] == 3
    for row, trained in ((first, retrain), (second, random)):
        assert all(row[key] == trained[key] for key in ("test_accuracy", "parameters", "architecture"))
    assert first["architecture"] == search["architecture"] != second["architecture"]
    assert (first["seconds"], first["peak_memory_bytes"]) == (search["seconds"], search["peak_memory_bytes"])
    assert second["seconds"] is None
    lines = (folder / "table.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| uniform", "| random"]
    for line, row in zip(lines[2:], (first, second), strict=True):
        assert f"{100 * row['test_accuracy']:.2f}" in line and f"{row['parameters']:,}" in line
    assert all((folder / f"comparison.{kind}").stat().st_size > 1000 for kind in ("pdf", "png", "svg"))


@pytest.mark.parametrize("left", ["everything", "no result"])
def test_finished_jobs_are_not_repeated_and_cut_off_ones_are(run, finished, tmp_path, left):
    shutil.copytree(finished / "compared", tmp_path / "compared")
    folder, job = tmp_path / "compared", tmp_path / "compared" / JOBS[2]
    before, table = times(folder), (folder / "table.md").read_bytes()
    (folder / "table.md").unlink()
    if left != "everything":
        (job / "result.json").unlink()
    code, out, err = run("compare", *TINY)
    assert (code, err) == (0, "") and out.count("\noneshot ") == (left != "everything")
    after = times(folder)
    assert {job for job in JOBS if before[job] != after[job]} == ({JOBS[2]} if left != "everything" else set())
    assert (folder / "table.md").read_bytes() == table  # the same seed, the same accuracy


def test_a_folder_holds_one_comparison(run, finished, tmp_path):
    shutil.copytree(finished / "compared", tmp_path / "compared")
    before = times(tmp_path / "compared")
    other = [argument.replace("space.channels=4", "space.channels=8") for argument in TINY]
    code, out, err = run("compare", *other)
    assert (code, len(err.splitlines())) == (2, 1) and is_first_line("compare", out)
    assert err.startswith("error: out=compared: was started with settings=") and "space.channels=8" in err
    assert times(tmp_path / "compared") == before


BAD = [
    (["architects=[drts]"], "unknown architect 'drts'; did you mean 'darts'?"),
    (["architects=[random,random]"], "architects="),
    (["architects=[]"], "architects="),
    (["seeds=[1,0,1]"], "seeds="),
    (["seeds=[]"], "seeds="),
    (["seeds=3"], "seeds=3"),
    (["seeds=[-1]"], "seeds=-1"),
    (["settings=7"], "settings=7"),
    (["settings=[7]"], "settings"),
    (["architects=[random]", "settings=['epohcs=1']"], "unknown setting 'epohcs'; did you mean 'epochs'?"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_clear_line(run, arguments, message):
    code, _, err = run("compare", *arguments, "out=compared")
    assert code == 2
    assert message in err and err.startswith("error: ") and len(err.splitlines()) == 1
