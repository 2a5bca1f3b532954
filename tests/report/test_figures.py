"""Pictures of a section: what is drawn, of what, and what is never called."""

import json

import pytest
from helpers.run_folders import NAMES, decisions, leave, records, retrain, search

from oneshot.quantity import ACCURACY
from oneshot.report import figures
from oneshot.report.content import report
from oneshot.report.grouping import sections
from oneshot.report.measures import measures
from oneshot.report.page import Heading, Listing, Picture, Table

TEST = measures(ACCURACY)["test"]


def section_of(root):
    (section,), left = sections(records(root))
    assert left == []
    return section


def test_equal_cells_are_drawn_once_of_the_best_seed(tmp_path):
    for method, operation in (("a", "skip_connect"), ("b", "skip_connect"), ("c", "nor_conv_3x3")):
        for seed, test in ((0, 0.5), (1, 0.75)):
            path = tmp_path / f"{method}{seed}"
            search(path, seed=seed, architect={"_target_": f"my.{method}"}, operation=operation if seed else "none")
            retrain(tmp_path / f"t{method}{seed}", path, test, operation if seed else "none", seed=seed)
    pictures = list(figures.found_cells(section_of(tmp_path), TEST))
    assert [picture.caption for picture in pictures] == [
        "a, seed 1 (test accuracy 75.00 %); b, seed 1 (test accuracy 75.00 %)",
        "c, seed 1 (test accuracy 75.00 %)",
    ]
    assert [picture.heading for picture in pictures] == ["a; b", "c"]
    assert "|nor_conv_3x3~0|+" in pictures[1].text and pictures[1].svg.startswith(b"<?xml")


@pytest.mark.parametrize(
    "space",
    [
        {"_target_": "my_space.Chain"},
        {"_target_": "builtins.open", "file": "executed", "mode": "w"},
        {"_target_": "oneshot.spaces.DARTSCells", "nodes": "many"},
        {"_target_": "oneshot.spaces.DARTSCells", "nodes": 2, "candidates": ["none", "conv_9x9"]},
        {"_target_": ["x"]},
    ],
)
def test_a_space_that_cannot_be_drawn_is_a_line(tmp_path, monkeypatch, space):
    monkeypatch.chdir(tmp_path)
    search(tmp_path / "s", space=space)
    (line,) = figures.found_cells(section_of(tmp_path), TEST)
    assert line.endswith(f"is not the package's; see {tmp_path / 's'}") and not (tmp_path / "executed").exists()


def test_own_operations_count_by_their_names_alone(tmp_path):
    call = {"_target_": "my_operations.conv_1x1", "_partial_": True}
    nodes = {"nodes": 1, "candidates": ["none", "conv_1x1"], "operations": {"conv_1x1": call}}
    search(tmp_path / "s", space={"_target_": "oneshot.spaces.DARTSCells", **nodes})
    result = json.loads((tmp_path / "s" / "result.json").read_text())
    edges = [f"{cell}/{source}->0" for cell in ("normal", "reduce") for source in ("c_{k-2}", "c_{k-1}")]
    result["architecture"] = dict.fromkeys(edges, "conv_1x1")
    (tmp_path / "s" / "result.json").write_text(json.dumps(result))
    (picture,) = figures.found_cells(section_of(tmp_path), TEST)
    assert isinstance(picture, Picture) and "conv_1x1" in picture.text


def test_the_front_is_of_single_runs(tmp_path):
    for n, (test, cost) in enumerate(((0.5, 10), (0.75, 20), (0.625, 30))):
        search(tmp_path / f"s{n}", seed=n)
        retrain(tmp_path / f"t{n}", tmp_path / f"s{n}", test, seed=n)
        result = json.loads((tmp_path / f"t{n}" / "result.json").read_text())
        (tmp_path / f"t{n}" / "result.json").write_text(json.dumps({**result, "multiply_accumulates": cost}))
    (picture,) = figures.cost_front(section_of(tmp_path), TEST, "multiply_accumulates")
    assert picture.text.endswith(
        "Pareto front: darts 50.00 % at 10 multiply-accumulates; darts 75.00 % at 20 multiply-accumulates."
    )


