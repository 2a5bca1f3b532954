"""Runs that may be compared, side by side, and the seeds of one method, together."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import InputError
from ..quantity import ACCURACY, Quantity, of_result
from .lineage import Lineage, lineages, matters, reads_table, table_of
from .summaries import RunSummary, exact

SIZES = ("cells", "channels", "execution", "auxiliary", "partial_channels")  # of a space: not what can be found
SET = ("_target_", "source", "image_column", "label_column", "test_split", "image_size", "grey")  # which images
METHOD = ("method", "architect", "strategy")  # group_by of these is the method's name
LONGEST = 40  # characters of a label that names settings
NOTHING = "not set"
OF_TRAINING = "retrain:"  # before the name of a setting of a training


@dataclass(eq=False)
class Group:
    """One method with one setting, over seeds.

    Args:
        method: An architect's or a strategy's name.
        label: The group's name in tables and pictures.
        lineages: Those that finished.
        missing: Those that did not.
        merged: Settings that differ inside the group.
        settings: Those in which the groups of this method differ, with their values cut to a readable length.
        lettered: Whether a letter in the label replaces these settings.
    """

    method: str
    label: str
    lineages: list[Lineage]
    missing: list[Lineage] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)
    settings: Mapping[str, str] = field(default_factory=dict)
    lettered: bool = False


@dataclass(eq=False)
class Section:
    """Groups of one space and one set of images (or one table), which may be compared.

    Args:
        heading: Names the space and the images.
        groups: At least one.
        tabular: Whether the accuracies come from a benchmark table, not from trainings.
        metric: What the runs measured last: the trainings, where there are any.
    """

    heading: str
    groups: list[Group]
    tabular: bool
    metric: Quantity = ACCURACY

    @property
    def searched(self) -> list[Quantity]:
        """What the searches and baselines measured, each once, `metric` first if it is among them."""
        heads = [lineage.head for group in self.groups for lineage in group.lineages if lineage.head]
        return sorted(dict.fromkeys(of_result(head.result) for head in heads), key=lambda one: one != self.metric)


class LeftOut(NamedTuple):
    """A run whose numbers are in no table.

    Args:
        path: The run's folder or file.
        status: As in `RunSummary`, or `repetition`.
        reason: Why its numbers are left out; "" where the run recorded none.
    """

    path: str
    status: str
    reason: str


def sections(summaries: Sequence[RunSummary], group_by: Sequence[str] = ()) -> tuple[list[Section], list[LeftOut]]:
    """Sort runs into sections, and those into groups.

    Args:
        summaries: Runs of any kind.
        group_by: Settings by dotted name; `method`, `architect` and `strategy` mean the method. Without it each method
            is a group, or each combination of the settings in which the method's runs differ.

    Returns:
        The sections, and the runs that are in no table.

    Raises:
        InputError: For a setting that no run has.
    """
    kept, repeated = lineages(summaries)
    _check_names(group_by, kept)
    places: dict[str, list[Lineage]] = {}
    for lineage in kept:
        places.setdefault(exact(place(lineage)), []).append(lineage)
    headings = _headings([place(members[0]) for members in places.values()])
    found = [
        Section(heading, _groups(members, group_by), _from_table(members[0]), metric_of(members[0]))
        for heading, members in zip(headings, places.values(), strict=True)
    ]
    others = [LeftOut(str(r.path), r.status, r.reason) for r in summaries if not r.finished]
    others += [
        LeftOut(str(r.path), r.status, "not a run of this package") for r in summaries if r.finished and not r.kind
    ]
    others += [LeftOut(str(summary.path), "repetition", reason) for summary, reason in repeated.items()]
    return found, others


def place(lineage: Lineage) -> dict[str, Any]:
    """What two lineages must share to be compared: the space without its sizes, the last metric and its images."""
    last = lineage.summaries[-1]
    metric = metric_of(lineage)
    space: dict[str, Any] = {} if metric == ACCURACY else {"metric": metric.label}
    space |= {n: v for n, v in last.settings.items() if n.startswith("space.") and n.split(".")[1] not in SIZES}
    if _from_table(lineage):
        return {**space, **{f"table.{name}": value for name, value in table_of(last).items()}}
    data = {f"data.{name}": last.settings[f"data.{name}"] for name in SET if f"data.{name}" in last.settings}
    return {**space, **data}


def metric_of(lineage: Lineage) -> Quantity:
    """Return what a lineage measured last."""
    return of_result(next((one.result for one in reversed(lineage.summaries) if one.result), {}))


def varying(settings: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Find each setting that is not the same in all, with its different values in their order."""
    every = list(settings)
    names = dict.fromkeys(name for one in every for name in one)
    values = {name: [value_of(one, name) for one in every] for name in names}
    return {name: [v for i, v in enumerate(own) if v not in own[:i]] for name, own in values.items() if _differ(own)}


def value_of(settings: Mapping[str, Any], name: str) -> Any:
    """Return a setting's value; its `_target_` where it has settings of its own.

    Args:
        settings: Of a run, by dotted name.
        name: Dotted name of the setting.

    Returns:
        The value; NOTHING where there is no such setting.
    """
    return settings.get(name, settings.get(f"{name}._target_", NOTHING))


