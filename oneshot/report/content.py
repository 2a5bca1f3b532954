"""What a report says: the blocks of its page, from summaries of runs."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import is_number
from ..quantity import ACCURACY, of_result
from ..tables.published import TABLE
from . import differences, figures
from .grouping import Group, LeftOut, Section, images
from .measures import DIAGNOSTICS, MEASURES, QUALITIES, Measure, best, estimator_name, measures
from .page import Block, Heading, Listing, Picture, Table, Text
from .summaries import RunSummary, ended_early

RANKED = {"kendall_tau": "Kendall's tau", "spearman_rho": "Spearman's rho", "precision_at_top_5_percent": "top 5 %"}
MEMORY = (
    "Peak memory is the larger one of search and training: what a GPU's allocator used, or the whole process where "
    "there is no GPU. Jobs of one --multirun share a process, so each of them shows the largest so far."
)
CONTROLLED = (
    "Better than random ones: the share of random architectures that are worse than the found one inside its supernet, "
    "not retrained. Better than the largest: the share of searches. This is no proof; trainings are."
)


def report(
    sections: Sequence[Section],
    left_out: Sequence[LeftOut],
    rankings: Sequence[RunSummary] = (),
    metric: str | None = None,
    against: str = "multiply_accumulates",
    evaluations: Sequence[RunSummary] = (),
) -> Iterator[Block]:
    """Make all blocks of the page.

    Args:
        sections: Groups of runs that may be compared.
        left_out: Runs that are in no table.
        rankings: Finished runs of the command `rank`.
        metric: Which measure sorts the groups and is drawn, of `measures.QUALITIES`. None is the first that a section
            has.
        against: Which cost is drawn, of `measures.COSTS`.
        evaluations: Finished runs of the command `evaluate`.

    Yields:
        The blocks, from top to bottom.
    """
    yield Text(_counts(sections, left_out, rankings, evaluations))
    for number, section in enumerate(sections):
        yield from (_numbered(block, number) for block in _section(section, metric, against))
    if rankings:
        yield from _rankings(rankings)
    if evaluations:
        yield from _evaluations(evaluations)
    if left_out:
        yield Heading("Not in the tables")
        yield Text("These runs do not count in any mean or picture.")
        yield Table("Runs that are not in the tables", ("run", "status", "why"), [tuple(one) for one in left_out])


def _section(section: Section, metric: str | None, against: str) -> Iterator[Block]:
    names, known = [metric] if metric else list(QUALITIES), measures(section.metric, section.searched)
    accuracy = next(
        (known[name] for name in names if any(known[name].values(group) for group in section.groups)), known[names[0]]
    )
    sign = -1 if accuracy.maximize else 1
    section.groups.sort(key=lambda group: math.inf if (mean := accuracy.mean(group)) is None else sign * mean)
    yield Heading(section.heading)
    yield _results(section, accuracy)
    yield from _letters(section)
    yield Listing(list(_notes(section, accuracy)))
    yield Heading("What differs", 3)
    yield Text("The settings in the runs' config.yaml, without those of the methods themselves.")
    alike, apart = differences.shared(section), differences.differing(section)
    nothing = "Nothing else differs." if any(group.settings for group in section.groups) else "Nothing differs."
    yield Listing([*alike, *(apart or [nothing])])
    curves = [(f"Validation {one.label} over time", [*figures.anytime(section, one)]) for one in section.searched]
    pictures: list[tuple[str, Sequence[Block | str]]] = [
        *curves,
        (
            f"{section.metric.label[:1].upper()}{section.metric.label[1:]} against cost",
            [*figures.cost_front(section, accuracy, against), *figures.queried(section, accuracy)],
        ),
        ("Found architectures, of each group's best seed", list(figures.found_cells(section, accuracy))),
        (
            "Architecture probabilities over the search",
            [*figures.entropy(section), *figures.table_ranks(section), *figures.probabilities(section, accuracy)],
        ),
        ("Diagnostics", [*_ends(section), *figures.diagnostics(section)]),
        ("Time and memory", list(figures.spent(section))),
    ]
    for title, own in pictures:
        if own:
            yield Heading(title, 3)
            yield from (Text(one) if isinstance(one, str) else one for one in own)
    yield Heading("Every run", 3)
    yield _every(section)


def _results(section: Section, accuracy: Measure) -> Table:
    """A row a group. Columns that no group has are left out."""
    shown = [
        m
        for m in measures(section.metric, section.searched).values()
        if any(m.values(group) for group in section.groups)
    ]
    names = [_heads(section) if m is MEASURES["updates"] else m.name for m in shown]
    rows = [(group.label, _seeds(group), *(m.text(group) for m in shown)) for group in section.groups]
    winner = best(section.groups, accuracy)
    column = next((n for n, measure in enumerate(shown, 2) if measure.name == accuracy.name), 0)
    bold = {(section.groups.index(winner), column)} if winner else set()
    numbers = frozenset(range(1, len(shown) + 2))
    return Table(f"Results: {section.heading}", ("group", "seeds", *names), rows, numbers, frozenset(bold))


def _letters(section: Section) -> Iterator[Block]:
    """What the letters of groups mean: a column a group, a row a setting in which the method's groups differ."""
    for method in dict.fromkeys(group.method for group in section.groups if group.lettered):
        own = [group for group in section.groups if group.method == method]
        own.sort(key=lambda group: (len(group.label), group.label))
        names = dict.fromkeys(name for group in own for name in group.settings)
        rows = [(name, *(group.settings.get(name, "") for group in own)) for name in names]
        yield Text(f"What the letters of {method} mean: the settings in which its runs differ.")
        yield Table(f"Letters of {method}", ("setting", *(group.label for group in own)), rows)


