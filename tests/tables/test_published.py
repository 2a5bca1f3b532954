"""The package's tables against the published files and figures, ranks by counting, and what a search says of them."""

import csv
import itertools
import json
import random
import time

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, ROOT, Keep, darts, small_space

from oneshot.architects import Uniform
from oneshot.data import digits
from oneshot.runs.folder import Run
from oneshot.search import Search
from oneshot.spaces import NASBench201
from oneshot.tables import Lookup, lookup_for, published
from oneshot.tables.published import (
    CIFAR10,
    FILES,
    OF_CIFAR100,
    TEST_ACCURACY,
    TEST_RANK,
    VALIDATION_ACCURACY,
    VALIDATION_RANK,
)
from oneshot.training.outcome import write_search

SPACE = NASBench201((3, 32, 32), 10, cells=1, channels=4)
TABLE = published(SPACE.fingerprint)
SHARED = ROOT.parent / "shared" / "data" / "nasbench201"
SOURCES = {12: SHARED / "accuracies.csv", 200: SHARED / "accuracies200.csv"}
ORDER = (("0", "1"), ("0", "2"), ("1", "2"), ("0", "3"), ("1", "3"), ("2", "3"))  # (source, target) of each decision
LOOKED_UP = (VALIDATION_RANK, TEST_ACCURACY)  # of a row of a search


@pytest.mark.parametrize("epochs", SOURCES)
def test_every_figure_of_the_published_files(epochs):
    if not SOURCES[epochs].is_file():
        pytest.skip(f"no table of NAS-Bench-201 at {SOURCES[epochs]}")
    with open(SOURCES[epochs], newline="") as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name not in ("index", "arch")]
    assert {f"{name}-{epochs}" for name in columns} == {n for n in TABLE.percent if n.endswith(f"-{epochs}")}
    seen = set()
    for row in rows:
        names = {  # read here without the package's own reader
            (part.split("~")[1], str(target)): part.split("~")[0]
            for target, node in enumerate(row["arch"].split("+"), 1)
            for part in node.strip("|").split("|")
        }
        decisions = [SPACE.choices[i].candidates.index(names[edge]) for i, edge in enumerate(ORDER)]
        place = TABLE.row(SPACE.architecture(decisions))
        seen.add(place)
        for name in columns:
            assert TABLE.percent[f"{name}-{epochs}"][place] == float(row[name])  # no digit is lost
    assert seen == set(range(15_625))


def alike(operation):
    return SPACE.architecture([SPACE.choices[0].candidates.index(operation)] * 6)


@pytest.mark.parametrize(
    ("dataset", "operation", "percent"),
    [  # arXiv:2001.00326, table 5: what DARTS finds; the cell of 3x3 convolutions is ResNet's without its shortcut
        ("cifar10", "skip_connect", 54.30),
        ("cifar100", "skip_connect", 15.61),
        ("cifar10", "none", 10.0),
        ("cifar100", "none", 1.0),
        ("cifar10", "nor_conv_3x3", 93.76),
    ],
)
def test_figures_of_the_papers(dataset, operation, percent):
    found = Lookup(TABLE, dataset, True)(alike(operation))
    assert round(100 * found[TEST_ACCURACY], 2) == pytest.approx(percent, abs=0.01)


@pytest.mark.parametrize(("dataset", "percent"), [("cifar10", 94.37), ("cifar100", 73.51)])
def test_the_best_cell_of_the_papers_has_rank_1(dataset, percent):
    best = TABLE.percent[f"{dataset}-test-200"].argmax()
    decisions = list(itertools.product(range(5), repeat=6))[best]
    found = Lookup(TABLE, dataset, True)(SPACE.architecture(decisions))
    assert found[TEST_RANK] == 1 and round(100 * found[TEST_ACCURACY], 2) == percent


def test_ranks_by_counting():
    """One more than the number of better cells; equal cells share it."""
    drawn = [SPACE.sample(random.Random(seed)) for seed in range(20)]
    for dataset in ("cifar10", "cifar100"):
        lookup = Lookup(TABLE, dataset, True)
        for architecture in [alike("none"), *drawn]:
            found = lookup(architecture)
            for column, accuracy, rank in (
                (f"{dataset}-val-12", VALIDATION_ACCURACY, VALIDATION_RANK),
                (f"{dataset}-test-200", TEST_ACCURACY, TEST_RANK),
            ):
                own = TABLE.percent[column][TABLE.row(architecture)]
                assert found[accuracy] == own / 100
                assert found[rank] == 1 + sum(other > own for other in TABLE.percent[column].tolist())