def shown(value: Any) -> str:
    """A setting's value, short."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    text = text.rpartition(".")[2] if text.startswith("oneshot.") else text
    return text if len(text) <= 60 else f"{text[:57]}..."


def images(settings: Mapping[str, Any]) -> str:
    """Name the images, or the table, of these settings or this place; of a folder its last name."""
    if "table.table" in settings:
        name = settings["table.table"]
        if name is None:
            return f"the published table, {shown(settings['table.dataset'])}, {shown(settings['table.epochs'])} epochs"
        return f"table {shown(name)}, {shown(settings['table.dataset'])}"
    source = settings.get("data.source") or str(settings.get("data._target_", "unknown images")).rpartition(".")[2]
    is_path = isinstance(source, str) and source.startswith(("/", "./", "../", "~"))
    return shown(source.rstrip("/").rpartition("/")[2] if is_path else source)


def _from_table(lineage: Lineage) -> bool:
    return not lineage.trainings and lineage.head is not None and reads_table(lineage.head)


def _differ(values: Sequence[Any]) -> bool:
    return any(value != values[0] for value in values)


def _headings(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Space and images, and what tells sections of one kind of space apart."""
    headings = []
    for one in found:
        alike = [other for other in found if other.get("space._target_") == one.get("space._target_")]
        apart = [name for name in varying(alike) if name.startswith("space.")]
        space = shown(str(one.get("space._target_", "an unknown space")).rpartition(".")[2])
        settings = ", ".join(f"{n.removeprefix('space.')}={shown(one[n])}" for n in apart if n in one)
        by = f", by {one['metric']}" if "metric" in one else ""
        headings.append(f"{space}{f' ({settings})' if settings else ''} on {images(one)}{by}")
    return [h if headings.count(h) == 1 else f"{h}, {i}" for i, h in enumerate(headings, 1)]


def _check_names(group_by: Sequence[str], found: Sequence[Lineage]) -> None:
    known = {name for lineage in found for summary in lineage.summaries for name in summary.settings} | set(METHOD)
    for name in group_by:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"group_by={name}: no run has this setting{hint}")


def _groups(members: Sequence[Lineage], group_by: Sequence[str]) -> list[Group]:
    methods: dict[str, list[Lineage]] = {}
    for lineage in members:
        methods.setdefault(lineage.method, []).append(lineage)
    groups: list[Group] = []
    for method, own in methods.items():
        by_key = _by_names(own, group_by) if group_by else _by_differences(own)
        labels = [" ".join([method, *(f"{setting.name}={setting.shown}" for setting in key)]) for key in by_key]
        too_long, alike_cut = any(len(label) > LONGEST for label in labels), len(set(labels)) < len(labels)
        lettered = len(labels) > 1 and (too_long or alike_cut)
        for n, (key, alike) in enumerate(by_key.items()):
            label = f"{method} {_letter(n)}" if lettered else labels[n]
            finished = [lineage for lineage in alike if lineage.finished]
            missing = [lineage for lineage in alike if not lineage.finished]
            merged = list(varying(_all_settings(lineage) for lineage in finished)) if group_by else []
            settings = {setting.name: setting.shown for setting in key}
            groups.append(Group(method, label, finished, missing, merged, settings, lettered))
    return groups


def _letter(n: int) -> str:
    """A, B, ... Z, A2, B2 ..."""
    return chr(ord("A") + n % 26) + (str(n // 26 + 1) if n >= 26 else "")


class _Setting(NamedTuple):
    """A part of a group's label. value: exact, where what is shown may be cut."""

    name: str
    shown: str
    value: str


Key = tuple[_Setting, ...]


def _by_names(members: Sequence[Lineage], names: Sequence[str]) -> dict[Key, list[Lineage]]:
    groups: dict[Key, list[Lineage]] = {}
    for lineage in members:
        values = {name: value for summary in reversed(lineage.summaries) for name, value in summary.settings.items()}
        groups.setdefault(_key(values, [name for name in names if name not in METHOD]), []).append(lineage)
    return groups


def _by_differences(members: Sequence[Lineage]) -> dict[Key, list[Lineage]]:
    """One method's lineages by the settings in which they differ: those of the search, then those of the training.

    What was searched alike, but was trained by one setting only, or not at all, is one group.
    """
    heads = {lineage: matters(lineage.head) for lineage in members if lineage.head}
    trainings = {lineage: matters(lineage.trainings[0]) for lineage in members if lineage.trainings}
    differing = [name for name in varying(heads.values()) if name != "supernet" or not _one_a_seed(members)]
    differing_trainings = list(varying(trainings.values()))
    searched = {lineage: _key(heads.get(lineage, {}), differing) for lineage in members}
    trained = {lineage: _key(own, differing_trainings, OF_TRAINING) for lineage, own in trainings.items()}
    groups: dict[Key, list[Lineage]] = {}
    for lineage in members:
        kinds = {key for other, key in trained.items() if searched[other] == searched[lineage]}
        only = kinds.pop() if len(kinds) == 1 else ()
        groups.setdefault(searched[lineage] + trained.get(lineage, only), []).append(lineage)
    return groups


def _key(settings: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> Key:
    values = {name: value_of(settings, name) for name in names}
    return tuple(_Setting(f"{prefix}{name}", shown(value), exact(value)) for name, value in values.items())


def _one_a_seed(members: Sequence[Lineage]) -> bool:
    """Whether every seed had one supernet: each supernet then belongs to its seed, as everything that it draws."""
    supernets: dict[Any, set[str]] = {}
    for lineage in members:
        supernets.setdefault(lineage.first.seed, set()).add(str(lineage.first.settings.get("supernet")))
    return all(len(names) == 1 for names in supernets.values())


def _all_settings(lineage: Lineage) -> dict[str, Any]:
    """Those of the search by their names, those of the training with a prefix."""
    trained = {f"{OF_TRAINING}{name}": v for summary in lineage.trainings[:1] for name, v in matters(summary).items()}
    return {**(matters(lineage.head) if lineage.head else {}), **trained}
