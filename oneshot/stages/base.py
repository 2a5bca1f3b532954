"""Stages of a search: at the border of two, candidates are left out and the supernet may change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from ..architects.base import Architect
from ..architecture import Gates
from ..errors import InputError, check_boolean, check_integer, check_range
from ..schedule import Plan, Schedule
from ..spaces.base import SearchSpace
from ..tasks import Metric

MANY = 100_000  # epochs up to which a number that is enough is looked for


class Narrowed(Protocol):
    """A search as its narrowing sees it, at the border of two stages."""

    space: SearchSpace
    architect: Architect
    metric: Metric
    seed: int
    stages: "Stages"

    def gates_of(self, batch: int) -> Gates:
        """Return the gates under which the supernet is measured on a batch of the architecture part."""

    def evaluate(self, gates: Callable[[int], Gates]) -> dict[str, float]:
        """Return loss and metric of the supernet on the architecture part, under the gates of each batch."""


class Narrowing(Protocol):
    """Decides at the border of two stages which candidates are left."""

    def check(self, search: Narrowed) -> None:
        """Raise InputError before the search if it cannot decide for it."""

    def __call__(self, search: Narrowed) -> Tensor:
        """Return the candidates that are left, (choices, candidates) of bool; at least one in each row."""


@dataclass(frozen=True)
class Stage:
    """A stage of a search.

    Args:
        share: Its share of the epochs, in proportion to those of the other stages.
        warmup: Share of its epochs that are weight steps alone, at its start.
        keep: Which candidates are left at its start: a number for each choice, of those with the largest scores; or a
            `Narrowing`, which decides. None: all.
        depth: Cells of its supernet, as a multiple of those of the space.
        partial_channels: k of partial channels in its supernet, as in PC-DARTS. None: that of the space.
        restart: Whether weights, architecture parameters, their optimizers and the learning rate start anew.
            Otherwise they go on. Where the candidates then see more channels than in the stage before, their kernels
            are widened.
        learning_rate: If given, the optimizer of the weights starts anew, with this multiple of its learning rate.
        skip_dropout: Rate of the dropout after skip connections, at its first step. It falls over its epochs.

    Raises:
        InputError: If a setting is out of range.
    """

    share: float = 1.0
    warmup: float = 0.0
    keep: int | Narrowing | None = None
    depth: float = 1.0
    partial_channels: int | None = None
    restart: bool = False
    learning_rate: float | None = None
    skip_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_range("stages.share", self.share, 0.0, open_low=True)
        check_range("stages.warmup", self.warmup, 0.0, 1.0)
        if not callable(self.keep) and self.keep is not None:
            check_integer("stages.keep", self.keep, 1)
        check_range("stages.depth", self.depth, 0.0, open_low=True)
        if self.partial_channels is not None:
            check_integer("stages.partial_channels", self.partial_channels, 1)
        check_boolean("stages.restart", self.restart)
        if self.learning_rate is not None:
            check_range("stages.learning_rate", self.learning_rate, 0.0, open_low=True)
        check_range("stages.skip_dropout", self.skip_dropout, 0.0, 1.0)

    @property
    def new_rate(self) -> bool:
        """Whether the learning rate of the weights starts anew with it."""
        return self.restart or self.learning_rate is not None

    @property
    def sizes(self) -> tuple[float, int | None]:
        """The sizes of its supernet: `depth` and `partial_channels`."""
        return self.depth, self.partial_channels


class Stages:
    """The stages of a search, and the one that it is in.

    Args:
        stages: The stages. None or empty: one, which is the whole search.
        schedule: How steps alternate. Its warm-up is that of the only stage.

    Raises:
        InputError: If the stages do not fit together.
    """

    def __init__(self, stages: Sequence[Stage] | None, schedule: Schedule) -> None:
        self.all, self.schedule, self.number = tuple(stages or (Stage(),)), schedule, 0
        self.given = bool(stages)
        if not self.given:
            return
        for stage in self.all:
            if not isinstance(stage, Stage):
                raise InputError(f"stages: must hold objects of the class Stage, not {stage!r:.80}")
        if schedule.warmup_epochs:
            raise InputError(
                f"schedule.warmup_epochs={schedule.warmup_epochs}: must be 0 with stages, which have a warmup each"
            )
        if self.all[0].keep is not None:
            raise InputError(f"stages: keep={self.all[0].keep} in the first one; nothing can be left out before it")
        for before, stage in zip(self.all, self.all[1:], strict=False):
            if stage.depth != before.depth and not stage.restart:
                raise InputError(f"stages: depth={stage.depth} after {before.depth} needs restart=true")

    def check(self, space: SearchSpace, architect: Architect) -> None:
        """Check that a space and an architect can have these stages.

        Args:
            space: The space that is searched.
            architect: The architect.

        Raises:
            InputError: If they cannot.
        """
        parts = [space.resized(*stage.sizes) for stage in self.all]
        if self.given and all(stage.warmup == 1 for stage in self.all) and not any(callable(s.keep) for s in self.all):
            raise InputError("stages: warmup=1.0 in each; the architecture would never move")
        if architect.uses_sizes and any(stage.sizes != Stage().sizes for stage in self.all):
            raise InputError(
                f"stages: {', '.join(architect.uses_sizes)} depends on the sizes of the supernet, so no stage can have "
                "a depth or partial_channels of its own"
            )
        if any(stage.keep is not None for stage in self.all) and not architect.narrows:
            architect.restrict(space.mask)  # which says why not
        for stage, old, new in zip(self.all[1:], parts, parts[1:], strict=False):
            k = [getattr(part, "partial_channels", 1) for part in (old, new)]
            if k[1] > k[0] and not stage.restart:
                raise InputError(f"stages: partial_channels={k[1]} after {k[0]} needs restart=true")

    def check_narrowings(self, search: Narrowed) -> None:
        """Let what decides at the borders check a search, before it starts.

        Args:
            search: The search.

        Raises:
            InputError: If one cannot decide for it.
        """
        for stage in self.all:
            if callable(stage.keep):
                stage.keep.check(search)

    def number_after(self, epoch: int, epochs: int) -> int:
        """Return the number of the stage that a search is in after so many epochs.

        Args:
            epoch: Epochs that have ended.
            epochs: Epochs of the whole search.
        """
        return sum(border <= epoch for border in self.borders(epochs)[:-1])

    def ends(self, epoch: int, epochs: int) -> bool:
        """Return whether the present stage ends after so many epochs, and another one follows.

        Args:
            epoch: Epochs that have ended.
            epochs: Epochs of the whole search.
        """
        return self.number + 1 < len(self.all) and self.borders(epochs)[self.number] == epoch

    @property
    def fewest(self) -> int | None:
        """The candidates that are left of each choice at the end, at least; None: all."""
        kept = [1 if callable(stage.keep) else stage.keep for stage in self.all if stage.keep is not None]
        return min(kept, default=None)

    @property
    def now(self) -> Stage:
        """The stage that the search is in."""
        return self.all[self.number]

    def borders(self, epochs: int) -> list[int]:
        """Return the number of epochs that have ended at the end of each stage.

        Args:
            epochs: Epochs of the whole search.

        Raises:
            InputError: If a stage would get no epoch.
        """
        borders = self._rounded(epochs)
        if not self._are_enough(epochs):
            enough = self._enough(epochs + 1)
            smallest = "" if enough is None else f"; with these shares {enough} are enough"
            raise InputError(
                f"epochs={epochs}: too few for {len(self.all)} stages, as each needs at least one{smallest}"
            )
        return borders

    @property
    def fewest_epochs(self) -> int:
        """The epochs with which each stage gets at least one."""
        return self._enough(1) or MANY

    def _enough(self, first: int) -> int | None:
        return next((n for n in range(first, MANY) if self._are_enough(n)), None)

    def _are_enough(self, epochs: int) -> bool:
        borders = [0, *self._rounded(epochs)]
        return all(first < last for first, last in zip(borders, borders[1:], strict=False))

    def _rounded(self, epochs: int) -> list[int]:
        sums = list(accumulate(stage.share for stage in self.all))
        return [round(epochs * share / sums[-1]) for share in sums]

    def plan(self, epochs: int) -> Plan:
        """Return the updates of a search.

        Args:
            epochs: Epochs of the whole search.
        """
        if not self.given:
            return Plan(self.schedule, [(epochs, self.schedule.warmup_epochs)])
        lengths = [last - first for first, last in self._ranges(epochs)]
        warmups = [round(stage.warmup * n) for stage, n in zip(self.all, lengths, strict=True)]
        return Plan(self.schedule, list(zip(lengths, warmups, strict=True)))

    def of_learning_rate(self, epochs: int, number: int | None = None) -> int:
        """Return the epochs over which the learning rate falls: from the last restart to the next one.

        Args:
            epochs: Epochs of the whole search.
            number: Number of the stage; None: the present one.
        """
        now, numbers = self.number if number is None else number, range(len(self.all))
        first = max(n for n in numbers if n <= now and (n == 0 or self.all[n].new_rate))
        last = min((n for n in numbers if n > now and self.all[n].new_rate), default=len(self.all))
        ranges = self._ranges(epochs)
        return ranges[last - 1][1] - ranges[first][0]

    @property
    def factor(self) -> float:
        """What the learning rate of the weights is multiplied with in the present stage."""
        latest = next((stage for stage in reversed(self.all[: self.number + 1]) if stage.new_rate), Stage())
        return 1.0 if latest.learning_rate is None else latest.learning_rate

    def skip_dropout(self, ended: int, epochs: int) -> float:
        """Return the rate of the dropout after skip connections in an epoch, as published for P-DARTS.

        In the warm-up of a stage it falls in a line. Then it starts again from the first rate, and falls by a factor of
        exp(-0.2) an epoch.

        Args:
            ended: Epochs before this one.
            epochs: Epochs of the whole search.
        """
        first, last = self._ranges(epochs)[self.number]
        warmup = round(self.now.warmup * (last - first))
        epoch = ended - first
        if epoch < warmup:
            return self.now.skip_dropout * (last - first - epoch - 1) / (last - first)
        return self.now.skip_dropout * float(torch.tensor(-0.2 * (epoch - warmup), dtype=torch.float64).exp())

    def _ranges(self, epochs: int) -> list[tuple[int, int]]:
        borders = self.borders(epochs)
        return list(zip([0, *borders], borders, strict=False))


def best(scores: Tensor, mask: Tensor, number: int, selectable: Tensor | None = None) -> Tensor:
    """Return the candidates of each choice with the largest scores, as bool (choices, candidates).

    Of equal ones the earlier candidate is kept. A choice with fewer candidates keeps all.

    Args:
        scores: (choices, candidates).
        mask: (choices, candidates) of bool, true for the candidates that there are.
        number: How many of a choice are kept.
        selectable: See `SearchSpace.selectable`: where one candidate is kept, it is one of these. None: all are.
    """
    if number == 1 and selectable is not None:
        mask = mask & selectable.to(mask.device)
    ranked = scores.detach().double().masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    first = torch.arange(mask.shape[1], device=mask.device) < number
    return torch.zeros_like(mask).scatter(1, ranked, first.expand_as(mask)) & mask
