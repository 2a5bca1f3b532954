"""Figures show every value they are given, and nothing in a drawn cell covers anything else."""

import random
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
from matplotlib.transforms import Bbox

from oneshot import plots
from oneshot.architecture import Choice
from oneshot.spaces.darts import DARTSCells
from oneshot.statistics import Band

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
    assert {"normal cell", "reduce cell"} <= {text.get_text() for text in figure.texts}
    labelled = [i for i, axes in enumerate(panels) if any(t.get_text() for t in axes.get_yticklabels())]
    assert labelled == [0, 7, 14, 21]
    assert [t.get_text() for t in panels[7].get_yticklabels()] == list(choices[0].candidates)
    assert [t.get_text() for t in panels[7].get_xticklabels()] == ["5", "11", "16"]
    assert bar.get_ylabel() == "probability"


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
    assert list(panels) == ["loss", "accuracy", "entropy"]
    lines = {(kind, line.get_label()): line for kind, axes in panels.items() for line in axes.lines}
    assert lines["loss", "weight"].get_xydata().tolist() == [[10, 2.0], [20, 1.5], [30, 1.0]]
    assert lines["loss", "valid"].get_xydata().tolist() == [[20, 1.7], [30, 1.2]]
    assert lines["accuracy", "weight"].get_xydata().tolist() == [[10, 0.3]]
    assert lines["accuracy", "valid"].get_xydata().tolist() == [[20, 0.4], [30, 0.6]]
    assert lines["entropy", "entropy"].get_xydata().tolist() == [[20, 2.0], [30, 1.5]]
    assert len(lines) == 5
    assert all(label.get_text().endswith("%") for label in panels["accuracy"].get_yticklabels())


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
    assert "test 74.32%" in [text.get_text() for text in axes.get_legend().get_texts()]


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "step": 10}]])
def test_no_metrics(rows: list[dict[str, float]]) -> None:
    assert [text.get_text() for text in plots.curves(rows).texts] == ["no metrics"]


def test_save_writes_both_files_and_the_same_bytes_twice(tmp_path) -> None:
    graphs = darts_graphs(0)
    written = [plots.save(plots.cells(graphs), tmp_path / name) for name in ("cells.v1", "cells.v2")]
    assert [path.name for path in written[0]] == ["cells.v1.png", "cells.v1.svg"]
    assert sorted(tmp_path.iterdir()) == sorted(written[0] + written[1])
    for first, second in zip(*written, strict=True):
        assert first.read_bytes() == second.read_bytes()
    assert written[0][0].read_bytes().startswith(b"\x89PNG")
    svg = written[0][1].read_text()
    assert ">dil_conv_3x3</text>" in svg and "<dc:date>" not in svg


def test_save_leaves_no_half_file(tmp_path) -> None:
    figure = plots.curves([{"step": 1, "train_loss": 1.0}])
    first = plots.save(figure, tmp_path / "curves")
    before = [path.read_bytes() for path in first]
    assert [path.read_bytes() for path in plots.save(figure, tmp_path / "curves")] == before
    assert sorted(tmp_path.iterdir()) == first


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
    figure = plots.bands({"updates": dict.fromkeys(names, band)}, names, "entropy", largest=1.0)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(set(shown)) == 3 and max(map(len, shown)) <= 48 and figure.axes[0].get_ylim()[1] == pytest.approx(0.996)
    low = plots.bands({"updates": {"a": Band([1, 2], [0.5, 1.0], [0.1, 0.1])}}, ["a"], "entropy", largest=1.0)
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
