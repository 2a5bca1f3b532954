"""When a search takes which step: the schedule, the updates that it yields, and the step as an architect sees it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from . import draws
from .errors import check_boolean, check_integer


class Step(NamedTuple):
    """The place of one step in a search. Every random draw of an architect is a function of it.

    Args:
        seed: Seed of the search.
        index: Updates before this one. Weight steps and architecture steps both count.
        total: Updates of the whole search.
        draw: 0 for the update itself. An evaluation that needs several draws at one step counts up from 1.
    """

    seed: int
    index: int  # type: ignore[assignment]
    total: int
    draw: int = 0

    def generator(self, stream: str) -> torch.Generator:
        """Return a generator on the host for one named draw of this step.

        Args:
            stream: Name of the draw. Streams with different names are independent.
        """
        return draws.generator(self.seed, f"{stream}/{self.draw}", self.index)


class Update(NamedTuple):
    """One optimizer step of a search.

    Args:
        kind: `"weight"`, `"architecture"` or `"joint"`.
        index: Updates before this one.
        weight: Batches of the weight part that were used before this update.
        architecture: Batches of the architecture part that were used before this update.
    """

    kind: str
    index: int  # type: ignore[assignment]
    weight: int
    architecture: int


@dataclass(frozen=True)
class Schedule:
    """How weight steps and architecture steps alternate.

    After the warm-up the search repeats a cycle: first `architecture_steps`, then `weight_steps`. An architect
    without parameters takes no architecture steps, whatever is given here. An epoch is one pass over the weight
    part, whatever the number of architecture steps.

    Args:
        warmup_epochs: Epochs of weight steps alone, before the first cycle.
        weight_steps: Weight steps of a cycle.
        architecture_steps: Architecture steps of a cycle.
        joint: If true, every step after the warm-up moves weights and architecture parameters by one backward
            pass on the training batch, as in SNAS.

    Raises:
        InputError: If a number is out of range.
    """

    warmup_epochs: int = 0
    weight_steps: int = 1
    architecture_steps: int = 1
    joint: bool = False

    def __post_init__(self) -> None:
        check_integer("schedule.warmup_epochs", self.warmup_epochs, 0)
        check_integer("schedule.weight_steps", self.weight_steps, 1)
        check_integer("schedule.architecture_steps", self.architecture_steps, 0)
        check_boolean("schedule.joint", self.joint)

    def architecture_updates(self, weight: int, batches: int) -> int:
        """Return the number of architecture steps that are done when `weight` weight steps are done.

        Args:
            weight: Weight steps so far.
            batches: Weight steps of an epoch.
        """
        cycles = math.ceil(max(0, weight - self.warmup_epochs * batches) / self.weight_steps)
        return 0 if self.joint else cycles * self.architecture_steps

    def total(self, epochs: int, batches: int) -> int:
        """Return the number of updates of a whole search.

        Args:
            epochs: Epochs of the search.
            batches: Weight steps of an epoch.
        """
        return epochs * batches + self.architecture_updates(epochs * batches, batches)

    def epoch(self, epoch: int, batches: int) -> Iterator[Update]:
        """Yield the updates of one epoch.

        They are a function of the epoch's number alone, so a search can resume anywhere.

        Args:
            epoch: Number of the epoch, from 0.
            batches: Weight steps of an epoch.
        """
        warm = epoch < self.warmup_epochs
        for weight in range(epoch * batches, (epoch + 1) * batches):
            first = self.architecture_updates(weight, batches)
            last = self.architecture_updates(weight + 1, batches)
            for done in range(first, last):
                yield Update("architecture", weight + done, weight, done)
            yield Update("joint" if self.joint and not warm else "weight", weight + last, weight, last)


class Plan:
    """The updates of a whole search: a schedule, in one stage or in several with a warm-up each.

    Args:
        schedule: How steps alternate in each stage.
        stages: (epochs, epochs of the warm-up) of each stage.
    """

    def __init__(self, schedule: Schedule, stages: Sequence[tuple[int, int]]) -> None:
        self.stages = [(epochs, replace(schedule, warmup_epochs=warmup)) for epochs, warmup in stages]

    def total(self, epochs: int, batches: int) -> int:
        """Return the number of updates of the first epochs.

        Args:
            epochs: Their number.
            batches: Weight steps of an epoch.
        """
        total = 0
        for of_stage, schedule in self.stages:
            total += schedule.total(min(epochs, of_stage), batches)
            epochs -= min(epochs, of_stage)
        return total

    def epoch(self, epoch: int, batches: int) -> Iterator[Update]:
        """Yield the updates of one epoch, a function of its number alone.

        Args:
            epoch: Number of the epoch, from 0.
            batches: Weight steps of an epoch.
        """
        first, number = 0, 0
        while number < len(self.stages) - 1 and epoch >= first + self.stages[number][0]:
            first += self.stages[number][0]
            number += 1
        schedule = self.stages[number][1]
        weight, index = first * batches, self.total(first, batches)
        for update in schedule.epoch(epoch - first, batches):
            yield Update(
                update.kind, update.index + index, update.weight + weight, update.architecture + index - weight
            )
