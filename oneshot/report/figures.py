"""The pictures of a section."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import plots
from ..architecture import Architecture
from ..errors import InputError
from ..plots.diagnostics import NUMBERS
from ..quantity import Quantity, of_result
from ..spaces import OPERATIONS, DARTSCells, NASBench201, SearchSpace
from ..spaces.darts import CANDIDATES
from ..statistics import Band, mean_curve, pareto
from ..tables.published import SHORT
from . import series
from .grouping import Group, Section
from .lineage import Lineage
from .measures import MEASURES, Measure, cost_unit, measures
from .page import Picture
from .series import Point
from .summaries import RunSummary, kept_epoch

PIXELS = 96  # an inch, of CSS
IMAGES, CLASSES = (3, 32, 32), 10  # the choices of a space do not depend on them
SECONDS = "search time, s"
QUANTITIES = {  # a measure of cost -> its name with its unit, as an axis has it
    "multiply_accumulates": "multiply-accumulates",
    "parameters": "parameters",
    "search_seconds": SECONDS,
    "training_seconds": "training time, s",
    "peak_memory": "peak memory, MiB",
}


def picture(name: str, draw: Callable[[], Figure], text: str, caption: str, heading: str = "") -> Picture:
    """Draw a picture twice: for a wide screen, and as narrow as a paper's column for a narrow screen.

    Args:
        name: Of its file, [a-z0-9-].
        draw: Makes the figure.
        text: What it shows, for readers who do not see it.
        caption: Below it.
        heading: Above it, "" for none.

    Returns:
        The picture as a block of the page.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a label in another script
        figure = draw()
        svg = plots.vector(figure)
        with plots.width("paper"):
            narrow = plots.vector(draw())
    width, height = figure.get_size_inches() * PIXELS
    return Picture(name, svg, text, caption, (round(width), round(height)), heading, narrow)


def anytime(section: Section, metric: Quantity) -> Iterator[Picture]:
    """Draw the validation metric over updates or queries, and over seconds: searches and baselines apart.

    Args:
        section: Whose groups.
        metric: One of `section.searched`. Searches by another one are left out.

    Yields:
        A picture for the searches and one for the baselines, if there are any.
    """
    names, apart = _searched(section), "" if metric == section.searched[0] else f"-{metric.name.replace('_', '-')}"
    what, limits = f"validation {metric.label}", (0.0, 100.0) if metric.share else (-math.inf, math.inf)
    for baseline, x, caption in (
        (
            False,
            "updates",
            f"{metric.label[:1].upper()}{metric.label[1:]} of the supernet on validation images, with gates from the "
            "architect's probabilities. The search sees this number; that of the found architecture is in the table.",
        ),
        (
            True,
            "queries",
            f"{what.capitalize()}, by the estimator, of the best architecture so far (at the highest fidelity so far). "
            "The first tenth of the queries may lie below the picture. The time includes the training of the supernet, "
            "where the run recorded it.",
        ),
    ):
        curves = _curves(section, names, partial(_validation, metric=metric), baseline)
        panels = _panels(curves, x, metric.scale)
        if panels[x]:
            draw = partial(plots.bands, panels, names, metric.titled("validation"), steps=baseline, limits=limits)
            unit = " %" if metric.share else ""
            text = f"{what.capitalize()} over {x} and over time. At the end: {_ends(panels[x], unit)}."
            lines = (
                f"{caption} Lines are means over seeds; both lines and their 95 % bands end where a seed ends. Of more "
                "than 5 groups the bands are left out."
            )
            yield picture(f"anytime-{x}{apart}", draw, text, lines)


def _validation(summary: RunSummary, metric: Quantity) -> list[Point]:
    """The curve of a run that measured this metric, and none of another."""
    return series.validation(summary) if of_result(summary.result) == metric else []


