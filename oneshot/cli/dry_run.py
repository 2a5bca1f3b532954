"""The time and the memory of a search, predicted from a short one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from omegaconf import DictConfig, open_dict

from ..fitting.progress import clock
from ..schedule import Plan
from .pace import Pace, Planned, Timed, times_of

EPOCHS = 3  # of the short search, if it has one stage
BATCHES = 6  # of an epoch of the short search, at most


class Part(NamedTuple):
    """A part of a search.

    Args:
        name: For readers.
        number: How often it comes.
        seconds: Of all of them.
    """

    name: str
    number: int
    seconds: float


@dataclass
class Measured:
    """What a short search took.

    Args:
        updates: The stage, the kind and the seconds of each update; the first ones of epochs only where a kind has no
            other in its stage.
        ends: Seconds of the ends of epochs, by stage: what is measured there.
        begins: Seconds that the first update of an epoch took more than others, by stage: among them a checkpoint.
        once: Other seconds: the start, the beginnings of stages, the selection, pictures.
    """

    updates: list[Timed] = field(default_factory=list)
    ends: dict[int, list[float]] = field(default_factory=dict)
    begins: dict[int, list[float]] = field(default_factory=dict)
    once: float = 0.0


def shortened(config: DictConfig, fewest: int, batches: int) -> DictConfig:
    """Return the settings of the short search.

    Args:
        config: The settings of the command.
        fewest: Epochs that give each of several stages at least one; 1 for one stage.
        batches: Batches in an epoch of the whole search.
    """
    short = config.copy()
    with open_dict(short):
        short.epochs = fewest if fewest > 1 else min(config.epochs, EPOCHS)
        short.epoch_batches = min(batches, BATCHES)
        short.schedule.warmup_epochs = min(1, config.schedule.warmup_epochs)
        short.logger, short.log_every = None, 1
    return short


def stages_of(plan: Plan) -> list[int]:
    """Return the number of the stage of each epoch.

    Args:
        plan: The plan of a search.
    """
    return [number for number, (epochs, _) in enumerate(plan.stages) for _ in range(epochs)]


def measured(folder: Path, short: Planned, batches: int, seconds: float) -> Measured:
    """Read what a short search took.

    Args:
        folder: The short search, finished, with `log_every=1`.
        short: Its plan.
        batches: Batches in its epochs.
        seconds: Of all of it.
    """
    found, rows, known, stages = Measured(), times_of(folder, "seconds"), short.updates(batches), stages_of(short.plan)
    firsts: dict[int, Timed] = {}
    for (before, then), (step, now) in pairwise(rows):
        epoch, kind = known[step - 1]
        update = stages[epoch], kind, now - then
        if step == before:
            found.ends.setdefault(stages[epoch], []).append(now - then)
        elif step == 1 or known[step - 2][0] < epoch:
            firsts[epoch] = update
        else:
            found.updates.append(update)
    known_kinds = {update[:2] for update in found.updates}
    found.updates += [update for update in firsts.values() if update[:2] not in known_kinds]
    medians = Pace(0.0, found.updates).of_epoch
    found.once = rows[0][1] + seconds - rows[-1][1]
    for epoch, (stage, kind, spent) in firsts.items():
        more = max(0.0, spent - medians[stage, kind])
        if epoch and stages[epoch - 1] == stage:
            found.begins.setdefault(stage, []).append(more)
        else:
            found.once += more
    return found


def predicted(short: Measured, whole: Planned, batches: int) -> list[Part]:
    """Return the parts of a search.

    Args:
        short: What a short one took.
        whole: The plan of the whole search.
        batches: Batches in its epochs.
    """
    pace, stages = Pace(0.0, short.updates), stages_of(whole.plan)
    numbers = Counter((stages[epoch], kind) for epoch, kind in whole.updates(batches))
    parts = []
    for kind in sorted({kind for _, kind in numbers}, reverse=True):
        own = {key: number for key, number in numbers.items() if key[1] == kind}
        parts.append(Part(f"{kind} updates", sum(own.values()), pace.seconds(own)))
    ends = sum(_mean(short.ends, stage) + _mean(short.begins, stage) for stage in stages)
    return [*parts, Part("ends of epochs", len(stages), ends), Part("start and end", 1, short.once)]


def _mean(seconds: Mapping[int, list[float]], stage: int) -> float:
    return mean(seconds.get(stage, [0.0]))


def lines(parts: list[Part], memory: int, early: bool) -> list[str]:
    """Return what is said.

    Args:
        parts: The parts of the search.
        memory: Bytes that the short search took at most.
        early: Whether a rule may end the search before all its epochs.
    """
    total = sum(part.seconds for part in parts)
    rows = [
        f"  {part.name:<22} {part.number:>9,} {clock(part.seconds):>10}   {part.seconds / part.number:.3g} s each"
        for part in parts
    ]
    at_most = "at most " if early else ""
    said = [f"dry run: this search takes {at_most}about {clock(total)} ({total:.0f} s) here", *rows]
    said += ["stop: the rule may end it earlier"] if early else []
    return [*said, f"peak memory: about {memory / 2**20:,.0f} MiB", "nothing was written"]
