"""The search: one LightningModule that alternates weight steps and architecture steps, for every architect."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from .architects.base import Architect, Criterion, OptimizerFactory, Step, check_optimizer
from .architecture import Architecture, Gates, Query
from .data import ImageData
from .distributed.sharing import share
from .draws import seed_of
from .errors import InputError, check_boolean, check_integer, check_range
from .estimators.base import Estimator
from .fitting.acceleration import accelerate
from .fitting.base import Fit
from .fitting.evaluation import evaluate, one_path
from .fitting.metrics import accuracy, check_forward
from .fitting.updates import Components, architecture_step, joint_step, weight_step
from .spaces.base import SearchSpace

Selection = Callable[[SearchSpace, Architect, Estimator], Architecture]


def by_scores(space: SearchSpace, architect: Architect, estimator: Estimator) -> Architecture:
    """The space's discretization of the architect's scores (DARTS, SNAS, ProxylessNAS)."""
    return space.discretize(architect.scores())


class Update(NamedTuple):
    """One optimizer step. index: updates before it; weight, architecture: batches taken so far from each part."""

    kind: str  # "weight", "architecture" or "joint"
    index: int  # type: ignore[assignment]
    weight: int
    architecture: int


@dataclass(frozen=True)
class Schedule:
    """How the two kinds of steps alternate: a cycle is architecture_steps, then weight_steps.

    An architect without parameters has no architecture steps, whatever is given here.
    warmup_epochs: epochs of weight steps alone, before the first cycle. joint: one backward pass on the
    training batch moves weights and architecture parameters in every step behind the warm-up (SNAS).
    An epoch is one pass over the weight part, whatever the number of architecture steps.
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
        """Architecture steps done when `weight` weight steps are, at `batches` weight steps an epoch."""
        cycles = math.ceil(max(0, weight - self.warmup_epochs * batches) / self.weight_steps)
        return 0 if self.joint else cycles * self.architecture_steps

    def total(self, epochs: int, batches: int) -> int:
        """Updates of a whole search."""
        return epochs * batches + self.architecture_updates(epochs * batches, batches)

    def epoch(self, epoch: int, batches: int) -> Iterator[Update]:
        """The updates of one epoch: a function of its number, so a search resumes anywhere."""
        warm = epoch < self.warmup_epochs
        for weight in range(epoch * batches, (epoch + 1) * batches):
            first = self.architecture_updates(weight, batches)
            last = self.architecture_updates(weight + 1, batches)
            for done in range(first, last):
                yield Update("architecture", weight + done, weight, done)
            yield Update("joint" if self.joint and not warm else "weight", weight + last, weight, last)