def entropy(section: Section) -> Iterator[Picture]:
    """Draw the entropy of the searches' probabilities over updates.

    Args:
        section: Whose groups.

    Yields:
        One picture, or none where no search recorded its entropy.
    """
    names = _searched(section)
    curves = _curves(section, names, series.entropy, False)
    panels = {"updates": _panels(curves, "updates", 1.0)["updates"]}
    if panels["updates"]:
        draw = partial(plots.bands, panels, names, "normalized entropy", limits=(0.0, 1.0))
        text = f"Entropy of the probabilities over updates. At the end: {_ends(panels['updates'])}."
        caption = "How far a search has decided: 1 means equal probabilities, 0 means one candidate an edge."
        yield picture("entropy", draw, text, caption)


def diagnostics(section: Section) -> Iterator[Picture]:
    """Draw the diagnostics of the searches over updates, all quantities in one picture.

    Args:
        section: Whose groups.

    Yields:
        One picture, or none where no search recorded diagnostics besides its entropy.
    """
    names = _searched(section)

    def read(number: str, kept: bool) -> dict[str, list[Any]]:
        of = partial(series.number, name=number, kept=kept)
        found = _curves(section, names, of, False)  # type: ignore[arg-type]
        return {name: own for name, own in found.items() if own}

    curves = {number: own for number in NUMBERS if (own := read(number, False))}
    if not set(curves) - {"entropy"}:
        return
    until = {number: own for number in curves if (own := read(number, True))}
    ends = "; ".join(
        f"{number.replace('_', ' ')}: {', '.join(f'{name} {_last(own):.4g}' for name, own in of_group.items())}"
        for number, of_group in until.items()
    )
    kept = _went_back(curves.get("entropy", {}), until.get("entropy", {}))
    caption = (
        "How searches decide. A collapse is seen at the top left: skips and operations without parameters take over "
        "while the entropy falls. The largest eigenvalue then often rises before, and the loss rises when the mixture "
        "is replaced by the architecture (discretization gap). A colour is a group; lines are means over seeds."
    )
    if any(kept.values()):
        caption += " A dotted vertical line is an epoch to which a stopping rule went back."
    draw = partial(plots.diagnostics, curves, names, kept)
    yield picture("diagnostics", draw, f"Diagnostics. Of what was found: {ends}.", caption)


def _went_back(whole: Mapping[str, Sequence[Any]], until: Mapping[str, Sequence[Any]]) -> dict[str, list[float]]:
    """The steps of the epochs to which searches went back, by group: where the kept part of a curve is shorter."""
    pairs = {name: zip(own, whole[name], strict=True) for name, own in until.items() if len(own) == len(whole[name])}
    return {name: [short[-1][0] for short, long in own if len(short) < len(long)] for name, own in pairs.items()}


def _last(curves: Sequence[Sequence[tuple[float, float]]]) -> float:
    """The mean over seeds at the end."""
    return math.fsum(curve[-1][1] for curve in curves) / len(curves)


def table_ranks(section: Section) -> Iterator[Picture]:
    """Draw the ranks of what the searches would find, over updates, by a published table.

    Args:
        section: Whose groups.

    Yields:
        One picture, or none where no search recorded ranks.
    """
    names = _searched(section)
    curves = _curves(section, names, series.table_rank, False)
    panels = {"updates": _panels(curves, "updates", 1.0)["updates"]}
    if panels["updates"]:
        quantity = f"rank by validation accuracy after {SHORT} epochs"
        draw = partial(plots.bands, panels, names, quantity, limits=(1.0, math.inf))
        text = f"Rank in the table over updates, 1 is best. At the end: {_ends(panels['updates'], format=',.0f')}."
        caption = (
            "Rank in the published table, 1 is best, of the architecture that the probabilities of each epoch's end "
            "give. The search does not see it."
        )
        yield picture("table-ranks", draw, text, caption)