def _heads(section: Section) -> str:
    """What the budget of these searches is counted in."""
    logged = {lineage.head.log is not None for group in section.groups for lineage in group.lineages if lineage.head}
    return "updates or queries" if len(logged) > 1 else "queries" if logged == {True} else "updates"


def _seeds(group: Group) -> str:
    """How many finished, and what became of the others."""
    failed: dict[str, int] = {}
    for lineage in group.missing:
        status = next(summary.status for summary in lineage.summaries if not summary.finished)
        failed[status] = failed.get(status, 0) + 1
    more = ", ".join(f"{count} {status}" for status, count in failed.items())
    return f"{len(group.lineages)} ({more})" if more else f"{len(group.lineages)}"


def _notes(section: Section, accuracy: Measure) -> Iterator[str]:
    """What a reader must know about the table."""
    what = "Accuracies" if section.metric == ACCURACY else f"Values of the metric ({section.metric.label})"
    yield f"{what} are means over seeds ± half of the 95 % interval (Student's t). Other numbers are means."
    name, winner = accuracy.of_what, best(section.groups, accuracy)
    if winner:
        yield f"Bold: the {name} whose interval lies {'above' if accuracy.maximize else 'below'} all others."
    elif len([group for group in section.groups if accuracy.values(group)]) > 1:
        single = any(len(accuracy.values(group)) == 1 for group in section.groups)
        reason = "a group has only one seed, so it has no interval" if single else "the intervals overlap"
        yield f"No group is shown to be best by {name}: {reason}."
    every = [lineage for group in section.groups for lineage in group.lineages]
    validation = f"Validation {' and '.join(one.label for one in section.searched)}"
    if any(lineage.head and lineage.head.log is None for lineage in every):
        yield f"{validation} of a search: the found architecture with the supernet's weights, not retrained."
    if any(lineage.head and lineage.head.log is not None for lineage in every):
        yield (
            f"{validation} of a baseline: its best architecture's score by its estimator. It is the best of many "
            "scores, so it is too good on average."
        )
    if any(MEASURES["share_beaten"].values(group) for group in section.groups):
        yield CONTROLLED
    tables = [x.head.result.get(TABLE) for x in every if x.head]
    for title in sorted({one for one in tables if isinstance(one, str)}):
        yield f"Rank and test in the table: of the found architecture, not trained here. {title[:80]}."
    if section.tabular:
        yield "Test accuracies come from the table. Sizes are those of the network that the settings describe."
    else:
        bare = [
            group.label for group in section.groups if group.lineages and not any(x.trained for x in group.lineages)
        ]
        if bare and len(bare) < len([group for group in section.groups if group.lineages]):
            yield f"Sizes are those of the trained network. Not trained, so as in the search: {', '.join(bare)}."
    if any(len(lineage.trained) > 1 for lineage in every):
        yield "An architecture that was trained several times counts once, with the mean of its trainings."
    pairs = {(images(x.head.settings), images(x.trained[0].settings)) for x in every if x.head and x.trained}
    for searched, trained in sorted(pairs):
        if searched != trained:
            yield f"Searched on {searched}, trained on {trained}."
    for one in section.searched:
        if one != section.metric:
            yield f"Searched by {one.label}; trained and tested by {section.metric.label}."
    for group in section.groups:
        if group.merged:
            yield f"{group.label}: its runs also differ in {', '.join(group.merged)}; group_by put them together."
    yield from _damaged(summary for x in every for summary in x.summaries)
    if any(MEASURES["peak_memory"].values(group) for group in section.groups):
        yield MEMORY


