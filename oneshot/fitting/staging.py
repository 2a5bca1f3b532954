"""How a search goes through its stages: the supernet of each, the candidates that are left, and rates of dropout."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architects.base import Architect
from ..distributed.sharing import share
from ..draws import seed_of
from ..spaces.base import SearchSpace
from ..stages import Narrowed, Stages, best
from .dropping import CandidateDropPath, SkipDropout
from .widening import widen_state, widen_weights, widening


class Staging:
    """The supernet and the architect of a search in each of its stages.

    Args:
        stages: The stages of the search.
        space: Its space.
        architect: Its architect.
        batch_size: Examples in a batch, which processes share.
        seed: Seed of new weights and of widened kernels.
        drop_path: Probability at the last epoch that a candidate is dropped.
        accelerated: Called with each new supernet, to change how it computes.

    Raises:
        InputError: If space or architect cannot have these stages.
    """

    def __init__(
        self,
        stages: Stages,
        space: SearchSpace,
        architect: Architect,
        batch_size: int,
        seed: int,
        drop_path: float,
        accelerated: Callable[[nn.Module], None],
    ) -> None:
        stages.check(space, architect)
        self.stages, self.space, self.architect = stages, space, architect
        self.batch_size, self.seed, self.drop_path, self.accelerated = batch_size, seed, drop_path, accelerated
        self.start = copy.deepcopy(architect.state_dict())  # what a stage that starts anew needs
        self.drops: CandidateDropPath | None = None
        self.skips: SkipDropout | None = None

    def supernet(self, before: nn.Module | None = None) -> nn.Module:
        """Return a new supernet for the present stage, not shared yet. Weights from the global generator.

        Args:
            before: The one before it, whose device and precision it takes.
        """
        space = self.space.resized(*self.stages.now.sizes)
        supernet: nn.Module = space.supernet()
        supernet = supernet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.drops = CandidateDropPath(space, supernet) if self.drop_path else None
        self.skips = SkipDropout(space, supernet) if self.stages.now.skip_dropout else None
        self.accelerated(supernet)
        if before is None:
            return supernet
        weight = next(before.parameters())
        return supernet.to(weight.device, weight.dtype)

    def set_rates(self, ended: int, epochs: int) -> None:
        """Set the rates of drop path and dropout in an epoch.

        Args:
            ended: Epochs before it.
            epochs: Epochs of the whole search.
        """
        if self.drops:
            self.drops.set(self.drop_path * ended / max(1, epochs - 1))
        if self.skips:
            self.skips.rate = self.stages.skip_dropout(ended, epochs)

    def advance(self, search: Narrowed, supernet: nn.Module) -> nn.Module:
        """Go on to the next stage: leave out candidates, and change the supernet if the stage needs another one.

        Args:
            search: The search, as a narrowing sees it.
            supernet: Its supernet.

        Returns:
            The supernet of the next stage; the same one if nothing of it changes.
        """
        old, self.stages.number = self.stages.now, self.stages.number + 1
        stage = self.stages.now
        if callable(stage.keep):
            self.architect.restrict(stage.keep(search))
        elif stage.keep is not None:
            scores, mask = self.architect.scores(), self.architect.mask
            self.architect.restrict(best(scores, mask, stage.keep, self.space.selectable))
        if stage.restart:
            self.architect.load_state_dict(self.start)
        elif stage.sizes == old.sizes and bool(stage.skip_dropout) == bool(old.skip_dropout):
            return supernet
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_of(self.seed, "stage", self.stages.number))
            following = self.supernet(supernet)
        share(following, self.batch_size)
        if not stage.restart:
            widen_weights(supernet, following, widening(self.seed, self.stages.number))
        return following

    def hand_over(self, before: Sequence[Optimizer], optimizers: Sequence[Optimizer]) -> bool:
        """Give the optimizers of a new stage the state of the ones before, unless they start anew.

        Args:
            before: The optimizers of the stage before, that of the weights first.
            optimizers: The new ones, in the same order.

        Returns:
            Whether the optimizer of the weights goes on.
        """
        goes_on = [not self.stages.now.new_rate, *[not self.stages.now.restart] * (len(before) - 1)]
        for narrow, wide, kept in zip(before, optimizers, goes_on, strict=True):
            if kept:
                widen_state(narrow, wide, widening(self.seed, self.stages.number))
        return goes_on[0]

    def take_up(self, stage: int, kept: Tensor) -> bool:
        """Take up a stage, as after a resume, with the candidates that are left in it.

        Args:
            stage: Number of the stage, from 0.
            kept: The candidates, (choices, candidates) of bool.

        Returns:
            Whether its supernet differs from that of the first stage.

        Raises:
            ValueError: If there is no such stage, or these are no candidates.
        """
        if stage not in range(len(self.stages.all)):
            raise ValueError(f"stage is {stage!r:.40}")
        if kept.dtype != torch.bool or kept.shape != self.space.shape or not bool(kept.any(1).all()):
            raise ValueError("kept")
        self.stages.number = stage
        if not torch.equal(kept, self.architect.mask.cpu()):
            self.architect.restrict(kept)
        return self.stages.all[0] != self.stages.now

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the stages; nothing where there is one alone."""
        if not self.stages.given:
            return {}
        return {"stage": self.stages.number, "kept": self.architect.mask.tolist(), "start": dict(self.start)}

    def load_state(self, state: Mapping[str, Any], epochs: int) -> bool:
        """Restore the state that `state` returned.

        Args:
            state: The content of a checkpoint, with `ended`, the number of epochs.
            epochs: Epochs of the whole search.

        Returns:
            As `take_up`.

        Raises:
            KeyError: If a part is missing.
            TypeError: If a part has another type.
            ValueError: If a part has an impossible value.
        """
        if not self.stages.given:
            return False
        start = state["start"]
        if state["stage"] != self.stages.number_after(state["ended"], epochs):
            raise ValueError(f"stage is {state['stage']!r:.40}")
        shapes = [{name: tensor.shape for name, tensor in part.items()} for part in (start, self.start)]
        if shapes[0] != shapes[1]:
            raise ValueError("start")
        self.start = start
        return self.take_up(state["stage"], torch.tensor(state["kept"]))