def test_whose_images_a_search_has():
    """CIFAR-10, a part of it too, and CIFAR-100 by class names and size; any other set is for orientation."""
    hundred = [*OF_CIFAR100, *(f"c{n}" for n in range(100 - len(OF_CIFAR100)))]
    title = "NAS-Bench-201 (15,625 cells), {}"
    for classes, shape, expected in (
        (sorted(CIFAR10), (3, 32, 32), "CIFAR-10 table"),
        (sorted(CIFAR10, reverse=True), (3, 32, 32), "CIFAR-10 table"),
        (hundred, (3, 32, 32), "CIFAR-100 table"),
        (sorted(CIFAR10), (1, 32, 32), "CIFAR-10 table, for orientation"),
        (sorted(CIFAR10), (3, 64, 64), "CIFAR-10 table, for orientation"),
        ([*CIFAR10, "horse box"], (3, 32, 32), "CIFAR-10 table, for orientation"),
        ([f"c{n}" for n in range(100)], (3, 32, 32), "CIFAR-10 table, for orientation"),
        ([str(n) for n in range(10)], (1, 8, 8), "CIFAR-10 table, for orientation"),
    ):
        assert lookup_for(SPACE.fingerprint, classes, shape).title == title.format(expected)


def test_only_a_space_with_the_same_choices_has_the_table():
    assert [*FILES] == [SPACE.fingerprint] == [NASBench201((1, 8, 8), 3).fingerprint]
    assert published(small_space().fingerprint) is None
    assert published("nasbench201:000000000000") is None and lookup_for("darts:1", (), (3, 32, 32)) is None


def test_it_is_small_and_quick():
    files = [*(ROOT / "oneshot" / "tables").glob("nasbench201.*")]
    assert len(files) == 2 and sum(file.stat().st_size for file in files) < 500_000
    text = (ROOT / "oneshot" / "tables" / "nasbench201.txt").read_text()
    assert "MIT License" in text and "Xuanyi Dong" in text and all(column in text for column in TABLE.percent)
    loads, lookups = [], []
    lookup, architecture = Lookup(TABLE, "cifar10", True), alike("none")
    for _ in range(5):
        start = time.perf_counter()
        published.__wrapped__(SPACE.fingerprint)
        loads.append(time.perf_counter() - start)
        start = time.perf_counter()
        lookup(architecture)
        lookups.append(time.perf_counter() - start)
    assert min(loads) < 0.1 and min(lookups) < 0.001


DATA = digits(batch_size=32, train_size=128)


def searched(architect=darts, epochs=2, changed=lambda search: None, keep=None, start=None):
    torch.manual_seed(0)
    space = NASBench201(DATA, cells=1, channels=4)
    search = Search(space, architect(space), DATA, log_every=1)
    changed(search)
    kept = {"callbacks": [Keep(keep)], "enable_checkpointing": True} if keep else {}
    pl.Trainer(max_epochs=epochs, **QUIET | kept).fit(search, ckpt_path=start)
    return search


def of_epochs(search):
    return [row for row in search.rows if "valid_loss" in row]


def test_rows_of_a_search():
    """The cell that the scores of each epoch's end give; nothing else of a row changes."""
    search = searched()
    lookup = Lookup(TABLE, "cifar10", False)
    rows = of_epochs(search)
    assert len(rows) == 2 == len(search.scores) - 1
    for row, scores in zip(rows, search.scores[1:], strict=True):
        known = lookup(search.space.discretize(torch.tensor(scores)))
        assert {name: row[name] for name in LOOKED_UP} == {name: known[name] for name in LOOKED_UP}
    others = [row for row in search.rows if row not in rows]
    assert others and not [row for row in others if {*row} & {*LOOKED_UP}]

    def without(search):
        search.lookup = None

    bare = [{name: value for name, value in row.items() if name not in LOOKED_UP} for row in search.rows]
    assert searched(changed=without).rows == bare


def test_a_search_that_resumes_gives_the_same_rows(tmp_path):
    whole = searched(keep=tmp_path / "first.ckpt")
    again = searched(start=str(tmp_path / "first.ckpt"))
    assert again.rows == whole.rows and len([row for row in again.rows if VALIDATION_RANK in row]) == 2


def test_the_result_of_a_search(tmp_path):
    search = searched(epochs=1)
    with Run(tmp_path / "run", "a: 1\n") as run:
        result = write_search(run, search, DATA.image_shape)
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["table"] == written["table"] == "NAS-Bench-201 (15,625 cells), CIFAR-10 table, for orientation"
    for name, value in Lookup(TABLE, "cifar10", False)(search.found).items():
        assert result[name] == written[name] == value


def test_what_never_decides_has_a_result_and_no_rows():
    """The scores of a random control are a tie, so no epoch has a cell; what it draws at the end has a rank."""
    search = searched(Uniform, epochs=1)
    assert not [row for row in search.rows if {*row} & {*LOOKED_UP}]
    assert search.lookup(search.found)[VALIDATION_RANK] >= 1


def test_other_spaces_have_none():
    torch.manual_seed(0)
    space = small_space(DATA)
    search = Search(space, darts(space), DATA)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert search.lookup is None and not [row for row in search.rows if {*row} & {*LOOKED_UP}]