def _damaged(summaries: Iterable[RunSummary]) -> Iterator[str]:
    damaged = {str(summary.path): summary.damaged for summary in summaries if summary.damaged}
    for path, names in damaged.items():
        yield f"Damaged, and shown as far as it can be read: {', '.join(names)} of {path}."


def _ends(section: Section) -> Iterator[Table]:
    """The diagnostics at the end of the searches, or at the epochs that they kept: a row a group, a column a number."""
    shown = [m for m in DIAGNOSTICS.values() if any(m.values(group) for group in section.groups)]
    rows = [(group.label, *(measure.text(group) for measure in shown)) for group in section.groups]
    rows = [row for row in rows if any(row[1:])]
    if {measure.name for measure in shown} - {DIAGNOSTICS["entropy"].name}:
        columns = ("group", *(measure.name for measure in shown))
        yield Table("Diagnostics of what the searches found", columns, rows, frozenset(range(1, len(columns))))


def _every(section: Section) -> Table:
    """A row a search and its trainings."""
    rows, known = [], measures(section.metric, section.searched)
    columns = [*(name for name in known if name.startswith("validation")), "test", "search_seconds"]
    every = [lineage.head for group in section.groups for lineage in group.lineages if lineage.head]
    some_early = any(ended_early(head.result) for head in every)
    for group in section.groups:
        for lineage in sorted(group.lineages, key=lambda one: one.first.seed.zfill(20)):
            shown = [known[name] for name in columns]
            values = [measure.of(lineage) for measure in shown]
            texts = ["" if v is None else f"{m.scale * v:{m.format}}" for m, v in zip(shown, values, strict=True)]
            head = str(lineage.head.path) if lineage.head else ""
            trained = ", ".join(str(summary.path) for summary in lineage.trained)
            early = [ended_early(lineage.head.result if lineage.head else {})] if some_early else []
            rows.append((group.label, lineage.first.seed, *texts, *early, head, trained))
    heads = [known[name].name.replace("\N{NO-BREAK SPACE}", " ") for name in columns]
    heads += ["ended early"] if some_early else []
    names = ("group", "seed", *heads, "search or baseline", "training")
    title = f"{len(rows)} run{'s' if len(rows) != 1 else ''} of {section.heading}"
    return Table(title, names, rows, frozenset(range(1, 2 + len(columns))), folded=True)