def test_probabilities_that_move_are_drawn(tmp_path):
    search(tmp_path / "s")
    still, moved = [[0.2] * 5] * 6, [[0.1, 0.1, 0.1, 0.1, 0.6]] * 6
    for scores, count in (([still, still], 0), ([still, moved], 1)):
        (tmp_path / "s" / "scores.json").write_text(json.dumps(scores))
        pictures = list(figures.probabilities(section_of(tmp_path), TEST))
        assert len(pictures) == count
    assert "cell/0->1 avg_pool_3x3" in pictures[0].text and "Found: |skip_connect~0|+" in pictures[0].text
    assert pictures[0].heading == "darts" and pictures[0].narrow.startswith(b"<?xml")


def test_searches_that_were_trained_in_several_ways_are_drawn_once(tmp_path):
    search(tmp_path / "s")
    search(tmp_path / "other", architect={"_target_": "my.Sigmoid"})
    moved = [[[0.2] * 5] * 6, [[0.1, 0.1, 0.1, 0.1, 0.6]] * 6]
    for name in ("s", "other"):
        (tmp_path / name / "scores.json").write_text(json.dumps(moved))
    for n, rate in enumerate((0.025, 0.1)):
        retrain(tmp_path / f"t{n}", tmp_path / "s", 0.5 + n / 10, a_long_name_of_a_setting=rate)
    section = section_of(tmp_path)
    assert sorted(group.label for group in section.groups) == ["Sigmoid", "darts A", "darts B"]
    (curves,) = figures.anytime(section, ACCURACY)
    assert (
        curves.text.count("darts") == curves.text.count("darts A, B 40.00 %") == 1 and "Sigmoid 40.00 %" in curves.text
    )
    assert len(list(figures.probabilities(section, TEST))) == 2


def test_labels_that_are_no_mathematics(tmp_path):
    """Of settings that matplotlib would read as a formula, cannot draw, or could not write."""
    for n, text in enumerate((r"$\frac{", "\u4e00", "\x01--><b>")):
        search(tmp_path / f"{n}", note=text)
    section = section_of(tmp_path)
    blocks = list(report([section], [], []))
    pictures = [block for block in blocks if isinstance(block, Picture)]
    assert len(pictures) >= 4 and all(b"\x01" not in picture.svg for picture in pictures)
    (table,) = [block for block in blocks if isinstance(block, Table) and not block.folded]
    assert r"darts note=$\frac{" in [row[0] for row in table.rows]


def test_decisions_that_the_space_does_not_allow(tmp_path):
    search(tmp_path / "s")
    space = figures.space_of(section_of(tmp_path).groups[0].lineages[0].first)
    assert space is not None and tuple(choice.name for choice in space.choices) == NAMES
    for wrong in ({}, decisions("conv_9x9"), {**decisions(), "cell/0->1": "x"}):
        result = json.loads((tmp_path / "s" / "result.json").read_text())
        (tmp_path / "s" / "result.json").write_text(json.dumps({**result, "architecture": wrong}))
        (summary,) = records(tmp_path)
        assert figures.architecture_of(summary, space) is None


