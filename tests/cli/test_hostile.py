"""Content made to mislead or to break: numbers without end, texts that steer a terminal, images made to fill memory."""

import json
import os
import re
import shutil

import datasets
import pytest
from helpers.commands import is_first_line
from helpers.run_folders import leave, search
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from oneshot.cli.screen import csv_cell

TINY = ["epochs=1", "space.cells=3", "space.channels=4", "space.nodes=2", "data.train_size=128", "data.batch_size=32"]
SWEEP = """
program: oneshot
method: grid
command: ["${env}", oneshot, search, "${args_no_hyphens}"]
parameters: {seed: {values: [0, 1]}}
"""
EXPLODING = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31mred\x08\x08"


def one_line(found, command, *texts):
    code, out, err = found
    assert code == 2 and is_first_line(command, out), found
    assert err.startswith("error: ") and err.count("\n") == 1 and all(text in err for text in texts), err
    assert err[:-1].isprintable()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (SWEEP + "name: ${oc.env:HOME}\n", "name: holds ${...}"),
        (SWEEP.replace("[0, 1]", "['${oc.env:HOME}']"), "parameters: holds ${...}"),
        (EXPLODING, "aliases are not read"),
        (SWEEP + f"run_cap: {'9' * 5000}\n", "a number of 5000 digits"),
        (SWEEP + "run_cap: 1:30\n", "run_cap='1:30': must be a whole number"),
        (SWEEP + '"\\ud800": 1\n', "half of a character"),
        (SWEEP + f'"{STEERING.encode("unicode_escape").decode()}": 1\n', "unknown key"),
        ("[" * 10_000, "nested too deeply"),
        ("\0", "is no YAML"),
        ("x" * 70_000, "at most 65536 are read"),
        ("- a\n", "must be a mapping"),
    ],
    ids=range(11),
)
def test_a_sweep_file_is_read_as_data(run, tmp_path, content, text):
    (tmp_path / "sweep.yaml").write_text(content)
    one_line(run("sweep", "sweep.yaml"), "sweep", "sweep.yaml", text)
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("name", ["pipe", "zero", "folder", "socket", "none"])
def test_a_sweep_file_that_is_none(run, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    one_line(run("sweep", name), "sweep", name)


HUGE = "9" * 5000
DAMAGE = {  # file of a run -> contents that a stranger could put there
    "result.json": [
        f'{{"status": "finished", "test_accuracy": {HUGE}}}',
        '{"status": "finished", "x": "\\ud800"}',
        "[",
    ],
    "config.yaml": [f"seed: {HUGE}", EXPLODING, f"seed: {':'.join(['59'] * 3000)}", '"\\ud800": 1', "\x00", "[" * 9000],
    "status.json": [f'{{"status": {HUGE}}}', "{" * 9000, '{"status": "running", "process": "' + "x" * 9000 + '"}'],
    "metrics.jsonl": [f'{{"step": {HUGE}, "valid_accuracy": 0.1}}\n', '{"step": 1e400, "entropy": 1e400}\n', "\xff"],
    "timings.jsonl": [f'{{"step": 1, "seconds": {HUGE}}}\n', '{"step": 1, "seconds": -1e308}\n'],
    "scores.json": [f"[[[{HUGE}]]]", "[[[1e999]]]", "[" * 9000],
    "architecture.json": ['{"decisions": {"\\u001b[2J": "[/b]"}}', "{", HUGE],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, every in DAMAGE.items() for n in range(len(every))])
def test_one_bad_folder_never_ends_a_report(run, tmp_path, name, number):
    search(tmp_path / "runs" / "good", seed=1)
    search(tmp_path / "runs" / "bad", seed=2)
    (tmp_path / "runs" / "bad" / name).write_text(DAMAGE[name][number])
    code, out, err = run("report", "runs", "out=page")
    assert (code, err) == (0, "") and "written to page" in out
    page = (tmp_path / "page" / "report.md").read_text()
    assert "NASBench201 on digits" in page and HUGE not in page


def test_sparse_files_without_end(run, tmp_path):
    search(tmp_path / "runs" / "good", seed=1)
    search(tmp_path / "runs" / "bad", seed=2)
    for name in ("timings.jsonl", "metrics.jsonl", "scores.json"):
        with open(tmp_path / "runs" / "bad" / name, "wb") as file:
            file.truncate(30 << 30)
    code, out, err = run("report", "runs", "out=page")
    assert (code, err) == (0, "") and "written to page" in out


def test_texts_of_files_do_not_steer_a_terminal_or_a_page(run, tmp_path):
    script = "<script>alert(1)</script>"
    search(tmp_path / "runs" / "good", seed=1)
    leave(tmp_path / "runs" / "bad", {"drop_path": 0.1, "architecture": STEERING}, reason=f"{STEERING} {script} [/b]")
    leave(tmp_path / "runs" / f"{script[:8]}{STEERING[:5]}", {"drop_path": 0.1}, reason="[red]")
    code, out, err = run("report", "runs", "out=page", f"title={script}")
    assert (code, err) == (0, "") and all(line.isprintable() for line in out.splitlines())
    for name in ("report.html", "report.md"):
        text = (tmp_path / "page" / name).read_text()
        assert "<script>" not in text and not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


def test_names_of_settings_and_files_on_the_command_line_do_not_steer_a_terminal(run):
    for words in (["run=x\x1b[2J"], [f"out={STEERING}", "run=nowhere"], ["\x1b[2J=1"], [f"--{STEERING}"]):
        code, _, err = run("evaluate", *words)
        assert code == 2 and err.count("\n") == 1 and err[:-1].isprintable()