def cost_front(section: Section, accuracy: Measure, cost: str) -> Iterator[Picture]:
    """Draw every run's metric against its cost, with the Pareto front.

    Args:
        section: Whose runs.
        accuracy: Of `measures.QUALITIES`.
        cost: Name of a measure, of `measures.COSTS`.

    Yields:
        One picture, or none where fewer than two runs have both.
    """
    against = MEASURES[cost]
    points = {}
    for group in section.groups:
        pairs = [(accuracy.of(lineage), against.of(lineage)) for lineage in group.lineages]
        own = [(accuracy.scale * a, against.scale * c) for a, c in pairs if a is not None and c is not None]
        if own:
            points[group.label] = own
    every = [(point, label) for label, own in points.items() for point in own]
    if len(every) < 2:
        return
    sign = 1 if accuracy.maximize else -1
    best = [every[i] for i in pareto([(sign * value, spent) for (value, spent), _ in every])]
    names = [group.label for group in section.groups]
    what, (price, _, unit) = accuracy.of_what, QUANTITIES[cost].partition(", ")
    quantities = (section.metric.titled(what.removesuffix(f" {section.metric.label}")), QUANTITIES[cost])
    draw = partial(plots.fronts, points, [point for point, _ in best], names, quantities)
    listed = "; ".join(
        f"{label} {value:{accuracy.format}}{accuracy.unit} at {cost:,.0f} {unit or price}"
        for (value, cost), label in best
    )
    text = f"{what.capitalize()} against {price}, a mark a run. Pareto front: {listed}."
    caption = "A mark is a run. A run is on the Pareto front if no other one is cheaper and at least as good."
    yield picture("front", draw, text, caption)


def queried(section: Section, accuracy: Measure) -> Iterator[Picture]:
    """Draw everything that each baseline's best seed asked for, metric against cost.

    Args:
        section: Whose groups.
        accuracy: Which accuracy says what the best seed is. The pictures show the accuracies of the estimator.

    Yields:
        A picture for each metric and unit of cost in which at least two architectures have both numbers.
    """
    kinds: dict[tuple[str, Quantity], dict[str, list[tuple[float, float]]]] = {}
    for group in section.groups:
        lineage = best_seed(group, accuracy)
        own = series.asked(lineage.head) if lineage and lineage.head else []
        if own and lineage and lineage.head:
            metric = of_result(lineage.head.result)
            points = kinds.setdefault((cost_unit(lineage.head.settings), metric), {})
            points[group.label] = [(metric.scale * value, cost) for value, cost in own]
    names = [group.label for group in section.groups]
    for n, ((unit, metric), points) in enumerate(kinds.items()):
        every = [point for own in points.values() for point in own]
        if len(every) < 2:
            continue
        sign = 1 if metric.maximize else -1
        best = [every[i] for i in pareto([(sign * value, cost) for value, cost in every])]
        quantities = metric.titled("validation"), f"cost of the candidates, {unit}"
        draw = partial(plots.fronts, points, best, names, quantities)
        caption = (
            f"Every architecture that the best seed of each baseline asked for: its validation {metric.label} by the "
            f"estimator, and the cost of its candidates ({unit})."
        )
        text = f"{caption} {len(best)} of {len(every)} are on the Pareto front."
        yield picture(f"queries-{n}" if n else "queries", draw, text, caption)


