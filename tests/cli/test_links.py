"""A link in the place of any file of a run: nothing outside the folder changes, and the command says so in one line."""

import os
import shutil
from itertools import cycle

import pytest
from helpers.commands import is_first_line, run_all

TINY = ["epochs=1", "space.cells=3", "space.channels=4", "space.nodes=1", "data.train_size=128", "data.batch_size=32"]
SEARCH = [*TINY, "architect=uniform", "selection.samples=2"]
COMPARED = ["strategies=[random_search]", "seeds=1", "queries=12", "space=nasbench201", "reference.table=table.csv"]
RUNS = {  # folder -> command, its words without out=
    "search": ("search", SEARCH),
    "retrain": ("retrain", [*TINY, "architecture=search"]),
    "baseline": ("baseline", ["supernet=search", "budget.queries=3", "strategy.inherit=true", "strategy=evolution"]),
    "rank": ("rank", ["supernet=search", "estimator@reference=one_shot", "architectures=4", "resamples=10"]),
    "evaluate": ("evaluate", ["run=retrain", "repeats=5", "batches=[1]"]),
}
READERS = [  # command, words, the folder of the run that it reads
    ("retrain", [*TINY, "architecture=search"], "search"),
    ("baseline", ["supernet=search", "budget.queries=3"], "search"),
    ("rank", ["supernet=search", "estimator@reference=one_shot", "architectures=4"], "search"),
    ("evaluate", ["run=retrain"], "retrain"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """One finished run of each kind."""
    folder = tmp_path_factory.mktemp("made")
    run_all(folder, [(command, [*words, f"out={out}"]) for out, (command, words) in RUNS.items()])
    return folder


def kinds(outside, target):
    """What is put in the place of a file: name -> link."""
    return {
        "file": outside / "precious",
        "folder": outside,
        "device": "/dev/zero",
        "itself": target,
        "dangling": outside / "new",
    }


def state(folder):
    return {str(p): (p.lstat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in sorted(folder.rglob("*"))}


def refused(run, command, words, named):
    code, out, err = run(command, *words)
    assert code == 2 and is_first_line(command, out), (code, out, err)
    assert err.count("\n") == 1 and err.startswith("error: ") and f"{named}: is a link" in err


def planted(made, tmp_path, name):
    """A copy of the runs, a folder outside, and the path of each file and folder of one run."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    shutil.copytree(made, inside)
    outside.mkdir()
    (outside / "precious").write_text("do not change")
    paths = sorted(path.relative_to(inside) for path in (inside / name).rglob("*"))
    assert len(paths) > 5
    return inside, outside, paths


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_continues(run, made, tmp_path, monkeypatch, name):
    inside, outside, paths = planted(made, tmp_path, name)
    monkeypatch.chdir(inside)
    command, words = RUNS[name]
    before = state(outside)
    for path, kind in zip(paths, cycle(kinds(outside, ""))):
        kept = inside / "kept"
        os.rename(path, kept)
        if path.name != "result.json" and (inside / name / "result.json").exists():
            os.rename(inside / name / "result.json", inside / "result")  # the run was interrupted
        path.symlink_to(kinds(outside, path.absolute())[kind])
        refused(run, command, [*words, f"out={name}"], path)
        path.unlink()
        os.rename(kept, path)
        if (inside / "result").exists():
            os.rename(inside / "result", inside / name / "result.json")
    assert state(outside) == before
    assert run(command, *words, f"out={name}")[0] == 0  # without links it is finished


@pytest.mark.parametrize(("command", "words", "name"), READERS, ids=[command for command, _, _ in READERS])
def test_a_run_that_another_reads(run, made, tmp_path, monkeypatch, command, words, name):
    inside, outside, paths = planted(made, tmp_path, name)
    monkeypatch.chdir(inside)
    before = state(outside)
    for path, kind in zip(paths, cycle(kinds(outside, ""))):
        os.rename(path, inside / "kept")
        path.symlink_to(kinds(outside, path.absolute())[kind])
        refused(run, command, [*words, "out=new"], path)
        path.unlink()
        os.rename(inside / "kept", path)
        assert not (inside / "new").exists()
    assert state(outside) == before


def test_a_report_names_the_folder_and_goes_on(run, made, tmp_path, monkeypatch):
    inside, outside, _ = planted(made, tmp_path, "search")
    monkeypatch.chdir(inside)
    shutil.copytree("search", "links")
    shutil.copytree("search", "pipe")
    os.remove("links/metrics.jsonl")
    os.symlink(outside / "precious", "links/metrics.jsonl")
    os.mkfifo("pipe/extra")
    before = state(outside)
    code, out, err = run("report", "search", "retrain", "links", "pipe", "out=page")
    assert (code, err) == (0, "") and state(outside) == before
    assert (
        "links: damaged, links/metrics.jsonl: is a link" in out and "pipe: damaged, pipe/extra: is a named pipe" in out
    )
    assert "do not change" not in (inside / "page" / "report.html").read_text()


def test_the_output_above_may_be_a_link(run, made, tmp_path, monkeypatch):
    """`outputs` on a scratch disk."""
    inside, outside, _ = planted(made, tmp_path, "search")
    monkeypatch.chdir(inside)
    (outside / "scratch").mkdir()
    os.symlink(outside / "scratch", "outputs")
    assert run("search", *SEARCH)[0] == 0
    assert len(list((outside / "scratch" / "search").iterdir())) == 1
    assert run("retrain", *TINY)[0] == 0  # architecture=latest


def test_latest_passes_over_a_folder_with_links(run, made, tmp_path, monkeypatch):
    inside, outside, _ = planted(made, tmp_path, "search")
    monkeypatch.chdir(inside)
    shutil.copytree("search", "outputs/search/good")
    shutil.copytree("search", "outputs/search/newer")
    os.remove("outputs/search/newer/result.json")
    os.symlink(inside / "search" / "result.json", "outputs/search/newer/result.json")
    code, out, _ = run("retrain", *TINY)
    assert code == 0 and "architecture outputs/search/good" in out


def test_an_unfinished_run_of_the_same_settings_that_holds_a_link_is_not_continued(run, tmp_path):
    assert run("search", *SEARCH)[0] == 0
    (first,) = (tmp_path / "outputs" / "search").iterdir()
    (first / "result.json").unlink()
    (first / "metrics.jsonl").unlink()
    (tmp_path / "precious").write_text("do not change")
    (first / "metrics.jsonl").symlink_to(tmp_path / "precious")
    code, out, err = run("search", *SEARCH)
    assert code == 2 and "metrics.jsonl: is a link" in err and err.count("\n") == 1
    assert (tmp_path / "precious").read_text() == "do not change"
