"""The length of each method's searches: the number of batches in an epoch with which a search keeps the budget."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig

from ...errors import InputError
from ...runs.folder import read_json, read_result
from ...spaces import SearchSpace
from ...stages import Stages
from ..composition import inside
from ..objects import make, stages_for
from ..pace import Pace, Planned, times_of
from .budget import PILOT, PILOT_BATCHES, UPDATES, Budget, batches_within
from .jobs import Job, clock_of
from .methods import PILOTS, SUPERNET

LENGTHS = "lengths.json"


class Lengths:
    """Finds how many batches an epoch of each search has. What was found before is kept.

    Args:
        config: The settings of the command.
        budget: Seconds or updates of each search.
        seed: Seed of the short searches that measure how long an update takes.
        space: The search space.
        path: Folder of the comparison.
        words: Returns the settings of a method's searches, but for their seed and their length.
        run: Runs jobs, and raises if one of them fails.
    """

    def __init__(
        self,
        config: DictConfig,
        budget: Budget,
        seed: int,
        space: SearchSpace,
        path: Path,
        words: Callable[[str], Sequence[str]],
        run: Callable[[Sequence[Job]], None],
    ) -> None:
        self.config, self.budget, self.seed, self.space, self.path = config, budget, seed, space, path
        self.words, self.run = words, run

    def of(self, names: Iterable[str]) -> dict[str, int]:
        """Return the batches in an epoch by the names of methods, `SUPERNET` among them, and of earlier ones.

        Args:
            names: The methods.

        Raises:
            InputError: If a search has no length that keeps the budget.
        """
        kept: dict[str, int] = {name: n for name, n in read_json(self.path / LENGTHS).items() if isinstance(n, int)}
        plans = {name: self._planned(name) for name in names if name not in kept}
        if self.budget.unit != UPDATES:
            return kept | (self._measured(plans) if plans else {})
        for name, planned in plans.items():
            if planned.total(1) > self.budget.amount:
                raise InputError(
                    f"budget={self.config.budget}: {name} has {planned.total(1):,} updates with one batch in each "
                    "epoch; give more updates, or fewer epochs"
                )
            kept[name] = batches_within(planned.total, self.budget.amount)
        return kept

    def _measured(self, plans: Mapping[str, Planned]) -> dict[str, int]:
        """Measure a short search of each method and return the batches in an epoch that keep the seconds."""
        batches = {name: max(PILOT_BATCHES, batches_within(planned.total, PILOT)) for name, planned in plans.items()}
        jobs = {name: self._pilot(name, batches[name]) for name in plans}
        self.run(list(jobs.values()))
        found = {}
        for name, planned in plans.items():
            most = self.budget.amount * (self.config.supernet_share if name == SUPERNET else 1.0)
            pace = self._pace(jobs[name].folder, planned, batches[name])

            def seconds(length: int, pace: Pace = pace, planned: Planned = planned) -> float:
                return pace.seconds(planned.counts(length))

            if seconds(1) > most:
                least = math.ceil(self.budget.amount * seconds(1) / most)
                raise InputError(
                    f"budget={self.config.budget}: a search with {name} takes at least {least} s, for what is measured "
                    "at the ends of its epochs; give more seconds, or fewer epochs"
                )
            found[name] = batches_within(seconds, most)
        return found

    def _pilot(self, name: str, batches: int) -> Job:
        words = (*self.words(name), f"epoch_batches={batches}", f"seed={self.seed}", "log_every=1")
        return Job(f"short search of {name}", "search", words, self.path / PILOTS / name, self.path.name)

    def _pace(self, folder: Path, planned: Planned, batches: int) -> Pace:
        """What the updates of a short search took, and the rest of it."""
        clock = clock_of(self.config)
        rows = times_of(folder, clock)
        known = planned.updates(batches)
        spent = [
            (*known[step - 1], now - then)
            for (before, then), (step, now) in pairwise(rows)
            if step == before + 1 <= len(known)
        ]
        return Pace((read_result(folder) or {})[clock], spent)

    def _planned(self, name: str) -> Planned:
        config = inside("search", self.words(name))
        stages = Stages(stages_for(config, self.space), make(config.schedule))
        return Planned(stages.plan(config.epochs), config.epochs)