def found_cells(section: Section, accuracy: Measure) -> Iterator[Picture | str]:
    """Draw what each group's best seed found.

    Args:
        section: Whose groups.
        accuracy: Which accuracy says what the best seed is.

    Yields:
        A picture for each architecture, equal ones once, with the groups in its heading; a sentence where an
        architecture cannot be drawn.
    """
    drawn: dict[Architecture, tuple[SearchSpace, list[str], list[str]]] = {}
    for group in section.groups:
        lineage = best_seed(group, accuracy)
        if lineage is None:
            continue
        space = space_of(lineage.first)
        architecture = architecture_of(lineage.first, space) if space else None
        value = accuracy.of(lineage)
        named = f"{group.label}, seed {lineage.first.seed}"
        if value is not None:
            named += f" ({accuracy.of_what} {accuracy.scale * value:{accuracy.format}}{accuracy.unit})"
        if space and architecture:
            _, labels, finds = drawn.setdefault(architecture, (space, [], []))
            labels.append(group.label)
            finds.append(named)
        else:
            yield f"{named}: its space, or what it found in it, is not the package's; see {lineage.first.path}"
    for n, (architecture, (space, labels, finds)) in enumerate(drawn.items()):
        text = f"Found by {'; '.join(finds)}: {space.notation(architecture)}"
        draw = partial(plots.cells, space.graphs(architecture))
        yield picture(f"cells-{n}", draw, text, "; ".join(finds), "; ".join(labels))


def probabilities(section: Section, accuracy: Measure) -> Iterator[Picture]:
    """Draw the probabilities over the epochs of each group's best seed, where they move.

    The marks show the architecture that the search found, or the most probable candidates where its file is damaged.

    Args:
        section: Whose groups.
        accuracy: Which accuracy says what the best seed is.

    Yields:
        A picture for each search whose probabilities were recorded and moved.
    """
    shown: set[Path] = set()
    for n, (name, group) in enumerate(zip(_searched(section), section.groups, strict=True)):
        lineage = best_seed(group, accuracy)
        space = space_of(lineage.head) if lineage and lineage.head and not lineage.head.log else None
        if lineage is None or lineage.head is None or space is None or lineage.head.path in shown:
            continue
        shown.add(lineage.head.path)
        table = series.probabilities(lineage.head, space.shape)
        if table is None or not (table != table[0]).any():
            continue
        kept = kept_epoch(lineage.head.result)
        table = table if kept is None else table[: kept + 1]
        found = architecture_of(lineage.head, space)
        chosen = found.decisions if found else None
        draw = partial(plots.heat_maps, table.tolist(), space.choices, chosen=chosen)
        until = "" if kept is None else f", up to epoch {kept}, which was kept"
        caption = f"Seed {lineage.first.seed}: probabilities of the candidates, epoch by epoch{until}."
        last = ", ".join(
            f"{choice.name} {choice.candidates[int(row.argmax())]}"
            for choice, row in zip(space.choices, table[-1], strict=True)
        )
        text = f"{name}. {caption} Most probable at the end: {last}."
        text += f" Found: {space.notation(found)}" if found else ""
        yield picture(f"probabilities-{n}", draw, text, caption, name)


def spent(section: Section) -> Iterator[Picture]:
    """Draw the seconds and the memory that each group took.

    Args:
        section: Whose groups.

    Yields:
        One picture, or none where no run recorded these numbers.
    """
    quantities = {}
    for name in ("search_seconds", "training_seconds", "peak_memory"):
        values = {
            group.label: measures(section.metric, section.searched)[name].values(group) for group in section.groups
        }
        if any(values.values()):
            quantities[QUANTITIES[name]] = values
    if quantities:
        draw = partial(plots.spent, quantities, [group.label for group in section.groups])
        text = "Time and memory of each group; the numbers are those of the table above."
        yield picture("spent", draw, text, "A bar is the mean over seeds, a dot is a seed.")


def best_seed(group: Group, accuracy: Measure) -> Lineage | None:
    """Find the lineage with the best value; of equal ones, and where none has one, the first.

    Args:
        group: Whose lineages.
        accuracy: The measure that decides.

    Returns:
        The lineage; None where the group has none.
    """
    sign = 1 if accuracy.maximize else -1
    values = [(accuracy.of(lineage), lineage) for lineage in group.lineages]
    return max(values, key=lambda pair: -math.inf if pair[0] is None else sign * pair[0], default=(None, None))[1]


