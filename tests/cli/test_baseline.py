"""Baselines as a user types them: over a supernet, a table and trainings; cut, continued, and given bad input."""

import csv
import itertools
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.commands import run_all

from oneshot.architecture import Query
from oneshot.cost import network_cost
from oneshot.estimators import Tabular
from oneshot.runs.folder import FINISHED
from oneshot.spaces import NASBench201

SMALL = ["epochs=1", "space.cells=1", "space.channels=4", "data.train_size=256", "data.batch_size=32"]
NB201 = ["space=nasbench201", *SMALL]
LEFT = {
    *(f"{picture}.{kind}" for picture in ("anytime", "cells") for kind in ("pdf", "png", "svg")),
    "architecture.json", "config.yaml", "metrics.jsonl", "queries.jsonl", "queries.timings.jsonl",
    "result.json", "timings.jsonl", "status.json", ".lock",
}  # fmt: skip


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def result(path):
    return json.loads((path / "result.json").read_text())


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Every cell's accuracy is a function of its number; on data set `flat` all are equal."""
    space, path = NASBench201((3, 32, 32), 10), tmp_path_factory.mktemp("table") / "table.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", "own-val", "own-test", "flat-val", "flat-test"])
        for decisions in itertools.product(range(5), repeat=6):
            value = 10 + sum(k * w for k, w in zip(decisions, (3, 5, 2, 4, 1, 6), strict=True)) / 2
            writer.writerow([space.notation(space.architecture(decisions)), value, value / 2, 50, 50])
    return path


def tabular(table):
    return ["space=nasbench201", "estimator=tabular", f"estimator.table={table}", "estimator.dataset=own"]


