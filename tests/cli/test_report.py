"""`oneshot report` as a user types it, over runs that the other commands made."""

import json
import shutil
import statistics
from html.parser import HTMLParser
from itertools import product

import pytest
import yaml
from helpers.commands import is_first_line, run_all
from helpers.run_folders import leave, search
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from oneshot.cli.arguments import quoted
from oneshot.spaces import NASBench201

TINY = ["epochs=1", "space.cells=3", "space.channels=4", "space.nodes=2", "data.train_size=128", "data.batch_size=32"]
T2 = 12.706204736432095  # the 97.5 % quantile of Student's t with one degree of freedom, from a table


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two seeds searched and trained, a random cell, a baseline over the first supernet, one over a table."""
    folder = tmp_path_factory.mktemp("made")
    table = ["index,arch,cifar10-val,cifar10-test"]
    table += [f"{n},{name},{50 + n % 40}.5,{40 + n % 50}.25" for n, name in enumerate(every_cell())]
    (folder / "table.csv").write_text("\n".join(table) + "\n")
    one_shot = ["supernet=S/0", "budget.queries=4", "cost=parameters", "out=B/0"]
    tabular = ["space=nasbench201", "estimator=tabular", "estimator.table=table.csv", "budget.queries=5", "out=B/1"]
    jobs = [
        *(("search", [*TINY, f"seed={seed}", f"out=S/{seed}"]) for seed in (0, 1)),
        *(("retrain", [*TINY, f"seed={seed}", f"architecture=S/{seed}", f"out=T/{seed}"]) for seed in (0, 1)),
        ("retrain", [*TINY, "architecture=random", "out=T/random"]),
        ("evaluate", ["run=T/0", "batches=[1,2]", "repeats=2", "export=[torch]", "out=E"]),
        ("baseline", one_shot),
        ("baseline", tabular),
    ]
    run_all(folder, jobs)
    return folder


def every_cell():
    """The notation of each architecture of a table."""
    space = NASBench201((1, 8, 8), 10)
    return [space.notation(space.architecture(decisions)) for decisions in product(range(5), repeat=6)]


def results(folder):
    return json.loads((folder / "result.json").read_text())


def table_rows(text, heading):
    """the first Markdown table under this heading: label -> column -> cell."""
    lines = text.split(f"\n## {heading}\n\n")[1].split("\n\n")[0].split("\n")
    names, _, *rows = [line.strip("| ").replace("\N{NO-BREAK SPACE}", " ").split(" | ") for line in lines]
    return {row[0]: dict(zip(names, row, strict=False)) for row in rows}


@pytest.fixture(scope="module")
def page(made, tmp_path_factory):
    """The report of all of them."""
    folder = tmp_path_factory.mktemp("page")
    run_all(folder, [("report", [str(made), "out=page", "title=A <b> & |"])])
    return folder / "page"


def test_the_table_says_what_the_runs_measured(made, page):
    text = (page / "report.md").read_text()
    rows = table_rows(text, "DARTSCells on digits")
    assert set(rows) == {"darts", "random", "evolution"}
    searched, trained = ([results(made / kind / seed) for seed in "01"] for kind in "ST")
    for column, key, runs in (
        ("validation, %", "found_valid_accuracy", searched),
        ("test, %", "test_accuracy", trained),
    ):
        percent = [100 * one[key] for one in runs]
        expected = f"{statistics.mean(percent):.2f} ± {T2 * statistics.stdev(percent) / 2**0.5:.2f}"
        assert rows["darts"][column] == expected
    for column, key in (("parameters", "parameters"), ("multiply-accumulates", "multiply_accumulates")):
        assert rows["darts"][column] == f"{statistics.mean(one[key] for one in trained):,.0f}"
    assert rows["darts"]["search, s"] == f"{statistics.mean(one['seconds'] for one in searched):,.1f}"
    assert rows["darts"]["training, s"] == f"{statistics.mean(one['seconds'] for one in trained):,.1f}"
    peaks = [max(a["peak_memory_bytes"], b["peak_memory_bytes"]) for a, b in zip(searched, trained, strict=True)]
    assert rows["darts"]["peak memory, MiB"] == f"{statistics.mean(peaks) / 2**20:,.0f}"
    assert rows["random"]["test, %"] == f"{100 * results(made / 'T' / 'random')['test_accuracy']:.2f}"
    asked = results(made / "B" / "0")
    assert rows["evolution"]["validation, %"] == f"{100 * asked['best_accuracy']:.2f}"
    assert rows["evolution"]["updates or queries"] == "4" and rows["evolution"]["test, %"] == ""
    seconds = asked["search_seconds"] + asked["supernet_seconds"]
    assert rows["evolution"]["search, s"] == f"{seconds:,.1f}"

    (heading,) = [line[3:] for line in text.split("\n") if line.startswith("## NASBench201 on table ")]
    found = results(made / "B" / "1")
    row = table_rows(text, heading)["evolution"]
    assert row["test, %"] == f"{100 * found['test_accuracy']:.2f}"
    assert row["validation, %"] == f"{100 * found['validation_accuracy']:.2f}"


def test_evaluations_have_a_table_of_their_own(made, page):
    found = results(made / "E")
    lines = (page / "report.md").read_text().split("\n## Evaluations\n\n")[1].split("\n\n")[1].split("\n")
    cells = [cell.strip().replace("\\", "") for cell in lines[2].strip("|").split("|")]
    times = [f"{n}: {found['latency']['images'][n]['median_ms']:.3f}" for n in "12"]
    expected = [str(made / "E"), "T/0", found["device"], "32-true", f"{100 * found['test_accuracy']:.2f} %"]
    assert cells == [*expected, ", ".join(times), "torch"] and lines[3:] == [""]


@pytest.mark.parametrize("strange", [{"latency": {"images": [1]}, "export": ["onnx"]}, {"latency": 7, "run": ["<b>"]}])
def test_evaluations_of_strangers_have_empty_cells(run, made, tmp_path, strange):
    shutil.copytree(made / "E", tmp_path / "E")
    (tmp_path / "E" / "result.json").write_text(json.dumps(results(made / "E") | strange))
    assert run("report", "E", "out=page")[0] == 0
    (row,) = [line for line in (tmp_path / "page" / "report.md").read_text().split("\n") if line.startswith("| E |")]
    assert row.split(" | ")[5].strip() == "" and "<b>" not in row


class Pictures(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.titles = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "img":
            self.sources.append(dict(attributes)["src"])
            assert dict(attributes)["alt"]

    def handle_data(self, data):
        self.titles.append(data)


def test_both_pages_hold_the_same_pictures(page):
    pictures = sorted((page / "pictures").iterdir())
    shown, text = (page / "report.html").read_text(), (page / "report.md").read_text()
    html = Pictures(shown)
    assert len(pictures) == len(html.sources) > 10 and "A <b> & |" in html.titles
    assert all(source.startswith("data:image/svg+xml;base64,") for source in html.sources)
    assert all(text.count(f"](pictures/{path.name})") == 1 for path in pictures)
    for title in (
        "Found architectures",
        "Architecture probabilities",
        "Time and memory",
        "Accuracy against cost",
        "over time",
    ):
        assert title in shown and title in text


def test_the_same_runs_the_same_bytes_and_nothing_is_written_elsewhere(run, made, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    for name in ("a", "b"):
        code, out, err = run("report", str(made / "S"), str(made / "S" / "0"), f"out={name}")
        assert (code, err) == (0, "") and out.splitlines()[1:] == [
            f"written to {name}: report.html, report.md, pictures"
        ]
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_damaged_run_is_listed_and_stops_no_other(run, made, tmp_path):
    shutil.copytree(made, tmp_path / "runs")
    (tmp_path / "runs" / "S" / "1" / "result.json").write_text("{")
    (tmp_path / "runs" / "T" / "random" / "config.yaml").unlink()
    for name in ("metrics.jsonl", "timings.jsonl", "scores.json"):
        (tmp_path / "runs" / "S" / "0" / name).write_bytes(b"\x80\x04\x95" + bytes(range(256)))
    leave(tmp_path / "runs" / "other", {"drop_path": 0.1, "architecture": "random"}, reason="| <i>")
    code, out, err = run("report", "runs", "out=page")
    assert (code, err) == (0, "")
    assert "runs/S/1: damaged, says that it has finished, but holds no result" in out
    assert "runs/T/random: damaged, runs/T/random/config.yaml: cannot be read" in out
    assert "runs/other: failed, ValueError: | <i>" in out
    text = (tmp_path / "page" / "report.md").read_text()
    assert "| runs/other | failed | ValueError: \\| &lt;i&gt; |" in text
    rows = table_rows(text, "DARTSCells on digits")
    assert (
        "\n- Damaged, and shown as far as it can be read: metrics.jsonl, timings.jsonl, scores.json of runs/S/0."
        in text
    )
    assert rows["darts"]["seeds"] == "1 (1 damaged)" and rows["darts"]["updates or queries"] == ""
    assert "<i>" not in (tmp_path / "page" / "report.html").read_text()


def test_settings_of_strangers_stay_texts(run, made, tmp_path):
    for n, text in enumerate(("<script>alert(1)</script>", "a | b", '"><img src=x onerror=y>')):
        path = tmp_path / "runs" / str(n)
        shutil.copytree(made / "S" / "0", path)
        config = yaml.safe_load((path / "config.yaml").read_text())
        config["note"], config["architect"]["_target_"] = text, f"x.{text}"
        (path / "config.yaml").write_text(yaml.safe_dump(config))
    assert run("report", "runs", "out=page")[0] == 0
    page, text = ((tmp_path / "page" / f"report.{kind}").read_text() for kind in ("html", "md"))
    assert "<script" not in page + text and "<img src=x" not in page + text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "a \\| b" in text


def test_groups_by_a_setting(run, made, tmp_path):
    assert run("report", str(made / "S"), "group_by=seed", "metric=validation", "out=page")[0] == 0
    assert set(table_rows((tmp_path / "page" / "report.md").read_text(), "DARTSCells on digits")) == {
        "darts seed=0",
        "darts seed=1",
    }


def test_a_comparison_is_its_runs(run, tmp_path):
    """`oneshot compare` leaves a run of its own above those that it started."""
    settings = {"architects": ["random"], "retrain_settings": []}
    leave(tmp_path / "all", settings, {"jobs": 1})
    code, _, err = run("report", "all", "out=page")
    assert code == 2 and err == "error: none of 1 runs has finished with something to show\n"
    leave(tmp_path / "all" / "random" / "0", {"drop_path": 0.1, "architecture": "random"}, {"test_accuracy": 0.5})
    code, out, err = run("report", "all", "out=page")
    assert (code, err) == (0, "") and out.splitlines()[1:] == ["written to page: report.html, report.md, pictures"]
    text = (tmp_path / "page" / "report.md").read_text()
    assert table_rows(text, "NASBench201 on digits")["random"]["test, %"] == "50.00" and "Not in the tables" not in text


def test_a_page_in_an_empty_folder_that_a_link_names(run, tmp_path):
    search(tmp_path / "done")
    (tmp_path / "disk").mkdir()
    (tmp_path / "page").symlink_to("disk")
    code, _, err = run("report", "done", "out=page")
    assert (code, err) == (0, "") and (tmp_path / "disk" / "report.html").is_file()


BAD = [
    ([], "no runs: oneshot report RUN"),
    (["nowhere"], "nowhere: there is no such folder"),
    (["empty"], "empty: holds no run"),
    (["failed"], "none of 1 runs has finished with something to show; failed: failed, ValueError: why"),
    (["done", "out=done"], "out=done: exists; name a new folder"),
    (["done", "out=dangling"], "out=dangling: exists; name a new folder"),
    (["done", "out=dangling/page"], "dangling is no folder"),
    (["done", "group_by=architct"], "group_by=architct: no run has this setting; did you mean 'architect'?"),
    (["done", "metric=accuracy"], "unknown metric 'accuracy'"),
    (["done", "against=flops"], "unknown against 'flops'"),
    (["done", "gruop_by=seed"], "unknown setting 'gruop_by'; did you mean 'group_by'?"),
    (["done", "title=null"], "title=None: must be a text"),
    (["runs=done"], "runs='done': must be a list, as runs=[...]"),
    (["--help", "nope"], "unknown topic of --help 'nope'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_clear_line(run, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    leave(tmp_path / "failed", {"drop_path": 0.1}, reason="why")
    leave(tmp_path / "done", {"drop_path": 0.1, "architecture": "random"}, {"test_accuracy": 0.5})
    before = set(tmp_path.rglob("*"))
    code, out, err = run("report", *arguments)
    assert code == 2 and is_first_line("report", out)
    assert err.startswith("error: ") and len(err.splitlines()) == 1 and message in err
    assert set(tmp_path.rglob("*")) == before


NAMES = ["a=b", "title=x y, z", "it's", "[a]", "${oc.env:HOME}", "a\\", "a\\'b", 'q"q', "~a", "null", "1e3", "ü 木"]


@pytest.mark.parametrize("name", NAMES)
def test_folders_of_any_name(run, tmp_path, name):
    leave(tmp_path / "x" / name, {"drop_path": 0.1, "architecture": "random"}, {"test_accuracy": 0.5})
    code, out, err = run("report", f"x/{name}", "out=page")
    assert (code, err) == (0, "")
    code, _, err = run("report", f"./x/{name}/", "x/*", "out=more")
    assert (code, err) == (0, "")


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a machine that others use too
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1), min_size=1))
@example(["\\${", "${", "\\\\${a}'", "'", "\\", "\\'"])
def test_any_path_reaches_the_script_as_it_is(paths):
    """Through the two grammars that a value goes through: Hydra's, then OmegaConf's."""
    override = OverridesParser.create().parse_override(f"runs=[{','.join(map(quoted, paths))}]")
    assert list(OmegaConf.create({"runs": override.value()}).runs) == paths


def test_help_names_the_runs(run):
    code, out, _ = run("report", "--help")
    assert code == 0 and "usage  oneshot report RUN [RUN ...]" in out and "group_by=" in out
