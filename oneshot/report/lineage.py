"""From a search to its training: which run trained what another one found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oneshot.report.records import Record, exact

RANDOM = "random"
RECORDING = ("out", "debug", "logger", "resume", "checkpoint", "log_every", "runs")  # change no number but the clock's
TRAINING = ("architect", "schedule", "selection", "weights", "epochs", "trainer")  # of a supernet, to a baseline


@dataclass(frozen=True, eq=False)
class Lineage:
    """A search or baseline and the trainings, alike but for their seed, of what it found.

    head: None where an architecture was trained that none of the runs found.
    """

    head: Record | None
    trainings: tuple[Record, ...] = ()

    @property
    def records(self) -> list[Record]:
        return [record for record in (self.head, *self.trainings) if record]

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def trained(self) -> list[Record]:
        """The trainings that have finished."""
        return [record for record in self.trainings if record.finished]

    @property
    def finished(self) -> bool:
        return self.head.finished if self.head else bool(self.trained)

    @property
    def damaged(self) -> bool:
        return any(record.damaged for record in self.records)

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


def matters(record: Record) -> dict[str, Any]:
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


def trains(record: Record) -> bool:
    """Whether a baseline trains each architecture that it asks for."""
    return str(record.settings.get("estimator._target_")).endswith(".Training")


def reads_table(record: Record) -> bool:
    """Whether a baseline's accuracies on test images come from a table."""
    return record.kind == "baseline" and table_of(record) != {}


def table_of(record: Record) -> dict[str, Any]:
    """Table and data set that a baseline reads, or is compared with."""
    for group in ("estimator", "reference"):
        if str(record.settings.get(f"{group}._target_")).endswith(".Tabular"):
            return {name: record.settings.get(f"{group}.{name}") for name in ("table", "dataset")}
    return {}


def lineages(records: Sequence[Record]) -> list[Lineage]:
    """Searches and baselines with the trainings of what they found, then trainings of what none of them found.

    One whose trainings have several settings comes once for each. What a table says of a baseline's architecture
    is one lineage, what trainings say of it another.
    """
    heads = {record.path.resolve(): record for record in records if record.kind in ("search", "baseline")}
    children: dict[Path, list[Record]] = {path: [] for path in heads}
    orphans: list[Record] = []
    for record in records:
        if record.kind == "retrain":
            path = parent(record, heads)
            (orphans if path is None else children[path]).append(record)
    found: list[Lineage] = []
    for path, head in heads.items():
        kinds: dict[str, dict[Any, Record]] = {}
        for child in children[path]:
            alike = kinds.setdefault(exact(matters(child)), {})
            if not (child.seed in alike and alike[child.seed].finished):
                alike[child.seed] = child
        if reads_table(head) or not kinds:
            found.append(Lineage(head))
        found += [Lineage(head, tuple(alike.values())) for alike in kinds.values()]
    return found + [Lineage(None, (record,)) for record in orphans]


def parent(training: Record, heads: Mapping[Path, Record]) -> Path | None:
    """Which of these found what a training trained: by its path, else the only one with the same decisions.

    A relative path is one from here or from a folder above the training.
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
                return path
        elif path.exists():
            return None
    alike = [path for path, head in heads.items() if decided and head.result.get("architecture") == decided]
    return alike[0] if len(alike) == 1 else None
