"""Runs that may be compared, side by side, and the seeds of one method, together."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..errors import InputError
from .lineage import Lineage, lineages, matters, reads_table, table_of
from .summaries import RunSummary, exact

SIZES = ("cells", "channels", "execution", "auxiliary")  # of a space: not what can be found
SET = ("_target_", "source", "image_column", "label_column", "test_split", "image_size", "grey")  # which images
METHOD = ("method", "architect", "strategy")  # group_by of these is the method's name
LONGEST = 40  # characters of a label that names settings
NOTHING = "nothing"
OF_TRAINING = "retrain:"  # before the name of a setting of a training


@dataclass(eq=False)
class Group:
    """One method under one setting, over seeds. missing: those that did not finish.

    settings: those in which the groups of this method differ, short. lettered: whether the label is a letter for them.
    """

    method: str
    label: str
    lineages: list[Lineage]
    missing: list[Lineage] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)  # settings that differ inside
    settings: Mapping[str, str] = field(default_factory=dict)
    lettered: bool = False


@dataclass(eq=False)
class Section:
    """Groups of one space and one set of images (or one table), which may be compared."""

    heading: str
    groups: list[Group]
    tabular: bool


class LeftOut(NamedTuple):
    """A run whose numbers are in no table."""

    path: str
    status: str
    reason: str


def sections(records: Sequence[RunSummary], group_by: Sequence[str] = ()) -> tuple[list[Section], list[LeftOut]]:
    """The sections, and the runs that are in no table.

    group_by: settings, dotted; method, architect and strategy stand for the method. Without it each method and, where
    a method's runs differ in settings, each combination of these is a group. Raises InputError for an unknown setting.
    """
    kept, repeated = lineages(records)
    _check_names(group_by, kept)
    places: dict[str, list[Lineage]] = {}
    for lineage in kept:
        places.setdefault(exact(place(lineage)), []).append(lineage)
    headings = _headings([place(members[0]) for members in places.values()])
    found = [
        Section(heading, _groups(members, group_by), _from_table(members[0]))
        for heading, members in zip(headings, places.values(), strict=True)
    ]
    others = [LeftOut(str(r.path), r.status, r.reason) for r in records if not r.finished]
    others += [
        LeftOut(str(r.path), r.status, "a run of none of the scripts") for r in records if r.finished and not r.kind
    ]
    others += [LeftOut(str(record.path), "repetition", reason) for record, reason in repeated.items()]
    return found, others


def place(lineage: Lineage) -> dict[str, Any]:
    """What two lineages must share to be compared: the space but for its sizes, and the images of the last accuracy."""
    last = lineage.records[-1]
    space = {n: v for n, v in last.settings.items() if n.startswith("space.") and n.split(".")[1] not in SIZES}
    if _from_table(lineage):
        return {**space, **{f"table.{name}": value for name, value in table_of(last).items()}}
    data = {f"data.{name}": last.settings[f"data.{name}"] for name in SET if f"data.{name}" in last.settings}
    return {**space, **data}


def varying(settings: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Each setting that is not the same in all, with its different values in their order."""
    every = list(settings)
    names = dict.fromkeys(name for one in every for name in one)
    values = {name: [value_of(one, name) for one in every] for name in names}
    return {name: [v for i, v in enumerate(own) if v not in own[:i]] for name, own in values.items() if _differ(own)}


def value_of(settings: Mapping[str, Any], name: str) -> Any:
    """A setting's value; of a node that has settings of its own what it is; NOTHING where it is none."""
    return settings.get(name, settings.get(f"{name}._target_", NOTHING))


def shown(value: Any) -> str:
    """A setting's value, short."""
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    text = text.rpartition(".")[2] if text.startswith("oneshot.") else text
    return text if len(text) <= 60 else f"{text[:57]}..."


def images(settings: Mapping[str, Any]) -> str:
    """Which images, or which table, these settings or this place name."""
    if "table.table" in settings:
        return f"table {shown(settings['table.table'])}, {shown(settings['table.dataset'])}"
    return shown(settings.get("data.source") or str(settings.get("data._target_", "unknown images")).rpartition(".")[2])


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
        headings.append(f"{space}{f' ({settings})' if settings else ''} on {images(one)}")
    return [h if headings.count(h) == 1 else f"{h}, {i}" for i, h in enumerate(headings, 1)]


def _check_names(group_by: Sequence[str], found: Sequence[Lineage]) -> None:
    known = {name for lineage in found for record in lineage.records for name in record.settings} | set(METHOD)
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
        values = {name: value for record in reversed(lineage.records) for name, value in record.settings.items()}
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
    """Of the search by their names, of the training behind a word."""
    trained = {f"{OF_TRAINING}{name}": v for record in lineage.trainings[:1] for name, v in matters(record).items()}
    return {**(matters(lineage.head) if lineage.head else {}), **trained}