def test_over_a_supernet_of_its_own_then_retrain(pictures, run, tmp_path):
    code, out, err = run("baseline", *NB201, "budget.queries=6", "strategy.population=3", "out=found")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "found").iterdir()} == {*LEFT, "supernet"}
    found = result(tmp_path / "found")
    assert found["status"] == FINISHED and found["queries"] == 6 and found["failed_queries"] == 0
    log = rows(tmp_path / "found" / "queries.jsonl")
    assert found["best_accuracy"] == max(row["scores"]["accuracy"] for row in log)
    assert found["supernet_seconds"] == result(tmp_path / "found" / "supernet")["seconds"] > 0
    assert [row["step"] for row in rows(tmp_path / "found" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    settings = [
        "space=nasbench201",
        "supernet=found/supernet",
        "budget.queries=6",
        "strategy.population=3",
        "out=again",
    ]
    assert run("baseline", *settings)[0] == 0
    again = rows(tmp_path / "again" / "queries.jsonl")
    assert [row["scores"] for row in again] == [row["scores"] for row in log]
    assert "training a supernet" in out and "query 6  best accuracy" in out and "next: oneshot retrain " in out
    code, out, err = run("retrain", *NB201, "architecture=found", "out=trained")
    assert (code, err) == (0, "") and result(tmp_path / "trained")["architecture"] == found["architecture"]


@pytest.fixture(scope="module")
def supernet(tmp_path_factory):
    """A run of `oneshot search`."""
    folder = tmp_path_factory.mktemp("supernet")
    run_all(folder, [("search", ["architect=uniform", *NB201, "selection.samples=1", "out=run"])])
    return folder / "run"


def test_over_the_supernet_of_a_run_in_its_sizes(run, supernet, tmp_path):
    settings = ["space=nasbench201", f"supernet={supernet}", "budget.queries=3", "strategy=random_search"]
    code, out, err = run("baseline", *settings, "out=a")
    assert (code, err) == (0, "") and "training a supernet" not in out
    assert "channels: 4" in (tmp_path / "a" / "config.yaml").read_text()
    code, _, err = run("baseline", *settings, "space.channels=8", "out=b")
    assert code == 2 and "space.channels=8: the supernet of" in err and "was trained with 4" in err
    code, _, err = run("baseline", *settings[1:], "out=b")
    assert code == 2 and "space._target_=oneshot.spaces.DARTSCells" in err
    code, _, err = run("baseline", *settings, "data.train_size=512", "out=b")
    assert code == 2 and "data.train_size=512" in err  # its validation images would be among those trained on
    assert not (tmp_path / "b").exists()


def test_supernets_that_are_none(run, supernet, tmp_path):
    copy = tmp_path / "copy"
    for name, content, message in (
        ("config.yaml", "[1, 2", "not the settings"),
        ("config.yaml", "space: 3", "not the settings"),
        ("supernet.safetensors", "weights", "cannot be read as weights"),
        ("result.json", "{}", "is no finished run"),
    ):
        shutil.copytree(supernet, copy)
        (copy / name).write_text(content)
        code, _, err = run("baseline", "space=nasbench201", f"supernet={copy}", "budget.queries=3")
        assert code == 2 and message in err and err.count("\n") == 1, err
        assert not (tmp_path / "outputs").exists()
        shutil.rmtree(copy)
    code, _, err = run("baseline", "supernet=nowhere")
    assert code == 2 and "supernet=nowhere: must be the folder of a finished search" in err


def test_a_cut_run_continues_to_the_same_end(run, supernet, table, tmp_path):
    settings = [*tabular(table), "budget.queries=30", "strategy.population=5", "seed=3"]
    assert run("baseline", *settings, "out=whole")[0] == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "result.json").unlink()
    log = tmp_path / "cut" / "queries.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:13]) + '{"query": 14')
    code, out, err = run("baseline", *settings, "out=cut")
    assert (code, err) == (0, "")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert (whole / "metrics.jsonl").read_text() == (cut / "metrics.jsonl").read_text()
    assert (whole / "architecture.json").read_text() == (cut / "architecture.json").read_text()
    assert [row["architecture"] for row in rows(log)] == [r["architecture"] for r in rows(whole / "queries.jsonl")]
    found = result(cut)
    assert found["validation_regret"] == pytest.approx(2 * found["test_regret"]) and found["validation_regret"] >= 0
    code, out, _ = run("baseline", *settings, "out=cut")
    assert code == 0 and "finished before" in out
    code, _, err = run("baseline", *settings, "strategy.tournament=2", "out=cut")
    assert code == 2 and "was started with strategy.tournament=10 and not 2; name a new folder" in err


def test_trainings_with_fidelities(run, tmp_path):
    settings = [*NB201, "estimator=training", "strategy=successive_halving", "strategy.n=3", "estimator.epochs=3"]
    code, _, err = run("baseline", *settings, "strategy.minimum_fidelity=0.33", "budget.queries=4", "out=t")
    assert (code, err) == (0, "")
    log = rows(tmp_path / "t" / "queries.jsonl")
    assert sorted({row["fidelity"] for row in log}) == [pytest.approx(1 / 3), 1.0]
    best = max((row for row in log if row["fidelity"] == 1), key=lambda row: row["scores"]["accuracy"])
    assert result(tmp_path / "t")["notation"] == best["notation"]


def test_inherited_weights(run, tmp_path):
    settings = [*NB201, "estimator=training", "estimator.epochs=1", "strategy.inherit=true", "strategy.population=2"]
    code, _, err = run("baseline", *settings, "budget.queries=3", "out=t")
    assert (code, err) == (0, "")
    log = rows(tmp_path / "t" / "queries.jsonl")
    assert log[2]["parent"] in [row["architecture"] for row in log[:2]]
    assert len(list((tmp_path / "t" / "weights").iterdir())) == len({str(row["architecture"]) for row in log})


def test_accuracy_against_cost(pictures, run, supernet, table, tmp_path):
    settings = [*tabular(table), "strategy=nsga2", "strategy.population=6", "budget.queries=30"]
    code, _, err = run("baseline", *settings, "cost=parameters", "out=front")
    assert (code, err) == (0, "") and (tmp_path / "front" / "front.png").is_file()
    front = result(tmp_path / "front")["front"]
    assert [p["cost"] for p in front] == sorted(p["cost"] for p in front)
    assert [p["accuracy"] for p in front] == sorted(p["accuracy"] for p in front)
    space = NASBench201((1, 8, 8), 10, cells=1, channels=8)
    for row in rows(tmp_path / "front" / "queries.jsonl"):  # a candidate's cost, but for what is always there
        own = network_cost(space, space.from_notation(row["notation"]), (1, 8, 8))["parameters"]
        assert own - row["scores"]["cost"] == 18594
    code, _, err = run("baseline", *settings)
    assert code == 2 and "needs a cost" in err
    code, _, err = run("baseline", *tabular(table), "cost=parameters", "metric=cost")
    assert code == 2 and "metric=cost: a metric is maximized" in err
    code, _, err = run(
        "baseline", *tabular(table), "cost=parameters", "cost.weight=1e-6", "metric=reward", "out=reward"
    )
    assert (code, err) == (0, "") and result(tmp_path / "reward")["best_reward"] < 1


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("budget.queries=0", "budget.queries=0: must be a whole number, at least 1"),
        ("budget.queries=null", "budget: must be given"),
        ("budget.seconds=0", "budget.seconds=0"),
        ("metric=speed", "unknown metric 'speed'; known: accuracy"),
        ("strategy=evolve", "did you mean 'evolution'"),
        ("strategy.population=1", "strategy.population=1"),
        ("estimator.dataset=imagenet", "unknown data set"),
        ("estimator.table=absent.csv", "estimator.table=absent.csv: cannot be read"),
        ("estimator.table=5", "estimator.table=5: must be a text"),
        ("budget=5", "budget=5: must be given as budget.queries"),
        ("strategy=5", "strategy=5: must name a choice for strategy; known: "),
        ("batch=0", "batch=0"),
        ("failures=2", "failures=2"),
    ],
)
def test_bad_input(setting, message, run, table, tmp_path):
    code, _, err = run("baseline", *tabular(table), setting, "out=bad")
    assert code == 2 and message in err and err.count("\n") == 1, err
    assert not (tmp_path / "bad").exists()


