"""`oneshot compare` as a user types it: what it leaves, what it does not do twice, what it refuses."""

import json
import random
import shutil
import subprocess
import sys

import pytest
from helpers.commands import is_first_line

from oneshot.cli import job as running
from oneshot.cli.comparison import methods
from oneshot.cli.comparison.jobs import shared
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, NASBench201

SIZES = ["epochs=2", "space.channels=4", "space.nodes=2", "data.train_size=128", "logger=none", "data.batch_size=16"]
METHODS = "methods=[uniform,random_search,random,largest]"
TINY = [METHODS, "seeds=[3]", *SIZES, "budget=updates:7", "queries=4", "retrain_settings=['epochs=1']", "out=compared"]
SEARCHES = ["uniform/3/search", "supernet/3/search", "random_search/3/search"]
TRAININGS = [f"{name}/3/retrain-published" for name in ("uniform", "random_search", "random", "largest")]
TABLE = ["space=nasbench201", "truth=table", "estimator=tabular"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with one comparison, made by a process of its own; a second one draws, when all jobs have ended."""
    folder = tmp_path_factory.mktemp("compare")
    command = [sys.executable, "-m", "oneshot", "compare", *TINY, "search_settings=['selection.samples=2']"]
    done, drawn = (
        subprocess.run([*command, f"pictures={width}"], cwd=folder, capture_output=True, text=True)
        for width in ("none", "screen")
    )
    assert (done.returncode, done.stderr) == (drawn.returncode, drawn.stderr) == (0, "")
    (folder / "screen").write_text(done.stdout)
    return folder


def result(folder, job):
    return json.loads((folder / "compared" / job / "result.json").read_text())


def test_what_it_leaves(finished):
    rows = json.loads((finished / "compared" / "results.json").read_text())
    assert [(row["method"], row["seed"]) for row in rows] == [(job.split("/")[0], 3) for job in TRAININGS]
    for row, job in zip(rows, TRAININGS, strict=True):
        trained = result(finished, job)
        assert row["test"] == {"published": trained["test_accuracy"]} and row["parameters"] == trained["parameters"]
        assert row["architecture"] == trained["architecture"]
    searches = {job: result(finished, job) for job in SEARCHES}
    assert rows[0]["architecture"] == searches[SEARCHES[0]]["architecture"]
    assert rows[0]["seconds"] == searches[SEARCHES[0]]["process_seconds"]  # as the searches have one thread
    assert rows[1]["seconds"] == searches[SEARCHES[2]]["search_seconds"] + searches[SEARCHES[1]]["seconds"]
    assert rows[1]["queries"] == 4 and "seconds" not in rows[2]
    space = DARTSCells(digits().image_shape, 10, 3, 4, 2)
    assert rows[2]["notation"] == space.notation(space.sample(random.Random(3)))
    assert rows[3]["notation"] == space.notation(space.largest())
    lengths = json.loads((finished / "compared" / "lengths.json").read_text())
    assert lengths == {"uniform": 3, "supernet": 3}  # 2 epochs of 3 batches are at most 7 updates
    for kind in ("pdf", "png", "svg"):
        assert (finished / "compared" / f"comparison.{kind}").stat().st_size > 1000


def test_the_screen(finished):
    text = (finished / "screen").read_text()
    lines = text.splitlines()
    assert lines[0].startswith("compare: ") and "methods uniform random_search random largest" in lines[0]
    assert "[1 of 7] search of " in text and "[7 of 7] retrain-published of " in text
    assert "- uniform: too few seeds to compare with random; too few seeds to compare with largest" in lines
    assert "Budget of each search: 7 updates. Seeds: 1." in lines
    assert (finished / "compared" / "table.md").read_text() in text


@pytest.mark.parametrize("left", ["everything", "no result"])
def test_finished_jobs_are_not_repeated_and_cut_off_ones_are(run, finished, tmp_path, left):
    shutil.copytree(finished / "compared", tmp_path / "compared")
    folder, again = tmp_path / "compared", TRAININGS[2]
    table = (folder / "table.md").read_bytes()
    before = {job: (folder / job / "result.json").stat().st_mtime_ns for job in (*SEARCHES, *TRAININGS)}
    (folder / "table.md").unlink()
    if left != "everything":
        (folder / again / "result.json").unlink()
    code, out, err = run("compare", *TINY, "search_settings=['selection.samples=2']")
    assert (code, err) == (0, "") and ("[7 of 7] retrain-published of random, seed 3: " in out) == (
        left != "everything"
    )
    changed = {job for job, time in before.items() if (folder / job / "result.json").stat().st_mtime_ns != time}
    assert changed == (set() if left == "everything" else {again})
    assert (folder / "table.md").read_bytes() == table  # the same seed, the same accuracy


def test_a_folder_holds_one_comparison(run, finished, tmp_path):
    shutil.copytree(finished / "compared", tmp_path / "compared")
    code, out, err = run("compare", *TINY, "search_settings=['selection.samples=2']", "space.channels=8")
    assert (code, len(err.splitlines())) == (2, 1) and is_first_line("compare", out)
    assert err.startswith("error: out=compared: was started with ") and "space.channels=4" in err


def test_a_folder_of_another_command_is_said_to_be_one(run, finished, tmp_path):
    shutil.copytree(finished / "compared" / SEARCHES[0], tmp_path / "searched")
    code, _, err = run("compare", METHODS, "out=searched")
    assert (code, err) == (2, "error: out=searched: holds a run of another command or version; name a new folder\n")


def test_strategies_on_a_table(run, tmp_path):
    """The regret and the ranks by hand, and a search that is repeated after its file was lost."""
    words = [
        *TABLE,
        "out=compared",
        "methods=[random_search,nsga2,largest]",
        "seeds=3",
        "budget=queries:20",
        "regret_at=[10,20]",
    ]
    code, out, err = run("compare", *words)
    assert (code, err) == (0, "")
    rows = json.loads((tmp_path / "compared" / "results.json").read_text())
    assert [(r["method"], r["seed"]) for r in rows] == [
        (m, s) for m in ("random_search", "nsga2", "largest") for s in range(3)
    ]
    file = tmp_path / "compared" / "random_search" / "1.json"
    kept = json.loads(file.read_text())
    log = [json.loads(line) for line in file.with_suffix(".jsonl").read_text().splitlines()]
    scores = [100 * row["scores"]["accuracy"] for row in log]
    best = max(score for score in scores)
    assert kept["regret"][-1] == pytest.approx(kept["regret"][0] + scores[0] - best)
    assert rows[1]["validation_accuracy"] == pytest.approx(best / 100)
    text = (tmp_path / "compared" / "table.md").read_text()
    assert text in out and "| strategy | 10 queries | 20 queries |" in text and "of all" not in text
    file.unlink()
    assert run("compare", *words)[0] == 0 and (tmp_path / "compared" / "table.md").read_text() == text
    assert json.loads(file.read_text())["decisions"] == kept["decisions"]


def test_the_table_that_judges_may_be_a_file(run, tmp_path):
    space = NASBench201((1, 8, 8), 10)
    rng = random.Random(0)
    names = [space.notation(a) for a in every(space)]
    lines = [f"{name},{rng.uniform(50, 60):.3f},{rng.uniform(50, 60):.3f}" for name in names]
    (tmp_path / "own.csv").write_text("\n".join(["arch,own-val,own-test", *lines]) + "\n")
    given = ["reference.table=own.csv", "reference.dataset=own", "estimator.table=own.csv", "estimator.dataset=own"]
    code, out, err = run(
        "compare", *TABLE[:1], *TABLE[2:], "out=compared", "methods=[evolution]", "seeds=1", "queries=5", *given
    )
    assert (code, err) == (0, "") and "table (15,625 architectures, own, own.csv); a random" in out


def every(space):
    from oneshot.estimators.tabular import _every

    return _every(space)


BAD = [
    (
        ["methods=drts"],
        "methods=drts: must be a list, as methods=[darts,evolution,random], or all, architects, strategies",
    ),
    (["methods=[drts]"], "unknown method 'drts'; did you mean 'darts'?"),
    (["methods=[random,random]"], "methods="),
    (["methods=[]"], "methods="),
    (["methods=darts"], "methods=darts: must be a list"),
    (["seeds=[1,0,1]"], "seeds="),
    (["seeds=[]"], "seeds="),
    (["seeds=0"], "seeds=0"),
    (["seeds=[-1]"], "seeds=-1"),
    (["seed=1"], "seeds=[0,1,2] names seeds"),
    (["architect=darts"], "methods=[darts,snas] names architects"),
    (["budget=7"], "budget=7: must be seconds:N"),
    (["methods=[darts]", "budget=queries:9"], "darts: an architect asks no queries"),
    (["truth=oracle"], "unknown truth 'oracle'"),
    (["recipes=[modrn]"], "unknown recipe 'modrn'; did you mean 'modern'?"),
    (["search_settings=7"], "search_settings=7: must be a list"),
    (["search_settings=[7]"], "search_settings: 7 is no setting"),
    (["methods=[random]", "truth=table"], "at least one must search"),
    (["epohcs=1"], "unknown setting 'epohcs'; did you mean 'epochs'?"),
    ([*TABLE, "methods=[evolution]", "budget=seconds:9"], "answers at once"),
    (["truth=table"], "the package has no table of the space 'darts'"),
    (
        ["truth=table", "space=nasbench201", "estimator@reference=one_shot"],
        "must be a table, estimator@reference=tabular",
    ),
    (["methods=[evolution]", "supernet=nowhere"], "supernet=nowhere: must be the folder of a finished search"),
    (["search_settings=[epochs=9]"], "settings inside: \"search_settings=['epochs=2','threads=1']\""),
    (["retrain_settings=['seed=9']"], "retrain_settings: seed=9: the comparison sets seed itself"),
    (["strategy_settings=['out=x']"], "strategy_settings: out=x: the comparison sets out itself"),
    ([*TABLE, "methods=[tpe]", "queries=7", "budget=queries:9"], "queries=7: has no effect with budget=queries:9"),
    ([*TABLE, "methods=[tpe]", "recipes=[modern]"], "has no effect with truth=table"),
    ([*TABLE, "methods=[tpe]", "reference.epochs=50"], "reference.epochs=50: the package's table has 12 and 200"),
    (["methods=[uniform,random]", "retrain_settings=['epohcs=1']"], "'epohcs'; did you mean 'epochs'?"),
    (["methods=[uniform,random]", "retrain_settings=['epochs=no']"], "epochs='no': must be a whole number"),
    (["methods=[uniform,darts]", "search_settings=['architect.order=2']"], "architect=uniform"),
    (["methods=[random_search]", "supernet_settings=['architect=drts']"], "did you mean 'darts'?"),
    (
        [*TABLE, "methods=[evolution]", "strategy_settings=['strategy.populaton=9']"],
        "did you mean 'strategy.population'?",
    ),
    (["methods=[darts]", "budget=updates:3"], "darts has 12 updates with one batch in each epoch"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_clear_line(run, arguments, message, tmp_path):
    named = any(word.startswith("methods=") for word in arguments)
    code, _, err = run("compare", *arguments, *(() if named else ("methods=[uniform]",)), "out=compared")
    assert code == 2 and message in err, err
    assert err.startswith("error: ") and len(err.splitlines()) == 1
    assert not (tmp_path / "compared").exists()  # so that the corrected command may use the name


def test_a_job_that_refuses_its_settings_ends_the_comparison(run):
    """What no list of settings shows: only the object that takes the value knows its range."""
    code, _, err = run("compare", "methods=[random]", "retrain_settings=['data.batch_size=0']", "out=compared")
    assert code == 2 and "data.batch_size=0" in err and len(err.splitlines()) == 1


def test_settings_reach_the_jobs_that_know_them(monkeypatch):
    given = (
        "experiment=mnist1d methods=[a] seeds=3 budget=seconds:3 threads=1 executor=ray estimator=few_shot jobs=2 out=x"
    )
    given += " estimator.splits=2 reference.epochs=200 estimator@reference=tabular space.cells=3 space=darts epochs=3"
    given += (
        " data.train_size=3 data.image_size=8 supernet=x queries=3 logger=none pictures=none retrain_settings=[a=1]"
    )
    monkeypatch.setattr(running, "overrides", given.split)
    both = ["experiment=mnist1d", "threads=1", "space=darts", "data.image_size=8", "logger=none", "pictures=none"]
    search = [*both, "space.cells=3", "epochs=3", "data.train_size=3"]
    assert sorted(shared("retrain")) == sorted(both) and sorted(shared("search")) == sorted(search)
    assert sorted(shared("baseline")) == sorted([*search, "estimator=few_shot", "estimator.splits=2", "supernet=x"])


@pytest.mark.parametrize(("group", "name"), [("architect", "random"), ("strategy", "supernet"), ("strategy", "darts")])
def test_a_file_with_a_name_that_has_another_meaning_is_refused(tmp_path, group, name):
    (tmp_path / group).mkdir()
    (tmp_path / group / f"{name}.yaml").write_text("architect: {}\n")
    with pytest.raises(InputError, match=f"{name}.yaml"):
        methods.chosen(["darts"], (tmp_path,))


def test_controls_hold_a_limit(run, tmp_path):
    limit = ["cost=parameters", "cost.limit=60k", "space=mbconv"]
    sizes = [
        "epochs=1",
        "data.train_size=128",
        "logger=none",
        "queries=3",
        "retrain_settings=['epochs=1']",
        "seeds=[3]",
    ]
    code, _, err = run("compare", "methods=[random,largest]", *limit, *sizes, "out=compared")
    assert (code, err) == (0, "")
    rows = json.loads((tmp_path / "compared" / "results.json").read_text())
    assert len(rows) == 2 and all(row["parameters"] <= 60_000 for row in rows)
    assert rows[0]["parameters"] < rows[1]["parameters"]
    found = json.loads((tmp_path / "compared" / "controls" / "random-3.json").read_text())
    assert found["decisions"] == rows[0]["architecture"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cost.limit=60k"], "cost.limit: needs the cost that it is of, as cost=parameters"),
        (["search_settings=['cost.limit=60k']"], "search_settings: cost.limit and final are for all methods"),
        ([*TABLE, "cost=parameters", "cost.limit=600k"], "cost.limit: a table ranks an architecture among all"),
        (["cost=parameters", "cost.limit=1"], "cost.limit=1: the smallest network of this space has"),
    ],
)
def test_refused_limits(run, tmp_path, words, message):
    code, out, err = run("compare", "methods=[darts,random]", "seeds=1", "logger=none", *words, "out=compared")
    assert code == 2 and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not (tmp_path / "compared").exists()