def _rankings(summaries: Sequence[RunSummary]) -> Iterator[Block]:
    """How an estimator, and sizes alone, order random architectures."""
    rows = []
    for summary in summaries:
        agreement = summary.result.get("agreement")
        for side, found in agreement.items() if isinstance(agreement, dict) else ():
            name = _estimator(summary, side) if side == "estimator" else str(side).replace("_", " ")
            values = [_interval(found.get(m) if isinstance(found, dict) else None) for m in RANKED]
            count = str(summary.result.get("architectures", ""))[:12]
            rows.append((str(summary.path), name, _estimator(summary, "reference"), count, *values))
    yield Heading("Rankings")
    yield Text("How far an order of random architectures agrees with a reference: value [95 % bootstrap interval].")
    columns = ("run", "ordered by", "reference", "architectures", *RANKED.values())
    yield Table("Rankings", columns, rows, frozenset(range(3, 7)))
    yield from map(Text, _damaged(summaries))


def _evaluations(summaries: Sequence[RunSummary]) -> Iterator[Block]:
    """What retrained networks reach, and how long a call takes."""
    rows = []
    for summary in summaries:
        result = summary.result
        metric = of_result(result)
        value: Any = result.get(f"test_{metric.name}")
        latency, export = _mapping(result.get("latency")), _mapping(result.get("export"))
        times = {n: _mapping(time).get("median_ms") for n, time in _mapping(latency.get("images")).items()}
        named = [str(result.get(name, ""))[:60] for name in ("run", "device", "precision")]
        tested = metric.text(value) if is_number(value) else ""
        tested += "" if metric == ACCURACY or not tested else f" ({metric.label})"
        median = ", ".join(f"{n[:12]}: {ms:.3f}" for n, ms in times.items() if is_number(ms))
        exported = ", ".join(name[:12] for name in export)
        rows.append((str(summary.path), *named, tested, median, exported))
    yield Heading("Evaluations")
    yield Text("Retrained networks, each on its own device. Latency is the median of a call, by its number of images.")
    columns = ("run", "evaluated", "device", "precision", "test", "latency, ms", "exported")
    yield Table("Evaluations", columns, rows, frozenset({4}))
    yield from map(Text, _damaged(summaries))


def _estimator(summary: RunSummary, node: str) -> str:
    return estimator_name(summary.settings.get(f"{node}._target_", ""))


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value where it is one: it comes from a file."""
    return value if isinstance(value, dict) else {}


def _interval(measure: Any) -> str:
    numbers: list[Any] = [measure.get(n) for n in ("value", "low", "high")] if isinstance(measure, Mapping) else []
    if not numbers or not all(map(is_number, numbers)):
        return ""
    return f"{numbers[0]:.3f} [{numbers[1]:.3f}, {numbers[2]:.3f}]"


def _counts(
    sections: Sequence[Section],
    left_out: Sequence[LeftOut],
    rankings: Sequence[RunSummary],
    evaluations: Sequence[RunSummary],
) -> str:
    groups = [group for section in sections for group in section.groups]
    runs = sum(len(group.lineages) for group in groups)
    parts = []
    if groups:
        parts.append(
            f"{_number(runs, 'finished run')} in {_number(len(groups), 'group')}. A group is a method with one "
            "setting, over all its seeds. A search and the trainings of what it found count as one run."
        )
    apart = [_number(len(rankings), "ranking")] if rankings else []
    apart += [_number(len(evaluations), "evaluation")] if evaluations else []
    parts += [f"{' and '.join(apart)} in tables of their own."] if apart else []
    parts += [f"{_number(len(left_out), 'other run')} did not count: see the end."] if left_out else []
    if len(sections) > 1:
        parts.append("Different spaces and data sets are not compared: each has a section of its own.")
    return " ".join(parts)


def _number(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _numbered(block: Block, number: int) -> Block:
    """Pictures of different sections have different files."""
    if isinstance(block, Picture):
        return replace(block, name=f"{number}-{block.name}")
    return block