@pytest.mark.parametrize(
    ("cost", "unit"),
    [("oneshot.cost.parameters", "parameters"), ("oneshot.cost.latency", "ms"), ("my.cost", "in its own unit")],
)
def test_cost_has_its_unit(tmp_path, cost, unit):
    node = {"strategy": {"_target_": "oneshot.strategies.TPE"}, "metric": "accuracy", "cost": {"_target_": cost}}
    leave(tmp_path, node, {"best_accuracy": 0.5})
    rows = [{"notation": f"{n}", "fidelity": 1.0, "scores": {"accuracy": 0.5, "cost": n}} for n in range(3)]
    (tmp_path / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (picture,) = figures.queried(section_of(tmp_path), measures(ACCURACY)["validation"])
    assert picture.caption.endswith(f"the cost of its candidates ({unit}).")


def test_estimators_have_names_for_readers(tmp_path):
    node = {"resamples": 9, "reference": {"_target_": "oneshot.estimators.Tabular"}}
    agreement = {"estimator": {"kendall_tau": {"value": 0.5, "low": 0.25, "high": 0.75}}}
    leave(tmp_path, {**node, "estimator": {"_target_": "oneshot.estimators.OneShot"}}, {"agreement": agreement})
    (table,) = [block for block in report([], [], records(tmp_path)) if isinstance(block, Table)]
    assert table.rows[0][1:5] == ("one-shot supernet", "benchmark table", "", "0.500 [0.250, 0.750]")


def ranked(path, ranks, table, **settings):
    """A search whose rows have ranks, with what its result says of the table."""
    node = {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}
    result = {"architecture": decisions(), "found_valid_accuracy": 0.5, **table}
    rows = [{"step": n, "entropy": 0.5, "table_validation_rank_12_epochs": rank} for n, rank in enumerate(ranks, 1)]
    return leave(path, {"architect": node, "epochs": 2, **settings}, result, rows)


def test_ranks_in_a_table_are_a_curve_columns_and_a_note(tmp_path):
    title = "NAS-Bench-201, CIFAR-10 table, for orientation"
    for seed, ranks, accuracy in ((0, [9000, 100], 0.93), (1, [7000, 300], 0.91)):
        table = {"table": title, "table_validation_rank_12_epochs": ranks[-1]}
        table["controls"] = {"share_beaten": 0.25 + 0.5 * seed, "beats_largest": seed == 1}
        ranked(tmp_path / f"s{seed}", ranks, {**table, "table_test_accuracy_200_epochs": accuracy}, seed=seed)
    section = section_of(tmp_path)
    (picture,) = figures.table_ranks(section)
    assert picture.text == "Rank in the table over updates, 1 is best. At the end: darts 200."
    blocks = list(report([section], []))
    results = next(block for block in blocks if isinstance(block, Table))
    cells = {n.replace("\N{NO-BREAK SPACE}", " "): c for n, c in zip(results.columns, results.rows[0], strict=True)}
    assert cells["rank in the table (12 epochs)"] == "200"
    assert cells["test in the table (200 epochs), %"] == f"92.00 ± {12.706204736432095:.2f}"
    assert [cells[f"better than {who}, %"] for who in ("random ones", "the largest")] == ["50", "50"]
    notes = [item for block in blocks if isinstance(block, Listing) for item in block.items]
    assert len([item for item in notes if item.startswith("Better than random ones: ")]) == 1
    assert any(title in item for block in blocks if isinstance(block, Listing) for item in block.items)


def test_diagnostics_are_a_picture_and_a_table(tmp_path):
    node = {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}
    for seed, skips in ((0, (1, 4)), (1, (2, 6))):
        rows = [{"step": n, "entropy": 1 / n, "skips": skips[n - 1], "discretization_gap": 0.25} for n in (1, 2)]
        result = {"architecture": {**decisions(), "cell/0->1": "none"}, "found_valid_accuracy": 0.5}
        leave(tmp_path / f"s{seed}", {"architect": node, "epochs": 2, "seed": seed}, result, rows)
    section = section_of(tmp_path)
    (picture,) = figures.diagnostics(section)
    ends = "entropy: darts 0.5; discretization gap: darts 0.25."
    assert picture.text == f"Diagnostics. Of what was found: skips: darts 5; {ends}"
    blocks = list(report([section], []))
    (table,) = [b for b in blocks if isinstance(b, Table) and b.caption == "Diagnostics of what the searches found"]
    assert table.columns == ("group", "skips", "operations in all", "entropy", "discretization gap")
    assert table.rows == [("darts", "5.0", "5.0", "0.500", "0.250")]
    assert "Diagnostics" in [block.text for block in blocks if isinstance(block, Heading)]


def test_after_a_roll_back_the_numbers_are_those_of_the_epoch_that_is_kept(tmp_path):
    node = {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}
    rows = [{"epoch": n, "step": 10 * n, "entropy": 1 / n, "skips": n} for n in (1, 2, 3, 4)]
    stopped = {"epochs": 4, "updates": 40, "reason": "it rose", "kept_epoch": 2}
    result = {"architecture": decisions(), "found_valid_accuracy": 0.5, "stopped": stopped}
    leave(tmp_path / "s0", {"architect": node, "epochs": 4, "seed": 0}, result, rows)
    section = section_of(tmp_path)
    (picture,) = figures.diagnostics(section)
    assert picture.text == "Diagnostics. Of what was found: skips: darts 2; entropy: darts 0.5."
    assert "A dotted vertical line is an epoch to which a stopping rule went back." in picture.caption
    (table,) = [b for b in report([section], []) if isinstance(b, Table) and b.caption.startswith("Diagnostics")]
    assert table.rows == [("darts", "2.0", "6.0", "0.500")]


def test_a_search_without_diagnostics_has_no_such_section(tmp_path):
    search(tmp_path / "s")
    section = section_of(tmp_path)
    assert list(figures.diagnostics(section)) == []
    assert not [b for b in report([section], []) if isinstance(b, Heading) and b.text == "Diagnostics"]


def test_without_a_table_there_is_none_of_them(tmp_path):
    search(tmp_path / "s")
    section = section_of(tmp_path)
    assert list(figures.table_ranks(section)) == []
    results = next(block for block in report([section], []) if isinstance(block, Table))
    assert not [name for name in results.columns if "in the table" in name]


@pytest.mark.parametrize("strange", [{"table": 7}, {"table": ["x"]}, {"table_validation_rank_12_epochs": "first"}])
def test_a_strangers_table_is_no_table(tmp_path, strange):
    ranked(tmp_path / "s", [], strange)
    blocks = list(report([section_of(tmp_path)], []))
    notes = [item for block in blocks if isinstance(block, Listing) for item in block.items]
    assert notes and not [item for item in notes if "in the table:" in item]


def test_what_was_searched_by_another_metric_has_its_own_name_and_unit(tmp_path):
    """Searches by mean absolute error and by accuracy, all trained by accuracy: no error is shown as an accuracy."""
    error = {"name": "mae", "label": "mean absolute error", "maximize": False, "share": False}
    node = {"architect": {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}}}
    found = {"architecture": decisions(), "valid_mae": 4.19, "found_valid_mae": 4.31, "metric": error}
    leave(tmp_path / "s", node, found, [{"step": 4, "valid_mae": 4.19}])
    node = {"strategy": {"_target_": "oneshot.strategies.TPE"}, "metric": "mae", "cost": {"_target_": "my.cost"}}
    found = {"architecture": decisions(), "best_mae": 3.5, "metric": error}
    leave(tmp_path / "b", node, found)
    rows = [
        {"notation": f"{n}", "fidelity": 1.0, "scores": {"negative_mae": -3.5 - n, "cost": 9 - n}} for n in range(3)
    ]
    (tmp_path / "b" / "queries.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    search(tmp_path / "other", 0.6, operation="none", architect={"order": 2})
    for name, operation in {"s": "skip_connect", "b": "skip_connect", "other": "none"}.items():
        retrain(tmp_path / f"{name}_trained", tmp_path / name, operation=operation)
    section = section_of(tmp_path)
    assert section.metric == ACCURACY and [one.name for one in section.searched] == ["accuracy", "mae"]
    blocks = list(report([section], []))
    results = next(block for block in blocks if isinstance(block, Table))
    names = [name.replace("\N{NO-BREAK SPACE}", " ") for name in results.columns]
    cells = {row[0]: dict(zip(names, row, strict=True)) for row in results.rows}
    error, accuracy = "validation mean absolute error", "validation accuracy, %"
    assert {label: (row[error], row[accuracy]) for label, row in cells.items()} == {
        "darts": ("4.31", ""),
        "TPE": ("3.5", ""),
        "darts_second": ("", "60.00"),
    }
    assert {row["test accuracy, %"] for row in cells.values()} == {"90.00"}
    pictures = {block.name: block.text for block in blocks if isinstance(block, Picture)}
    assert pictures["0-anytime-updates"].endswith("At the end: darts_second 40.00 %.")
    assert pictures["0-anytime-updates-mae"].endswith("At the end: darts 4.19.")
    assert pictures["0-anytime-queries-mae"].endswith("At the end: TPE 3.50.")
    assert "its validation mean absolute error by the estimator" in pictures["0-queries"]
    assert "front: TPE 3.50" not in pictures["0-queries"] and "3 of 3 are on the Pareto front" in pictures["0-queries"]
    notes = [item for block in blocks if isinstance(block, Listing) for item in block.items]
    assert "Searched by mean absolute error; trained and tested by accuracy." in notes