class Search(Fit):
    """Search an architecture in `space` with `architect`, under a pytorch_lightning Trainer of max_epochs.

    data: gives the weight part and the architecture part. optimizer: of the supernet's weights; its rate
    falls on a cosine to minimum_learning_rate over the epochs. criterion: of weight steps and of the
    reported losses. gradient_clip: largest norm of the weights' gradient, 0 for none. log_every, record: see
    oneshot.fitting.base. compile, cuda_graph: see oneshot.fitting.acceleration.
    Afterwards: `found`, `valid_accuracy` (the supernet under the architect's gates, on the architecture
    part) and `found_accuracy` (the same weights, gates of the found architecture alone).
    """

    def __init__(
        self,
        space: SearchSpace,
        architect: Architect,
        data: ImageData,
        schedule: Schedule | None = None,
        optimizer: OptimizerFactory = lambda w: SGD(w, lr=0.025, momentum=0.9, weight_decay=3e-4),
        minimum_learning_rate: float = 0.001,
        criterion: Criterion = functional.cross_entropy,
        selection: Selection = by_scores,
        gradient_clip: float = 5.0,
        log_every: int = 10,
        seed: int = 0,
        record: Callable[[Mapping[str, Any]], None] | None = None,
        compile: bool = False,
        cuda_graph: bool = False,
    ) -> None:
        super().__init__(log_every, seed, record)
        check_optimizer("weights.optimizer", optimizer)
        check_range("minimum_learning_rate", minimum_learning_rate, 0.0)
        check_range("gradient_clip", gradient_clip, 0.0)
        self.space, self.architect, self.schedule = space, architect, schedule or Schedule()
        if not _learns(architect):
            self.schedule = replace(self.schedule, architecture_steps=0)
        self.supernet = space.supernet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer, self.minimum_learning_rate = optimizer, minimum_learning_rate
        self.criterion, self.selection, self.gradient_clip = criterion, selection, gradient_clip
        self.weight_part, self.architecture_part = data.split()
        x, y = self.weight_part.first()
        check_forward(lambda: criterion(self.supernet(x, Gates(architect.scores())), y))
        accelerate(self.supernet, compile, cuda_graph, architect.differentiates_twice)
        self.scores: list[list[list[float]]] = []  # of each epoch's end, the start first
        self.found: Architecture

    def updates_of(self, epochs: int) -> int:
        return self.schedule.total(epochs, self.weight_part.batches)

    def remaining(self) -> Iterator[Update]:
        updates = self.schedule.epoch(self.ended, self.weight_part.batches)
        return (update for update in updates if update.index >= self.done)

    def check(self, epochs: int) -> None:
        """Raise InputError when a search of so many epochs would not move the architect at all."""
        if not _learns(self.architect):
            return
        if self.architect.optimizer is None:
            raise InputError("architect.optimizer=null: this architect learns, so it must have an optimizer")
        moves = self.schedule.joint or self.schedule.architecture_steps > 0
        if moves and self.schedule.warmup_epochs < epochs:
            return
        if moves:
            raise InputError(f"schedule.warmup_epochs={self.schedule.warmup_epochs}: must be below epochs={epochs}")
        raise InputError(
            "schedule.architecture_steps=0: this architect learns, so it must be at least 1, or joint=true"
        )

    def configure_optimizers(self) -> Any:
        weights = self.optimizer(self.supernet.parameters())
        optimizers = [weights]
        if self.architect.optimizer is not None and _learns(self.architect):
            optimizers.append(self.architect.optimizer(self.architect.parameters()))
        cosine = CosineAnnealingLR(weights, T_max=self.epochs, eta_min=self.minimum_learning_rate)
        return optimizers, [cosine]

    def setup(self, stage: str) -> None:
        self.check(self.epochs)
        share(self.supernet, self.weight_part.batch_size)
        self.weight_part.to(self.device)
        self.architecture_part.to(self.device)

    def state(self) -> dict[str, Any]:
        return {"scores": self.scores}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.scores = state["scores"]
        shape = (len(self.scores), *self.space.shape)
        if torch.tensor(self.scores).shape != shape or len(self.scores) != state["ended"] + 1:
            raise ValueError("scores")

    def on_train_start(self) -> None:
        super().on_train_start()
        optimizers: Any = self.optimizers()
        counting = {o.optimizer: o for o in (optimizers if isinstance(optimizers, list) else [optimizers])}
        weights, *moving = counting
        self.components = Components(
            self.supernet,
            self.architect,
            self.criterion,
            weights,
            moving,
            self.gradient_clip,
            self.manual_backward,
            lambda optimizer: counting[optimizer].step(),
            self.watch,
        )
        if not self.fresh:
            return
        self._keep_scores()
        self.write({"epoch": 0, "step": 0, "entropy": float(self.architect.entropy())})

    def training_step(self, update: Update, _: int) -> None:
        torch.manual_seed(seed_of(self.seed, "step", update.index))
        step = Step(self.seed, update.index, self.total)
        train = self.weight_part.batch(self.seed, update.weight)
        if update.kind == "architecture":
            valid = self.architecture_part.batch(self.seed, update.architecture)
            self.means.add("architecture_loss", architecture_step(self.components, train, valid, step))
        elif update.kind == "joint":
            self.means.add("weight_loss", joint_step(self.components, train, step))
        else:
            loss, logits = weight_step(self.components, train, step)
            self.means.add("weight_loss", loss)
            self.means.add("weight_accuracy", accuracy(logits, train[1]))
        self.done = update.index + 1
        if self.done % self.log_every == 0:
            self.write({"epoch": self.ended + 1, "step": self.done, **self.means.read()})

    def end_epoch(self) -> None:
        self._keep_scores()
        step = Step(self.seed, self.done - 1, self.total)
        valid = self.evaluate(lambda n: self.architect.gates(step._replace(draw=n + 1)))
        self.valid_accuracy = valid["accuracy"]
        row = {"epoch": self.ended + 1, "step": self.done, **self.means.read()}
        row |= {"valid_loss": valid["loss"], "valid_accuracy": valid["accuracy"]}
        self.write({**row, "entropy": float(self.architect.entropy())})

    def on_train_end(self) -> None:
        self.found = self.selection(self.space, self.architect, self.estimate)
        self.found_accuracy = self.estimate([Query(self.found)])[0]["accuracy"]

    def estimate(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        """Accuracy and loss of architectures with the supernet's weights, on the architecture part."""
        scores: list[Mapping[str, float]] = []
        for query in queries:
            gates = one_path(self.space, query.architecture, self.device)
            scores.append(self.evaluate(lambda _, gates=gates: gates))  # type: ignore[misc]
        return scores

    def evaluate(self, gates: Callable[[int], Gates]) -> dict[str, float]:
        """Mean loss and accuracy over the architecture part, without augmentation; gates: batch number -> gates."""
        with self.trainer.precision_plugin.forward_context():
            return evaluate(self.supernet, self.criterion, self.architecture_part.passes(), gates)

    def _keep_scores(self) -> None:
        self.scores.append(self.architect.scores().detach().cpu().tolist())


def _learns(architect: Architect) -> bool:
    return next(architect.parameters(), None) is not None
