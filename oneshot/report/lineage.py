"""From a search to its training: which run trained what another one found."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..controls import CONTROLS
from .summaries import RunSummary, exact

RECORDING = (  # change no number but the clock's
    *("out", "debug", "pictures", "logger", "resume", "checkpoint", "log_every", "diagnostics", "controls", "runs"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary", "trainer.enable_checkpointing"),
)
TRAINING = ("architect", "schedule", "selection", "weights", "epochs", "trainer")  # of a supernet, to a baseline


@dataclass(frozen=True, eq=False)
class Lineage:
    """A search or a baseline, with the trainings of what it found.

    Args:
        head: The search or baseline. None where an architecture was trained that none of the runs found.
        trainings: They differ in their seed alone.
    """

    head: RunSummary | None
    trainings: tuple[RunSummary, ...] = ()

    @property
    def summaries(self) -> list[RunSummary]:
        """All runs, the head first."""
        return [summary for summary in (self.head, *self.trainings) if summary]

    @property
    def first(self) -> RunSummary:
        """The head, or the first training where there is none."""
        return self.summaries[0]

    @property
    def trained(self) -> list[RunSummary]:
        """The trainings that have finished."""
        return [summary for summary in self.trainings if summary.finished]

    @property
    def finished(self) -> bool:
        """Whether the head finished; without one, whether a training did."""
        return self.head.finished if self.head else bool(self.trained)

    @property
    def method(self) -> str:
        """The head's method; without a head, which architecture was trained."""
        if self.head:
            return self.head.method
        origin = str(self.first.settings.get("architecture"))
        return origin if origin in CONTROLS else f"architecture {origin[-60:]}"

    @property
    def identity(self) -> str:
        """Equal for two with the same method and settings, seed included. One of them is then a repetition."""
        return exact([self.method, exact(matters(self.first)), self.first.seed])


def matters(summary: RunSummary) -> dict[str, Any]:
    """Return the settings that can change what a run finds, without its seed and the architecture that it trained.

    Args:
        summary: Of a run of any kind.

    Returns:
        Settings by dotted name.
    """
    settings = {}
    own_supernet = (summary.path / "supernet").is_dir()
    for name, value in summary.settings.items():
        first, last = name.partition(".")[0], name.rpartition(".")[2]
        if first in RECORDING or name in RECORDING or last in ("seed", "threads"):
            continue
        if summary.kind == "retrain" and first == "architecture":
            continue
        of_training = first in TRAINING or name == "data.batch_size" or name.startswith("data.augmentation")
        if summary.kind == "baseline" and of_training and not own_supernet and not trains(summary):
            continue
        settings[name] = value
    return settings


def trains(summary: RunSummary) -> bool:
    """Return whether a baseline trains each architecture that it asks for.

    Args:
        summary: Of the baseline.
    """
    return str(summary.settings.get("estimator._target_")).endswith(".Training")


def reads_table(summary: RunSummary) -> bool:
    """Return whether a run is a baseline whose accuracies on test images come from a table.

    Args:
        summary: Of a run of any kind.
    """
    return summary.kind == "baseline" and table_of(summary) != {}


def table_of(summary: RunSummary) -> dict[str, Any]:
    """Return the table and the data set that a baseline reads, or is compared with.

    Args:
        summary: Of the baseline.

    Returns:
        The settings `table` and `dataset`, and `epochs` of the package's table; empty where there is no table.
    """
    for group in ("estimator", "reference"):
        if str(summary.settings.get(f"{group}._target_")).endswith(".Tabular"):
            own = {name: summary.settings.get(f"{group}.{name}") for name in ("table", "dataset", "epochs")}
            return own if own["table"] is None else {name: own[name] for name in ("table", "dataset")}
    return {}


def lineages(summaries: Sequence[RunSummary]) -> tuple[list[Lineage], dict[RunSummary, str]]:
    """Join searches and baselines with the trainings of what they found.

    A search comes once for each setting of its trainings. What a table says of a baseline's architecture is one
    lineage, what trainings say of it is another. Of several runs with the same settings and seed one counts, with the
    trainings of all that found the same.

    Args:
        summaries: Runs of any kind.

    Returns:
        The lineages, those without a search or baseline last; and the finished runs that do not count, with the reason.
    """
    heads = {summary.path.resolve(): summary for summary in summaries if summary.kind in ("search", "baseline")}
    trainings = [(summary, parent(summary, heads)) for summary in summaries if summary.kind == "retrain"]
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
            reason = f"trained what {own.path} found, a repetition of {head.path}, which found another"
            left[training] = reason + _damage(training)
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


def _found(summary: RunSummary) -> tuple[Any, Any]:
    """What a run found or trained, as its result says it."""
    return summary.result.get("architecture"), summary.result.get("notation")


def _counting(summaries: Iterable[RunSummary], key: Callable[[RunSummary], str]) -> dict[RunSummary, RunSummary]:
    """Each summary with the one of its key that counts: rather a finished one, rather one without damage."""
    every = list(summaries)
    best: dict[str, RunSummary] = {}
    for summary in sorted(every, key=lambda summary: (not summary.finished, bool(summary.damaged))):
        best.setdefault(key(summary), summary)
    return {summary: best[key(summary)] for summary in every}


def _repetitions(counts: Mapping[RunSummary, RunSummary]) -> dict[RunSummary, str]:
    return {
        summary: f"same settings and seed as {other.path}" + _damage(summary)
        for summary, other in counts.items()
        if summary.finished and summary is not other
    }


def _damage(summary: RunSummary) -> str:
    return f"; damaged: {', '.join(summary.damaged)}" if summary.damaged else ""


def parent(training: RunSummary, heads: Mapping[Path, RunSummary]) -> RunSummary | None:
    """Find the run whose architecture a training trained: by its path, else the only one with the same decisions.

    Args:
        training: Its setting `architecture` names the run. A relative path starts here or at a folder above the
            training.
        heads: Searches and baselines by their resolved folders. Repetitions of one search count as one.

    Returns:
        The run, None where none of these can be told.
    """
    name, decided = training.settings.get("architecture"), training.result.get("architecture")
    if not isinstance(name, str) or name in ("", *CONTROLS) or "\0" in name:
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