def test_the_next_command_fits_the_supernet(run, tmp_path):
    sizes = ["space.cells=3", "space.nodes=2", *SMALL[2:]]
    assert run("search", "architect=uniform", "epochs=1", "selection.samples=1", *sizes, "out=supernet")[0] == 0
    code, out, _ = run("baseline", "supernet=supernet", "budget.queries=2", "strategy=random_search", "out=found")
    assert code == 0 and "space.nodes=2" in out.split("next: ")[1]
    words = shlex.split(out.split("next: oneshot retrain ")[1])
    assert run("retrain", *words, *SMALL[2:], "space.cells=3", "epochs=1", "out=t")[0] == 0


def test_rank(pictures, run, supernet, table, tmp_path):
    settings = ["space=nasbench201", f"supernet={supernet}", f"reference.table={table}", "architectures=12"]
    code, out, err = run("rank", *settings, "reference.dataset=own", "resamples=50", "out=rank")
    assert (code, err) == (0, "") and "kendall tau" in out
    found = result(tmp_path / "rank")
    assert found["architectures"] == 12 and found["failed"] == 0
    assert set(found["agreement"]) == {"estimator", "parameters", "multiply_accumulates"}
    for measures in found["agreement"].values():
        for interval in measures.values():
            assert interval["low"] <= interval["value"] <= interval["high"]
    assert len({row["notation"] for row in rows(tmp_path / "rank" / "estimator.jsonl")}) == 12
    assert (tmp_path / "rank" / "ranking.png").is_file()
    code, out, _ = run("rank", *settings, "reference.dataset=own", "resamples=50", "out=rank")
    assert code == 0 and "finished before" in out and "kendall tau" in out
    code, out, err = run("rank", *settings, "reference.dataset=flat", "out=flat")
    assert (code, err) == (0, "") and "all 12 references are equal (0.5): they rank nothing" in out
    assert "NaN" not in (tmp_path / "flat" / "result.json").read_text()
    code, _, err = run("rank", *settings, "metric=speed")
    assert code == 2 and "unknown metric 'speed'" in err