def space_of(summary: RunSummary) -> SearchSpace | None:
    """Make the space that a run's settings name, if it is one of the package's. Nothing else that they name is called.

    The space has the choices of the run, but not its sizes (image shape, classes, cells, channels).

    Args:
        summary: Of the run.

    Returns:
        The space; None where it is not the package's or refuses the settings.
    """
    settings = summary.settings
    name = str(settings.get("space._target_"))
    try:
        if name.startswith("oneshot.spaces.") and name.endswith(".NASBench201"):
            return NASBench201(IMAGES, CLASSES)
        if name.startswith("oneshot.spaces.") and name.endswith(".DARTSCells"):
            own = [key.split(".")[2] for key in settings if key.startswith("space.operations.")]
            return DARTSCells(
                IMAGES,
                CLASSES,
                nodes=settings.get("space.nodes", 4),
                candidates=settings.get("space.candidates", CANDIDATES),
                reduce_candidates=settings.get("space.reduce_candidates"),
                operations={key: OPERATIONS["skip_connect"] for key in own},  # only its name counts
            )
    except (InputError, TypeError, ValueError):
        pass
    return None


def architecture_of(summary: RunSummary, space: SearchSpace) -> Architecture | None:
    """Read what a run found or trained.

    Args:
        summary: Of the run.
        space: The run's space.

    Returns:
        The architecture; None where the run's file holds none that the space allows.
    """
    decisions: Any = summary.result.get("architecture")
    try:
        if decisions is None:
            logged = series.best_query(summary)["architecture"]
            return space.architecture([int(decision) for decision in logged])
        return space.architecture([c.candidates.index(decisions[c.name]) for c in space.choices])
    except (InputError, LookupError, TypeError, ValueError):
        return None


def _searched(section: Section) -> list[str]:
    """The groups' labels; of groups with the same searches, which were trained in several ways, the first has all."""
    alike: dict[Any, list[int]] = {}
    for n, group in enumerate(section.groups):
        alike.setdefault(_heads(group) or n, []).append(n)
    names = [group.label for group in section.groups]
    for first, *others in alike.values():
        own = sorted((section.groups[n] for n in (first, *others)), key=lambda group: (len(group.label), group.label))
        names[first] = ", ".join([own[0].label, *(group.label.removeprefix(f"{group.method} ") for group in own[1:])])
    return names


def _curves(
    section: Section, names: Sequence[str], of: Callable[[RunSummary], list[Point]], baseline: bool
) -> dict[str, list[list[Point]]]:
    """The curves of searches, or of baselines, under the names of _searched, each once."""
    curves: dict[tuple[Path, ...], tuple[str, list[list[Point]]]] = {}
    for name, group in zip(names, section.groups, strict=True):
        heads = [x.head for x in group.lineages if x.head and (x.head.log is not None) == baseline]
        curves.setdefault(_heads(group), (name, [curve for curve in map(of, heads) if curve]))
    return dict(curves.values())


def _heads(group: Group) -> tuple[Path, ...]:
    return tuple(sorted(lineage.head.path for lineage in group.lineages if lineage.head))


def _panels(curves: dict[str, list[list[Point]]], x: str, scale: float = 100.0) -> dict[str, dict[str, Band]]:
    """Bands over steps and over seconds, where there are any."""
    steps = {name: mean_curve([[(p.step, scale * p.value) for p in c] for c in own]) for name, own in curves.items()}
    clocks = {
        name: mean_curve([[(p.seconds, scale * p.value) for p in c if p.seconds == p.seconds] for c in own])
        for name, own in curves.items()
    }
    panels = {x: steps, SECONDS: clocks}
    return {name: {group: band for group, band in of_group.items() if band.x} for name, of_group in panels.items()}


def _ends(bands: dict[str, Band], unit: str = "", format: str = ".2f") -> str:
    return ", ".join(f"{name} {band.mean[-1]:{format}}{unit}" for name, band in bands.items())