def folder_of_images(path, names, size=(8, 8)):
    for part in ("train", "test"):
        for number, name in enumerate(names):
            (path / part / name).mkdir(parents=True)
            for n in range(8):
                Image.new("RGB", size, (number * 60, n * 20, 0)).save(path / part / name / f"{n}.png")


NAMES = ["[/b]", "=1+1", "[bold red]x"]


def test_class_names_with_markup_and_formulas(run, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = [{"image": Image.new("RGB", (8, 8), (n * 9, 0, 0)), "label": n % len(NAMES)} for n in range(24)]
    for part in ("train", "test"):
        datasets.Dataset.from_list(rows, features).to_parquet(str(tmp_path / "images" / f"{part}.parquet"))
    capsys.readouterr()  # a progress bar
    data = ["data=images", "data.source=images", "data.batch_size=8", "data.image_size=8", "data.train_size=0"]
    small = ["epochs=1", "space.cells=3", "space.channels=4"]
    code, _, err = run("retrain", *data, *small, "architecture=random", "out=net")
    assert (code, err) == (0, "")
    code, out, err = run("evaluate", "run=net", "repeats=5", "batches=[1]", "out=eval")
    assert (code, err) == (0, "") and all(name in out for name in NAMES)
    assert "\n'=1+1," in (tmp_path / "eval" / "confusion.csv").read_text()


def test_cells_of_a_spreadsheet():
    assert [csv_cell(text) for text in ("cat", "=1", "+1", "-1", "@x", "\tx")] == [
        "cat",
        "'=1",
        "'+1",
        "'-1",
        "'@x",
        "'\tx",
    ]


@pytest.mark.parametrize("kind", ["large", "eps", "text"])
def test_images_made_to_fill_the_memory_or_to_reach_odd_decoders(run, tmp_path, kind):
    folder_of_images(tmp_path / "images", ["a", "b"])
    bad = tmp_path / "images" / "train" / "a" / "0.png"
    if kind == "large":
        Image.new("1", (20_000, 20_000)).save(bad)
    elif kind == "eps":
        Image.new("RGB", (8, 8)).save(bad, "EPS")
    else:
        bad.write_bytes(b"no image at all")
    data = ["data=images", "data.source=images", "data.batch_size=8", "data.image_size=8", "data.train_size=0"]
    found = run("retrain", *data, "epochs=1", "architecture=random", "out=net")
    one_line(found, "retrain", "image", "more than" if kind == "large" else "cannot be decoded")
    assert not (tmp_path / "net").exists()


@pytest.mark.parametrize("name", [".lock", "config.yaml", "status.json", "result.json", "queries.jsonl", "extra"])
def test_a_named_pipe_in_a_runs_folder(run, tmp_path, name):
    out = tmp_path / "net"
    out.mkdir()
    (out / "config.yaml").write_text("a: 1\n")
    (out / name).unlink(missing_ok=True)
    os.mkfifo(out / name)
    for command, words in (("retrain", ["architecture=random", "out=net"]), ("evaluate", ["run=net"])):
        one_line(run(command, *words), command, f"net/{name}: is a named pipe")


# every command that reads a run's folder, with the files that it reads
READS = {
    "config.yaml": ["evaluate run=bad", "baseline supernet=bad", "search out=bad", "report bad"],
    "result.json": ["evaluate run=bad", "baseline supernet=bad", "report bad"],
    "status.json": ["report bad"],
    "architecture.json": ["retrain architecture=bad", "report bad"],
    "metrics.jsonl": ["report bad"],
    "timings.jsonl": ["report bad"],
    "scores.json": ["report bad"],
    "network.safetensors": ["evaluate run=bad"],
    "supernet.safetensors": ["baseline supernet=bad"],
    "sweep.yaml": ["sweep bad/sweep.yaml"],
    "table.csv": ["baseline space=nasbench201 estimator=tabular estimator.table=bad/table.csv"],
    "latency.json": ["search cost=latency cost.table=bad/latency.json"],
}
ENDINGS = (  # what a file of the kind could begin with
    st.binary(max_size=300)
    | st.text(max_size=120).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder that has all files, so that each command gets as far as the one that is changed."""
    folder = tmp_path_factory.mktemp("whole")
    search(folder / "bad", seed=1)
    for name in READS:
        (folder / "bad" / name).touch()
    return folder


@pytest.mark.parametrize(("name", "words"), [(n, w) for n, every in READS.items() for w in every])
def test_any_bytes_in_any_file(run, whole, tmp_path, monkeypatch, capsys, name, words):
    """Only errors of ours come out: one line, exit code 2; a report names the folder or goes on."""
    command, *rest = words.split()

    @settings(max_examples=5, deadline=10_000, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(ENDINGS, st.integers(0, 10**9))
    def check(content, at):
        here = tmp_path / "here"
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(whole, here)
        monkeypatch.chdir(here)
        own = (here / "bad" / name).read_bytes()
        place = at % (len(own) + 1)
        (here / "bad" / name).write_bytes(content if at % 2 else own[:place] + content + own[place:])
        code, _, err = run(command, *rest, *(["out=page"] if command == "report" else []))
        assert code in (0, 2) and err.count("\n") == (code == 2), (code, err)
        assert "Traceback" not in err and (code == 0 or err.startswith("error: "))

    check()