def test_a_ranking_after_each_epoch(pictures, run, table, tmp_path):
    """The training is the same as without it, and the scores after the last epoch are those of the end."""
    settings = ["space=nasbench201", f"reference.table={table}", "reference.dataset=own", "architectures=6"]
    settings += ["resamples=20", *SMALL, "epochs=3"]
    assert run("rank", *settings, "out=plain")[0] == 0
    code, out, err = run("rank", *settings, "every=2", "out=rank")
    assert (code, err) == (0, "") and "after epoch 2: kendall tau" in out and "after epoch 3: kendall tau" in out
    plain, found = tmp_path / "plain", tmp_path / "rank"
    weights = Path("supernet/supernet.safetensors")
    assert (plain / weights).read_bytes() == (found / weights).read_bytes()
    assert [row["epoch"] for row in result(found)["epochs"]] == [2, 3]
    logs = {epoch: (found / "epochs" / f"{epoch}.jsonl").read_text() for epoch in (2, 3)}
    assert logs[2] != logs[3] == (found / "estimator.jsonl").read_text() == (plain / "estimator.jsonl").read_text()
    assert result(found)["epochs"][1]["agreement"] == result(found)["agreement"]["estimator"]
    assert (found / "ranking_epochs.png").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["every=0"], "every=0: must be"),
        (["every=1", "supernet=elsewhere"], "every=1: supernet=elsewhere is trained already"),
        (["every=1", "estimator=training"], "every=1: oneshot.estimators.Training has no supernet"),
    ],
)
def test_bad_rankings_after_each_epoch(settings, message, run, tmp_path):
    code, _, err = run("rank", *settings, "out=bad")
    assert code == 2 and message in err and err.count("\n") == 1, err
    assert not (tmp_path / "bad").exists()


def test_the_packages_table_needs_no_file(run, supernet, tmp_path):
    """In a baseline and a ranking; and a search says what the table knows of what it found."""
    published = ["space=nasbench201", "estimator=tabular", "estimator.epochs=200", "estimator.dataset=cifar100"]
    code, out, err = run("baseline", *published, "budget.queries=5", "strategy=random_search", "out=b")
    space = NASBench201((3, 32, 32), 10)
    found, table = result(tmp_path / "b"), Tabular(space, dataset="cifar100", epochs=200)
    best = space.load(tmp_path / "b" / "architecture.json")
    assert (code, err) == (0, "") and {name: found[name] for name in table.report(best)} == table.report(best)

    ranked = ["space=nasbench201", f"supernet={supernet}", "architectures=5", "resamples=10", "out=r"]
    code, _, err = run("rank", *ranked)
    assert (code, err) == (0, "")
    for row in rows(tmp_path / "r" / "reference.jsonl"):
        known = table_of_12(space.from_notation(row["notation"]))
        assert row["scores"] == {"accuracy": known}

    code, out, err = run("search", "architect=uniform", *NB201, "selection.samples=1", f"out={supernet}")
    searched = result(supernet)
    title = "NAS-Bench-201 (15,625 cells), CIFAR-10 table, for orientation"
    assert (code, err) == (0, "") and "finished before" in out and searched["table"] == title
    known = table_of_12(space.load(supernet / "architecture.json"))
    assert searched["table_validation_accuracy_12_epochs"] == known
    shown = [re.sub("  +", ": ", line.strip()) for line in out.splitlines()]
    start = shown.index(f"the cell in a published table: {title}")
    assert shown[start + 1 : start + 5] == [
        f"validation accuracy after 12 epochs: {100 * known:.2f} %",
        f"its rank, 1 is best: {searched['table_validation_rank_12_epochs']:,}",
        f"test accuracy after 200 epochs: {100 * searched['table_test_accuracy_200_epochs']:.2f} %",
        f"its rank, 1 is best: {searched['table_test_rank_200_epochs']:,}",
    ]


def table_of_12(architecture):
    (answer,) = Tabular(NASBench201((3, 32, 32), 10))([Query(architecture)])
    return answer["accuracy"]


def test_rank_against_trainings(run, tmp_path):
    settings = [
        *NB201,
        "estimator@reference=training",
        "reference.epochs=1",
        "architectures=4",
        "resamples=20",
        "out=rank",
    ]
    code, out, err = run("rank", *settings)
    assert (code, err) == (0, "") and "reference: 4 architectures" in out
    assert [row["scores"]["accuracy"] for row in rows(tmp_path / "rank" / "reference.jsonl")]


def test_rank_of_what_cannot_be_scored(run, table, tmp_path):
    (tmp_path / "broken.py").write_text(
        "class Broken:\n"
        "    metrics = ('accuracy',)\n"
        "    def __init__(self, images, batch_size):\n"
        "        pass\n"
        "    def __call__(self, queries):\n"
        "        raise ValueError('no weights')\n"
    )
    settings = ["space=nasbench201", f"reference.table={table}", "reference.dataset=own", "architectures=4"]
    code, _, err = run("rank", *settings, "estimator._target_=broken.Broken", "out=rank")
    assert code == 2 and "none of 4 architectures could be scored: ValueError: no weights" in err
