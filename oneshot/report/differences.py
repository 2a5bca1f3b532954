"""What the groups of a section share and in what they differ, for readers who compare them."""

from collections.abc import Mapping, Sequence
from typing import Any

from .grouping import NOTHING, OF_TRAINING, Section, shown, value_of
from .lineage import matters
from .summaries import exact

SEARCHES, TRAININGS = "searches", "trainings"
OWN = ("architect", "strategy", "schedule", "selection")  # what makes a method, and what its label names
BUDGET = (
    *("space.cells", "space.channels", "data.train_size", "data.batch_size", "data.architecture_fraction"),
    *("epochs", "budget.queries", "budget.seconds", "estimator._target_", "trainer.precision"),
)


def shared(section: Section) -> list[str]:
    """Name sizes and budgets that are the same in all groups: a sentence for searches, one for trainings.

    Args:
        section: The groups that are compared.

    Returns:
        At most two sentences.
    """
    lines = []
    for stage, values in _stages(section).items():
        all_of_them = max(map(len, values.values()), default=0)
        common = {name: own for name, own in values.items() if name in BUDGET and len(own) == all_of_them}
        alike = {name: own[0][1] for name, own in common.items() if _alike(own)}
        same = [f"{name}={shown(value)}" for name, value in alike.items() if value is not None]
        if same:
            lines.append(f"Equal in all {stage}: {', '.join(same)}.")
    return lines


def differing(section: Section) -> list[str]:
    """Name each setting that is not the same in all groups that have it, with its values and their groups.

    The settings of the methods themselves are left out, and those that each of these groups has in its name.

    Args:
        section: The groups that are compared.

    Returns:
        A sentence for each setting, those of searches first.
    """
    lines = []
    named = {group.label: group.settings for group in section.groups}
    for stage, values in _stages(section).items():
        prefix = OF_TRAINING if stage == TRAININGS else ""
        for name, own in values.items():
            in_names = all(prefix + name in named[label] for label, _ in own)
            if name.split(".")[0] in OWN or _alike(own) or in_names:
                continue
            by_value: dict[str, tuple[str, list[str]]] = {}
            for label, value in own:
                members = by_value.setdefault(exact(value), (shown(value), []))[1]
                if label not in members:
                    members.append(label)
            parts = [f"{text} in {', '.join(labels)}" for text, labels in by_value.values()]
            lines.append(f"Differs between {stage}: {name} is {'; '.join(parts)}.")
    return lines


def _alike(values: Sequence[tuple[str, Any]]) -> bool:
    return all(value == values[0][1] for _, value in values)


def _stages(section: Section) -> dict[str, dict[str, list[tuple[str, Any]]]]:
    """Stage -> setting -> (group, value) of every finished run in which the setting counts.

    One that a run does not have does not count: another kind of run has other settings.
    """
    rows: dict[str, list[tuple[str, Mapping[str, Any]]]] = {SEARCHES: [], TRAININGS: []}
    for group in section.groups:
        for lineage in group.lineages:
            if lineage.head:
                rows[SEARCHES].append((group.label, matters(lineage.head)))
            rows[TRAININGS] += [(group.label, matters(summary)) for summary in lineage.trained[:1]]
    stages: dict[str, dict[str, list[tuple[str, Any]]]] = {}
    for stage, own in rows.items():
        names = dict.fromkeys(name for _, settings in own for name in settings)
        pairs = {name: [(group, value_of(settings, name)) for group, settings in own] for name in names}
        stages[stage] = {name: [pair for pair in own if pair[1] != NOTHING] for name, own in pairs.items()}
    return stages
