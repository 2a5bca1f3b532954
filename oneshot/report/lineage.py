"""From a search to its training: which run trained what another one found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .summaries import RunSummary, exact

RANDOM = "random"
RECORDING = ("out", "debug", "logger", "resume", "checkpoint", "log_every", "runs")  # change no number but the clock's
TRAINING = ("architect", "schedule", "selection", "weights", "epochs", "trainer")  # of a supernet, to a baseline


@dataclass(frozen=True, eq=False)
class Lineage:
    """A search or baseline and the trainings, alike but for their seed, of what it found.

    head: None where an architecture was trained that none of the runs found.
    """

    head: RunSummary | None
    trainings: tuple[RunSummary, ...] = ()

    @property
    def records(self) -> list[RunSummary]:
        return [record for record in (self.head, *self.trainings) if record]

    @property
    def first(self) -> RunSummary:
        return self.records[0]

    @property
    def trained(self) -> list[RunSummary]:
        """The trainings that have finished."""
        return [record for record in self.trainings if record.finished]

    @property
    def finished(self) -> bool:
        return self.head.finished if self.head else bool(self.trained)

    @property
    def method(self) -> str:
        if self.head:
            return self.head.method
        origin = str(self.first.settings.get("architecture"))
        return RANDOM if origin == RANDOM else f"architecture {origin[-60:]}"

    @property
    def identity(self) -> str:
        """Of two with the same method and settings, seed included, one is a repetition."""
        return exact([self.method, exact(matters(self.first)), self.first.seed])


def matters(record: RunSummary) -> dict[str, Any]:
    """The settings that can change what a run finds, but for its seed and for the architecture that it trained."""
    settings = {}
    own_supernet = (record.path / "supernet").is_dir()
    for name, value in record.settings.items():
        first, last = name.partition(".")[0], name.rpartition(".")[2]
        if first in RECORDING or last in ("seed", "threads") or (record.kind == "retrain" and first == "architecture"):
            continue
        of_training = first in TRAINING or name == "data.batch_size" or name.startswith("data.augmentation")
        if record.kind == "baseline" and of_training and not own_supernet and not trains(record):
            continue
        settings[name] = value
    return settings


def trains(record: RunSummary) -> bool:
    """Whether a baseline trains each architecture that it asks for."""
    return str(record.settings.get("estimator._target_")).endswith(".Training")


def reads_table(record: RunSummary) -> bool:
    """Whether a baseline's accuracies on test images come from a table."""
    return record.kind == "baseline" and table_of(record) != {}


def table_of(record: RunSummary) -> dict[str, Any]:
    """Table and data set that a baseline reads, or is compared with."""
    for group in ("estimator", "reference"):
        if str(record.settings.get(f"{group}._target_")).endswith(".Tabular"):
            return {name: record.settings.get(f"{group}.{name}") for name in ("table", "dataset")}
    return {}


def lineages(records: Sequence[RunSummary]) -> tuple[list[Lineage], dict[RunSummary, str]]:
    """Searches and baselines with the trainings of what they found, then trainings of what none of them found.

    One whose trainings have several settings comes once for each. What a table says of a baseline's architecture
    is one lineage, what trainings say of it another. Of several runs with the same settings and seed one counts, with
    the trainings of all that found the same; the finished ones that do not count come second, each with the reason.
    """
    heads = {record.path.resolve(): record for record in records if record.kind in ("search", "baseline")}
    trainings = [(record, parent(record, heads)) for record in records if record.kind == "retrain"]
    counts = _counting(heads.values(), lambda head: Lineage(head).identity)
    left = _repetitions(counts)
    children: dict[RunSummary, list[RunSummary]] = {head: [] for head in counts.values()}
    orphans: list[RunSummary] = []
    for training, own in trainings:
        if own is None:
            orphans.append(training)
            continue
        head = counts[own]
        if _found(head) == _found(own):
            children[head].append(training)
        elif training.finished:
            left[training] = f"trained what {own.path} found, a repetition of {head.path}, which found another"
    found: list[Lineage] = []
    for head, own_trainings in children.items():
        kinds: dict[str, list[RunSummary]] = {}
        for training in own_trainings:
            kinds.setdefault(exact(matters(training)), []).append(training)
        if reads_table(head) or not kinds:
            found.append(Lineage(head))
        for alike in kinds.values():
            seeds = _counting(alike, lambda training: training.seed)
            left |= _repetitions(seeds)
            found.append(Lineage(head, tuple(dict.fromkeys(seeds.values()))))
    alone = _counting(orphans, lambda training: exact([Lineage(None, (training,)).identity, _found(training)]))
    left |= _repetitions(alone)
    return found + [Lineage(None, (training,)) for training in dict.fromkeys(alone.values())], left


def _found(record: RunSummary) -> tuple[Any, Any]:
    """What a run found or trained, as its result says it."""
    return record.result.get("architecture"), record.result.get("notation")


def _counting(records: Iterable[RunSummary], key: Callable[[RunSummary], str]) -> dict[RunSummary, RunSummary]:
    """Each record with the one of its key that counts: a finished one before others, a whole one before a damaged."""
    every = list(records)
    best: dict[str, RunSummary] = {}
    for record in sorted(every, key=lambda record: (not record.finished, bool(record.damaged))):
        best.setdefault(key(record), record)
    return {record: best[key(record)] for record in every}


def _repetitions(counts: Mapping[RunSummary, RunSummary]) -> dict[RunSummary, str]:
    return {
        record: f"same settings and seed as {other.path}"
        for record, other in counts.items()
        if record.finished and record is not other
    }


def parent(training: RunSummary, heads: Mapping[Path, RunSummary]) -> RunSummary | None:
    """Which of these found what a training trained: by its path, else the only one with the same decisions.

    A relative path is one from here or from a folder above the training. Repetitions of one search are as one.
    """
    name, decided = training.settings.get("architecture"), training.result.get("architecture")
    if not isinstance(name, str) or name in ("", RANDOM) or "\0" in name:
        return None
    for base in (Path(), *training.path.resolve().parents):
        path = (base / name).resolve()
        path = path.parent if path.suffix == ".json" else path
        if path in heads:
            found = heads[path].result.get("architecture")
            if decided is None or found == decided:
                return heads[path]
        elif path.exists():
            return None
    alike = [head for head in heads.values() if decided and head.result.get("architecture") == decided]
    return alike[0] if len({Lineage(head).identity for head in alike}) == 1 else None
