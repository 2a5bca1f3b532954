"""Figures show every value they are given, and nothing in a drawn cell covers anything else."""

import math
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import combinations
from xml.etree import ElementTree

import networkx as nx
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from oneshot import plots
from oneshot.architecture import Choice
from oneshot.diagnostics import rows_of
from oneshot.errors import InputError
from oneshot.plots.diagnostics import NUMBERS, curves_of
from oneshot.plots.figure import COLOURS, short
from oneshot.spaces.darts import DARTSCells
from oneshot.statistics import Band, Interval
from oneshot.statistics.descriptive import RANKINGS

NB201 = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


def darts_graphs(seed: int, nodes: int = 4) -> dict[str, nx.DiGraph]:
    space = DARTSCells((3, 32, 32), 10, nodes=nodes)
    return space.graphs(space.sample(random.Random(seed)))


def dense_graph(operations: list[str]) -> nx.DiGraph:
    """Four numbered nodes and an edge for each operation other than none, as in NAS-Bench-201."""
    graph = nx.DiGraph()
    graph.add_nodes_from("0123")
    pairs = [(str(s), str(t)) for t in range(1, 4) for s in range(t)]
    for (s, t), operation in zip(pairs, operations, strict=True):
        if operation != "none":
            graph.add_edge(s, t, operation=operation)
    return graph


def crosses(line: list[Path], box: Bbox) -> bool:
    """Whether a line, or its head, enters the box by more than a pixel."""
    return any(part.intersects_bbox(box.padded(-1), filled=False) for part in line)


def check_cells(figure: Figure, graphs: dict[str, nx.DiGraph]) -> None:
    """Labels, nodes and lines of every panel: all there, inside, and none on another's place."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes, graph in zip(figure.axes, graphs.values(), strict=True):
        operations = [operation for *_, operation in graph.edges(data="operation") if operation]
        labels = [text for text in axes.texts if text.get_bbox_patch() is not None]
        assert Counter(text.get_text() for text in labels) == Counter(operations)
        for text in labels:
            text.update_bbox_position_size(renderer)
        label_boxes = [text.get_bbox_patch().get_window_extent(renderer) for text in labels]
        nodes = [patch.get_window_extent(renderer) for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
        assert len(nodes) == len(graph)
        texts = [text.get_window_extent(renderer) for text in (*axes.texts, *figure.texts) if text not in labels]
        for box in label_boxes + nodes + texts:
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1
        for box in label_boxes + nodes:
            assert axes.bbox.y0 <= box.y0 and box.y1 <= axes.bbox.y1
        assert not any(a.overlaps(b) for a, b in combinations(label_boxes + nodes, 2))
        arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
        assert len(arrows) == graph.number_of_edges()
        paths = [axes.transData.transform_path(arrow.get_path()) for arrow in arrows]
        lines = [[Path(line) for line in path.to_polygons(closed_only=False)] for path in paths]
        for box in label_boxes:
            assert sum(crosses(line, box) for line in lines) == 1
        for box in nodes:
            assert not any(crosses(line, box) for line in lines)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_overlaps_in_random_cells(seed: int) -> None:
    graphs = darts_graphs(seed)
    check_cells(plots.cells(graphs, title="found" if seed % 2 else ""), graphs)


@pytest.mark.parametrize("nodes", [1, 3, 7])
def test_cells_of_other_sizes(nodes: int) -> None:
    graphs = darts_graphs(0, nodes)
    check_cells(plots.cells(graphs), graphs)


@pytest.mark.parametrize("seed", range(3))
def test_cells_with_absent_edges(seed: int) -> None:
    rng = random.Random(seed)
    graphs = {"cell": dense_graph([rng.choice(NB201) for _ in range(6)])}
    check_cells(plots.cells(graphs), graphs)


def test_complete_and_empty_cells() -> None:
    graphs = {"empty": dense_graph(["none"] * 6)}
    check_cells(plots.cells(graphs, title="a title wider than the cell"), graphs)
    graphs = {"full": dense_graph(["nor_conv_3x3"] * 6), "empty": dense_graph(["none"] * 6)}
    check_cells(plots.cells(graphs), graphs)
    assert [text.get_text() for text in plots.cells({}).texts] == ["no cells"]


def test_cells_name_panels_nodes_and_kinds() -> None:
    graph = nx.DiGraph()
    graph.add_edge("c_{k-2}", "0", operation="a$b_conv")
    graph.add_edge("c_{k-1}", "0", operation="max_pool_3x3")
    graph.add_edge("0", "c_{k}", operation="")
    figure = plots.cells({"normal": graph}, title="run 7")
    texts = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert {"normal cell", "$c_{k-2}$", "$c_{k-1}$", "$c_{k}$", "0", "a$b_conv", "max_pool_3x3"} == set(texts)
    assert texts["a$b_conv"] != texts["max_pool_3x3"]
    assert [text.get_text() for text in figure.texts] == ["run 7"]
    check_cells(figure, {"normal": graph})


def test_a_long_chain_has_rows() -> None:
    """Each edge is in one of them, and none where an edge passes all nodes by; on paper it is one column."""
    chain = nx.DiGraph()
    for i in range(20):
        chain.add_edge(f"block{i}", f"block{i + 1}", operation=f"kind{i}")
    figure = plots.cells({"model": chain})
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert [row[0] for row in texts] == ["model, 1 of 3", "model, 2 of 3", "model, 3 of 3"]
    labels = [text for row in texts for text in row if text.startswith("kind")]
    assert sorted(labels) == sorted(f"kind{i}" for i in range(20))
    assert "block7" in texts[0] and "block7" in texts[1] and "block6" not in texts[1]
    with plots.width("paper"):
        assert len(plots.cells({"model": chain}).axes) == 1
    chain.add_edge("block0", "block20", operation="")
    assert len(plots.cells({"model": chain}).axes) == 1


def test_cells_are_the_same_each_time() -> None:
    graphs = darts_graphs(3)
    places = [[text.get_position() for axes in plots.cells(graphs).axes for text in axes.texts] for _ in range(2)]
    assert places[0] == places[1]


def test_heat_maps_show_the_scores() -> None:
    choices = DARTSCells((3, 32, 32), 10, nodes=4).choices
    scores = np.random.default_rng(0).dirichlet(np.ones(8), size=(12, 28))
    figure = plots.heat_maps(scores.tolist(), choices, epochs=range(5, 17))
    *panels, bar = figure.axes
    assert len(panels) == 28
    for i, axes in enumerate(panels):
        image = axes.images[0]
        np.testing.assert_array_equal(image.get_array(), scores[:, i].T)
        assert image.get_clim() == (0, scores.max())
        (mark,) = axes.lines
        assert mark.get_ydata()[0] == scores[-1, i].argmax()
    assert panels[0].get_title() == "$c_{k-2}$ \N{RIGHTWARDS ARROW} 0"
    assert {"normal cell", "reduction cell"} <= {text.get_text() for text in figure.texts}
    labelled = [i for i, axes in enumerate(panels) if any(t.get_text() for t in axes.get_yticklabels())]
    assert labelled == [0, 7, 14, 21]
    assert [t.get_text() for t in panels[7].get_yticklabels()] == list(choices[0].candidates)
    assert [t.get_text() for t in panels[7].get_xticklabels()] == ["5", "11", "16"]
    assert bar.get_ylabel() == "probability"
    *_, bar = plots.heat_maps((scores / 2).tolist(), choices).axes  # of edge normalization, for example
    assert bar.get_ylabel() == "score"


def test_heat_maps_mark_what_was_chosen() -> None:
    """The edges of the found cell, and not the most probable candidates of all edges."""
    space = DARTSCells((3, 32, 32), 10, nodes=2)
    found = space.sample(random.Random(0))
    scores = np.random.default_rng(0).dirichlet(np.ones(8), size=(3, len(space.choices)))
    figure = plots.heat_maps(scores.tolist(), space.choices, chosen=found.decisions)
    *panels, _ = figure.axes
    assert [axes.lines[0].get_ydata()[0] for axes in panels] == list(found.decisions)
    absent = [space.choices[0].candidates[decision] == "none" for decision in found.decisions]
    assert True in absent and False in absent
    assert [axes.title.get_color() != "black" for axes in panels] == absent
    assert [axes.lines[0].get_markerfacecolor() == "none" for axes in panels] == absent
    assert any("in the found architecture; grey title: edge left out" in text.get_text() for text in figure.texts)


def test_heat_map_panels_stay_apart() -> None:
    choices = [Choice(f"cell/{s}->{t}", NB201, str(t)) for t in range(1, 4) for s in range(t)]
    figure = plots.heat_maps([[[0.2] * 5] * 6], choices)
    canvas = FigureCanvasAgg(figure)
    boxes = [axes.get_tightbbox(canvas.get_renderer()) for axes in figure.axes]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= figure.bbox.y0 for box in boxes)


def test_heat_maps_of_unequal_choices() -> None:
    choices = [Choice("a/x", ("k3", "k5", "k7"), "x"), Choice("a/y", ("e3", "e6"), "y")]
    figure = plots.heat_maps([[[0.2, 0.3, 0.5], [0.4, 0.6, 0.0]]], choices)
    shown = [[label.get_text() for label in axes.get_yticklabels()] for axes in figure.axes[:2]]
    assert shown == [["k3", "k5", "k7"], ["e3", "e6"]]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), [[0.4], [0.6]])
    assert [text.get_text() for text in plots.heat_maps([], choices).texts] == ["no probabilities"]


def test_curves_hold_the_rows() -> None:
    rows = [
        {"epoch": 1, "step": 10, "weight_loss": 2.0, "weight_accuracy": 0.3},
        {"epoch": 1, "step": 20, "weight_loss": 1.5, "valid_loss": 1.7, "valid_accuracy": 0.4, "entropy": 2.0},
        {"epoch": 2, "step": 30, "weight_loss": 1.0, "valid_loss": 1.2, "valid_accuracy": 0.6, "entropy": 1.5},
    ]
    figure = plots.curves(rows, title="search")
    panels = {axes.get_ylabel(): axes for axes in figure.axes}
    assert list(panels) == ["loss", "accuracy, %", "normalized entropy"]
    lines = {(kind, line.get_label()): line for kind, axes in panels.items() for line in axes.lines}
    assert lines["loss", "training, weights"].get_xydata().tolist() == [[10, 2.0], [20, 1.5], [30, 1.0]]
    assert lines["loss", "validation"].get_xydata().tolist() == [[20, 1.7], [30, 1.2]]
    assert lines["accuracy, %", "training, weights"].get_xydata().tolist() == [[10, 0.3]]
    assert lines["accuracy, %", "validation"].get_xydata().tolist() == [[20, 0.4], [30, 0.6]]
    assert lines["normalized entropy", "entropy"].get_xydata().tolist() == [[20, 2.0], [30, 1.5]]
    assert len(lines) == 5
    FigureCanvasAgg(figure).draw()
    shown = {label.get_position()[1]: label.get_text() for label in panels["accuracy, %"].get_yticklabels()}
    assert shown and all(text == f"{100 * share:g}" for share, text in shown.items())
    assert panels["normalized entropy"].get_xlabel() == "training steps"


def test_legends_stand_beside_the_curves_and_nothing_is_cut_off() -> None:
    rows = [{"step": s, "train_loss": 1 / s, "architecture_accuracy": 0.5 + s / 1e6} for s in (1, 2)]
    figure = plots.curves([*rows, {"step": 2, "test_accuracy": 0.5}], title="search")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for axes in figure.axes:
        legend = axes.get_legend().get_window_extent(canvas.get_renderer())
        assert legend.x0 > axes.bbox.x1
        box = axes.get_tightbbox(canvas.get_renderer())
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_one_test_accuracy_is_a_dashed_line() -> None:
    figure = plots.curves([{"step": 1, "train_accuracy": 0.5}, {"step": 2, "test_accuracy": 0.7432}])
    (axes,) = figure.axes
    (line,) = [line for line in axes.lines if line.get_linestyle() == "--"]
    assert line.get_ydata() == [0.7432, 0.7432]
    assert "test 74.32 %" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "step": 10}]])
def test_no_metrics(rows: list[dict[str, float]]) -> None:
    assert [text.get_text() for text in plots.curves(rows).texts] == ["no metrics"]


def test_save_writes_three_files_and_the_same_bytes_twice(tmp_path, pictures) -> None:
    graphs = darts_graphs(0)
    written = [plots.save(plots.cells(graphs), tmp_path / name) for name in ("cells.v1", "cells.v2")]
    assert [path.name for path in written[0]] == ["cells.v1.png", "cells.v1.svg", "cells.v1.pdf"]
    assert sorted(tmp_path.iterdir()) == sorted(written[0] + written[1])
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    png, svg, pdf = (path.read_bytes() for path in written[0])
    assert png.startswith(b"\x89PNG") and pdf.startswith(b"%PDF-")
    assert b">dil_conv_3x3</text>" in svg and b"<dc:date>" not in svg
    assert b"Date" not in pdf and b"/FontFile2" in pdf  # letters stay letters


def test_another_process_writes_the_same_bytes(tmp_path, pictures) -> None:
    """Whatever order its sets have: hashes of texts differ between processes."""
    code = (
        "import pathlib; from oneshot import plots\n"
        "rows = [{'step': 1, 'weight_loss': 2.0, 'valid_accuracy': 0.5}, {'step': 2, 'weight_loss': 1.0}]\n"
        "plots.save(plots.curves(rows), pathlib.Path(folder, 'curves'))"
    )
    (tmp_path / "other").mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    other = f"folder = {str(tmp_path / 'other')!r}\n{code}"
    subprocess.run([sys.executable, "-c", other], check=True, env=environment, timeout=240)
    exec(code, {"folder": tmp_path})
    for kind in ("png", "svg", "pdf"):
        assert (tmp_path / f"curves.{kind}").read_bytes() == (tmp_path / "other" / f"curves.{kind}").read_bytes()


def test_save_leaves_no_half_file(tmp_path, pictures) -> None:
    figure = plots.curves([{"step": 1, "train_loss": 1.0}])
    first = plots.save(figure, tmp_path / "curves")
    before = [path.read_bytes() for path in first]
    assert [path.read_bytes() for path in plots.save(figure, tmp_path / "curves")] == before
    assert sorted(tmp_path.iterdir()) == sorted(first)


def test_comparison_draws_every_value_and_leaves_what_was_not_measured_empty():
    results = {
        "test accuracy, %": {"darts": [98.0, 99.0, 97.0], "random": [97.5]},
        "search, s": {"darts": [10.0, 12.0, 11.0], "random": []},
    }
    figure = plots.comparison(results)
    accuracy, seconds = figure.axes
    assert [label.get_text() for label in accuracy.get_yticklabels()] == ["darts", "random"]
    assert [axes.get_xlabel() for axes in figure.axes] == list(results)
    dots = [
        [tuple(line.get_xdata()) for line in axes.lines if line.get_marker() == "o"] for axes in (accuracy, seconds)
    ]
    assert dots == [[(98.0, 99.0, 97.0), (97.5,)], [(10.0, 12.0, 11.0)]]
    means = [line.get_xdata()[0] for line in accuracy.lines if line.get_marker() == "|" and len(line.get_xdata()) == 1]
    assert 98.0 in means


def test_intervals_end_where_the_quantity_does() -> None:
    """Two seeds near 100 % have an interval of more than that."""
    figure = plots.comparison({"test accuracy, %": {"a": [99.0, 99.9]}, "search, s": {"a": [1.0, 90.0]}})
    for axes, least, most in zip(figure.axes, (0, 0), (100, math.inf), strict=True):
        ends = [x for line in axes.collections[0].get_segments() for x, _ in line]
        assert least <= min(ends) and max(ends) <= most
    assert figure.axes[0].get_xlim()[1] < 101


def test_numbers_on_axes() -> None:
    assert [short(x) for x in (0, 0.25, 1500, 180_000, 1_250_000, 3e9)] == ["0", "0.25", "1,500", "180k", "1.25M", "3G"]
    figure = plots.comparison({"parameters": {"a": [180_000.0, 120_000.0]}})
    FigureCanvasAgg(figure).draw()
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert "200k" in shown and all(text == "0" or text.endswith("k") for text in shown)
    figure = plots.front([(50.0, 1e6), (60.0, 3e6)], [0, 1], ("validation accuracy, %", "cost, parameters"))
    FigureCanvasAgg(figure).draw()
    assert "1.5M" in [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("cost, parameters", "validation accuracy, %")


def regrets(count: int) -> dict[str, list[list[float]]]:
    rng = np.random.default_rng(0)
    return {f"strategy_{n}": np.minimum.accumulate(rng.exponential(5, (3, 40)), 1).tolist() for n in range(count)}


@pytest.mark.parametrize("width", ["screen", "paper"])
@pytest.mark.parametrize("count", [4, 13])
def test_many_lines_have_names_and_no_bands(width: str, count: int) -> None:
    with plots.width(width):
        figure = plots.anytime(regrets(count), "validation regret, percentage points", logarithmic=True)
    (axes,) = figure.axes
    assert len(axes.collections) == (count if count <= 5 else 0) and figure.legends == [] and axes.get_legend() is None
    assert sorted(text.get_text() for text in axes.texts) == sorted(regrets(count))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in combinations([box.padded(-1) for box in boxes], 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and figure.bbox.y0 <= box.y0 for box in boxes)
    shown = [label.get_text() for label in axes.get_yticklabels() if label.get_text()]
    assert len(shown) >= 3 and not any("$" in text for text in shown)


def test_a_band_ends_where_the_quantity_does() -> None:
    figure = plots.anytime({"a": [[99.0, 99.9], [90.0, 99.8]], "b": [[1.0, 2.0]]}, "accuracy, %")
    (band,) = figure.axes[0].collections
    assert band.get_paths()[0].vertices[:, 1].max() <= 100
    wide = Band([1, 2], [99.0, 99.5], [5.0, 200.0])
    figure = plots.bands({"updates": {"a": wide}}, ["a"], "accuracy, %", limits=(0.0, 100.0))
    heights = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() >= 0 and heights.max() <= 100


def every_figure() -> dict[str, Figure]:
    space = DARTSCells((3, 32, 32), 10, nodes=4)
    found = space.sample(random.Random(0))
    scores = [[[1 / 8] * 8] * 28] * 2
    band, values = (
        Band([1, 2], [1.0, 2.0], [0.1, 0.1]),
        {"search, s": {"darts": [1.0, 2.0]}, "parameters": {"darts": [5.0]}},
    )
    rows = [{"step": 1, "weight_loss": 1.0, "valid_accuracy": 0.5, "entropy": 1.0}, {"step": 2, "test_accuracy": 0.5}]
    points = [(50.0, 1e5), (60.0, 2e5)]
    return {
        "cells": plots.cells(space.graphs(found)),
        "heat_maps": plots.heat_maps(scores, space.choices, chosen=found.decisions),
        "curves": plots.curves(rows, title="a search"),
        "diagnostics": plots.diagnostics({name: {"a": [[(1, 0.5), (2, 0.25)]]} for name in NUMBERS}, ["a", "b"]),
        "comparison": plots.comparison(values),
        "bars": plots.bars({"a long name of a measurement": 1.0, "b": 2.0}, "reference / ours"),
        "anytime": plots.anytime(regrets(3), "regret, percentage points", logarithmic=True),
        "agreement": plots.agreement(
            {name: {3: Interval(0.1, -0.2, 0.4), 6: Interval(0.5, 0.3, 0.6)} for name in RANKINGS}
        ),
        "ranking": plots.ranking(points, ("by table, %", "by supernet, %"), "tau 0.5"),
        "front": plots.front(points, [0, 1], ("accuracy, %", "cost, parameters")),
        "confusion": plots.confusion(np.eye(10, dtype=int).tolist(), [f"class {c}" for c in range(10)]),
        "bands": plots.bands({"updates": {"a": band}, "search time, s": {"a": band}}, ["a"], "entropy"),
        "fronts": plots.fronts({"a": points}, points, ["a"], ("accuracy, %", "cost, parameters")),
        "spent": plots.spent(values, ["darts"]),
        "message": plots.cells({}),
    }


def test_agreement_shows_values_and_intervals() -> None:
    figure = plots.agreement({"kendall_tau": {6: Interval(0.5, 0.3, 0.6), 3: Interval(0.1, -0.2, 0.4)}, "b": {}})
    (line,), (band,) = figure.axes[0].lines, figure.axes[0].collections
    assert line.get_xydata().tolist() == [[3, 0.1], [6, 0.5]]
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert corners == {(3, -0.2), (3, 0.4), (6, 0.3), (6, 0.6)} and len(figure.axes) == 2


def test_every_figure_fits_a_papers_column() -> None:
    with plots.width("paper"):
        figures = every_figure()
    assert {name for name in plots.__all__ if name not in ("save", "vector", "width")} < set(figures)
    for name, figure in figures.items():
        assert figure.get_figwidth() == pytest.approx(3.4), name
        assert figure.get_figheight() < 9.5, name
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]
        drawn = [text for text in texts if text.get_window_extent(canvas.get_renderer()).width > 0]
        assert min(text.get_size() for text in drawn) >= 5, name
        for axes in figure.axes:
            box = axes.get_tightbbox(canvas.get_renderer())
            assert figure.bbox.x0 <= box.x0 + 1 and box.x1 <= figure.bbox.x1 + 1, name
    assert every_figure()["curves"].get_figwidth() > 5
    with pytest.raises(InputError, match="unknown width 'wide'"), plots.width("wide"):
        pass


@pytest.mark.parametrize("seed", range(6))
def test_nothing_overlaps_in_cells_on_paper(seed: int) -> None:
    graphs = darts_graphs(seed)
    with plots.width("paper"):
        check_cells(plots.cells(graphs), graphs)
        dense = {"cell": dense_graph([random.Random(seed).choice(NB201) for _ in range(6)])}
        check_cells(plots.cells(dense), dense)


def test_confusion_shows_every_count_and_class():
    counts = [[5, 0, 1], [0, 0, 0], [2, 0, 30]]
    figure = plots.confusion(counts, ("a cat", "a_$dog$", "a very long name of a class"))
    axes, bar = figure.axes
    shown = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert shown == {(i, j): str(n) for i, row in enumerate(counts) for j, n in enumerate(row) if n}
    np.testing.assert_allclose(axes.images[0].get_array(), [[5 / 6, 0, 1 / 6], [0, 0, 0], [2 / 32, 0, 30 / 32]])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # puts what the axes are called in its place
    renderer = canvas.get_renderer()
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["a cat", "a_$dog$", "a very long name of a class"]
    texts = [*axes.get_xticklabels(), *axes.get_yticklabels(), axes.xaxis.label, axes.yaxis.label, bar.yaxis.label]
    for box in (text.get_window_extent(renderer) for text in texts):
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_confusion_of_many_classes_has_no_numbers():
    figure = plots.confusion(np.eye(100, dtype=int).tolist(), [f"class {c}" for c in range(100)])
    assert not figure.axes[0].texts and len(figure.axes[0].get_yticklabels()) == 100


def test_diagnostics_hold_the_rows_and_each_has_its_place() -> None:
    assert {*NUMBERS} == {*rows_of("full"), "entropy"}
    rows = [{"step": 0, "entropy": 1.0}] + [
        {"step": n, "skips": n, "entropy": 1 / n, "alpha_eigenvalue_largest": 0.5 * n, "alpha_eigenvalue_smallest": -n}
        for n in (4, 8)
    ]
    figure = plots.diagnostics(curves_of(rows))
    drawn = {
        axes.get_title(loc="left"): [line.get_xydata().tolist() for line in axes.lines if len(line.get_xdata()) == 2]
        for axes in figure.axes
    }
    assert drawn["operations of the architecture"] == [[[4, 4], [8, 8]]]
    rising = plots.diagnostics({"alpha_eigenvalue_largest": {"": [[(1, 0.5), (2, 0.6)]]}}).axes[0]
    assert rising.get_ylim()[0] <= 0 <= 0.6 <= rising.get_ylim()[1]  # a tenth more looks like a tenth more
    assert drawn["eigenvalues of the Hessian"][:2] == [[[4, 2.0], [8, 4.0]], [[4, -4], [8, -8]]]
    assert [axes.get_title(loc="left") for axes in figure.axes][1] == "normalized entropy"
    assert [text.get_text() for text in plots.diagnostics({}).texts] == ["no diagnostics"]


def test_diagnostics_of_groups_are_means_in_their_colours() -> None:
    seeds = [[(1, 2.0), (2, 6.0)], [(1, 4.0), (2, 2.0)]]
    figure = plots.diagnostics({"skips": {"b": seeds}, "flatness": {"a": [[(1, 0.5), (2, 0.5)]]}}, ["a", "b"])
    line = figure.axes[0].lines[0]
    assert line.get_xydata().tolist() == [[1, 3.0], [2, 4.0]] and line.get_color() == COLOURS[1]
    assert len(figure.axes[0].collections) == 1  # the interval
    back = plots.diagnostics({"skips": {"b": seeds}}, ["a", "b"], {"b": [1, 2]}).axes[0]
    dotted = [line for line in back.lines if line.get_linestyle() == ":"]
    assert [list(line.get_xdata()) for line in dotted] == [[1, 1], [2, 2]] and dotted[0].get_color() == COLOURS[1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_bands_draw_the_means_and_cut_the_intervals() -> None:
    wide, single = Band([1, 2], [10.0, 20.0], [500.0, 1.0]), Band([1, 3], [12.0, 14.0], [np.nan, np.nan])
    figure = plots.bands({"updates": {"b": single, "a": wide}, "seconds": {"a": wide}}, ["a", "b"], "accuracy, %")
    first, second = figure.axes
    lines = {str(line.get_label()): line for line in first.lines}
    assert {name: list(line.get_ydata()) for name, line in lines.items()} == {"a": [10, 20], "b": [12, 14]}
    assert len(first.collections) == 1 and first.get_ylim() == pytest.approx((4, 26))
    assert second.lines[0].get_color() == lines["a"].get_color() != lines["b"].get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "a"]


def test_a_legend_holds_every_group_and_the_axis_ends_with_what_can_be() -> None:
    names = [f"architecture /a/long/path/of/a/folder/with/many/{n}/{'x' * 20}" for n in "ab"] + ["$a"]
    band = Band([1, 2], [0.98, 0.99], [0.1, 0.1])
    figure = plots.bands({"updates": dict.fromkeys(names, band)}, names, "entropy", limits=(0.0, 1.0))
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(shown)) == 3 and max(map(len, shown)) <= 48 and figure.axes[0].get_ylim()[1] == pytest.approx(0.996)
    low = plots.bands({"updates": {"a": Band([1, 2], [0.5, 1.0], [0.1, 0.1])}}, ["a"], "entropy", limits=(0.0, 1.0))
    assert low.axes[0].get_ylim()[1] == pytest.approx(1.01)


def test_fronts_mark_every_run_and_join_the_front_alone() -> None:
    points = {"a": [(50.0, 10.0), (40.0, 20.0)], "b": [(60.0, 30.0)]}
    (axes,) = plots.fronts(points, [(60.0, 30.0), (50.0, 10.0)], ["x", "a", "b"], ("accuracy", "cost")).axes
    found = {str(line.get_label()): [*zip(line.get_xdata(), line.get_ydata(), strict=True)] for line in axes.lines}
    assert found == {"Pareto front": [(10, 50), (30, 60)], "a": [(10, 50), (20, 40)], "b": [(30, 60)]}


def test_spent_has_a_bar_a_mean_and_a_dot_a_seed() -> None:
    values = {"seconds": {"a": [1.0, 3.0], "b": []}, "memory": {"a": [4.0], "c": [8.0]}}
    first, second = plots.spent(values, ["a", "b", "c"]).axes
    assert [bar.get_width() for bar in first.patches] == [2.0] and [b.get_width() for b in second.patches] == [4, 8]
    assert list(first.lines[0].get_xdata()) == [1, 3]
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "c"]


@pytest.mark.parametrize("name", ["$\\frac{$", "\x01\x02", "x" * 999, "a_b^c"])
def test_any_label_can_be_drawn(name: str) -> None:
    band = Band([1, 2], [1.0, 2.0], [0.1, 0.1])

    def pictures() -> list[bytes]:
        figures = [
            plots.bands({"x": {name: band}}, [name], "y"),
            plots.fronts({name: [(1.0, 2.0)]}, [(1.0, 2.0)], [name], ("y", "x")),
            plots.spent({"s": {name: [1.0]}}, [name]),
        ]
        return [plots.vector(figure) for figure in figures]

    drawn = pictures()
    assert drawn == pictures()
    assert all(ElementTree.fromstring(picture).tag.endswith("svg") for picture in drawn)


def test_a_vector_needs_no_font() -> None:
    picture = plots.vector(plots.bars({"a": 1.0}, "ratio"))
    assert b"<text" not in picture and b"<use" in picture
