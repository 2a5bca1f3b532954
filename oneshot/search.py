"""The search: one LightningModule that alternates weight steps and architecture steps, for every architect."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import SGD

from .architects.base import Architect, Criterion, OptimizerFactory, check_optimizer
from .architecture import Architecture, Gates, Query
from .cost import ExpectedCost, holds
from .data import ImageData, Text
from .diagnostics import Diagnostics, rows_of
from .distributed.sharing import share
from .draws import seed_of
from .errors import InputError, check_boolean, check_integer, check_range
from .fitting.acceleration import accelerate
from .fitting.base import Fit
from .fitting.controls import BATCH_SIZE, BATCHES, Controls, measure_controls
from .fitting.ending import Ending
from .fitting.evaluation import evaluate, one_path
from .fitting.metrics import check_forward
from .fitting.rates import check_warmup, cosine, weights_of
from .fitting.staging import Staging
from .fitting.updates import Components, architecture_step, joint_step, weight_step
from .fitting.within import select_within
from .runs.clock import worked
from .schedule import Plan, Schedule, Step, Update
from .selection import BestOf, Selection, by_scores
from .selection.base import among_left, check_selected, check_selection
from .spaces.base import SearchSpace
from .stages import Stage, Stages
from .stopping.base import Stop, StoppingRule
from .tables import lookup_for
from .tables.published import TEST_ACCURACY, VALIDATION_RANK
from .techniques.base import named

__all__ = ["Schedule", "Search", "Update", "by_scores"]

MANY = 1_000_000  # epochs, above all warm-ups
WEIGHT_OPTIMIZER: OptimizerFactory = partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4, foreach=True)


class Search(Fit):
    """Search an architecture in a space with an architect, under a `pytorch_lightning.Trainer` of `max_epochs`.

    The weights of the supernet start from torch's global generator (`torch.manual_seed` before this is made). After
    the fit these attributes are there: `found`, the architecture; `valid`, loss and metric of the supernet under the
    architect's gates, on the architecture part, by name (`loss`, `accuracy`); `found_valid`, the same of these weights
    under the gates of the found architecture alone, not retrained; `rows`, the metrics; `scores`, the architect's
    probabilities at the start and after each epoch; `lookup`, which looks up an architecture in the published table of
    the space, or None where the package has no such table or the task is no classification; `stopped`, why a stopping
    rule ended the search and which epoch it kept, or None; `found_among`, the metric of the found architecture beside
    those of random ones and of the largest one, or None without `controls`.

    A stopping rule is asked at the end of each epoch, also of the last one. If it ends the search, the architect is
    again what it was at the end of the epoch that is kept: for the selection, and in the files. The weights of the
    supernet are those of the last epoch, and so is `valid`. Learning rates follow all epochs of the trainer.

    Args:
        space: What can be found.
        architect: Owns and moves the architecture parameters.
        data: Gives the weight part and the architecture part.
        schedule: How weight steps and architecture steps alternate. None: the architect's published one.
        optimizer: Makes the optimizer of the supernet's weights. Default: SGD as published for DARTS.
        minimum_learning_rate: Its learning rate falls on a cosine to this over the epochs.
        criterion: Loss of weight steps, of the reported losses, and of an architect that was given none:
            (logits, y) -> scalar. None: that of the data's task.
        selection: Which architecture is kept at the end. None: the architect's published one, with this `seed`.
        gradient_clip: Largest norm of the weights' gradient; 0 for no limit.
        warmup_epochs: Epochs in which the learning rate of the weights rises, before its cosine. Architecture steps
            are not affected (see `Schedule.warmup_epochs`).
        decay_norms: Whether weight decay also acts on biases and on the weights of norms.
        log_every: Updates between two rows.
        seed: Seed of batches and draws.
        record: Called with each row, a dict of numbers.
        compile: Whether `torch.compile` compiles the cells.
        cuda_graph: Whether the supernet's steps are replayed as CUDA graphs. `"auto"`: on a GPU, where that is
            possible.
        stop: Ends the search early, see `oneshot.stopping`. None: it takes all epochs.
        diagnostics: What the row of each epoch's end says of the search besides: `"none"`, `"light"`, `"full"`, or a
            `Diagnostics` with settings of its own.
        stages: Stages of the search, one after the other. None: one, the whole search.
        drop_path: Probability at the last epoch that a candidate of the supernet is dropped for an example in a weight
            or an architecture step; it rises from 0 in a line over the epochs. Identities are not dropped.
        epoch_batches: Batches of the weight part in an epoch. None: all of them, each image once. Otherwise an epoch
            begins where the one before has ended, and every image has its turn as often as any other.
        controls: Number of random architectures that the found one is compared with at the end, inside the supernet
            and not retrained; the largest one is measured too. All are measured on the architecture part, or on its
            first four batches of up to 512 examples if it is larger. 0: none.

    Raises:
        InputError: If a setting is out of range, or space, data and criterion do not fit together.
    """

    instead: ClassVar = {
        "validate": "`valid` and `found_valid` hold the numbers after a fit, and `measure(architecture)` gives others",
        "test": "a search reads no test images; train what it found with a Retrain, which tests it",
        "predict": "a supernet is no network to predict with; train what it found with a Retrain",
    }

    def __init__(
        self,
        space: SearchSpace,
        architect: Architect,
        data: ImageData | Text,
        schedule: Schedule | None = None,
        optimizer: OptimizerFactory = WEIGHT_OPTIMIZER,
        minimum_learning_rate: float = 0.001,
        criterion: Criterion | None = None,
        selection: Selection | None = None,
        gradient_clip: float = 5.0,
        warmup_epochs: int = 0,
        decay_norms: bool = True,
        log_every: int = 10,
        seed: int = 0,
        record: Callable[[Mapping[str, Any]], None] | None = None,
        compile: bool = False,
        cuda_graph: bool | str = "auto",
        stop: StoppingRule | None = None,
        diagnostics: str | Diagnostics = "light",
        stages: Sequence[Stage] | None = None,
        drop_path: float = 0.0,
        epoch_batches: int | None = None,
        controls: int = 0,
    ) -> None:
        super().__init__(log_every, seed, record)
        if epoch_batches is not None:
            check_integer("epoch_batches", epoch_batches, 1)
        self.epoch_batches = epoch_batches
        check_integer("controls", controls, 0)
        check_optimizer("weights.optimizer", optimizer)
        check_range("minimum_learning_rate", minimum_learning_rate, 0.0)
        check_range("gradient_clip", gradient_clip, 0.0)
        check_integer("weights.warmup_epochs", warmup_epochs, 0)
        check_boolean("weights.decay_norms", decay_norms)
        self.warmup_epochs, self.decay_norms = warmup_epochs, decay_norms
        self.space, self.architect, self.schedule = space, architect, schedule or architect.schedule
        if self.schedule.joint and (architect.own_weight_gates or architect.compares_gradients):
            parts_of_steps = (part for kind in ("perturbations", "freezes") for part in getattr(architect, kind, ()))
            names = [named(part) for part in parts_of_steps] or [type(architect).__name__]
            raise InputError(
                "schedule.joint=true: one step moves weights and architecture together, but "
                f"{', '.join(names)} changes weight steps alone; use schedule.joint=false"
            )
        if not _learns(architect):
            self.schedule = replace(self.schedule, architecture_steps=0)
        check_range("weights.drop_path", drop_path, 0.0, 0.99)
        self.drop_path = drop_path
        self.stages = Stages(stages, self.schedule)
        self.optimizer, self.minimum_learning_rate = optimizer, minimum_learning_rate
        self.task, self.metric, self.classes = data.task, data.metric, data.splits.classes
        self.criterion, self.gradient_clip = criterion or data.task.criterion(), gradient_clip
        architect.measure_by(self.criterion, self.metric)
        if stop is not None and self.stages.given:
            raise InputError("stop: a stopping rule ends a search of one stage; use stop=null or stages=null")
        self.diagnostics = diagnostics if isinstance(diagnostics, Diagnostics) else Diagnostics(diagnostics)
        if isinstance(stop, StoppingRule):
            self.diagnostics.also([name for name in stop.rows if name in rows_of("full")], stop.every)
        self.stop, self.ending = stop, Ending(stop, architect, space, self.row_names)
        self.selection = selection or _published_selection(architect, seed)
        check_selection(self.selection, space, self.stages.fewest)
        if self.limited and self.stages.fewest == 1:
            raise InputError(
                "cost.limit: the stages of this search leave one candidate of each choice, without regard to a limit; "
                "an architect without such stages keeps it"
            )
        if self.limited and architect.decided:
            raise InputError(
                f"cost.limit: {type(architect).__name__} has decided for one architecture before a search, without "
                "regard to a limit; each search writes the largest one that holds its limit"
            )
        parts: Any = data.split()
        self.weight_part, self.architecture_part = parts
        fast = partial(accelerate, compile=compile, cuda_graph=cuda_graph, twice=architect.differentiates_twice)
        batch_size = self.weight_part.batch_size
        self.staging = Staging(self.stages, space, architect, batch_size, seed, drop_path, fast)
        self.stages.check_narrowings(self)
        self.supernet = self.staging.supernet()
        x, y = self.weight_part.first()
        check_forward(lambda: self.criterion(self.supernet(x, Gates(architect.scores())), y))
        known = lookup_for(space.fingerprint, self.classes, tuple(x.shape[1:]))
        self.lookup = known if self.task.name == "classification" else None  # its accuracies mean nothing for others
        self.scores: list[list[list[float]]] = []  # of each epoch's end, the start first
        self.valid: dict[str, float] = {}
        self.found: Architecture
        self.controls, self.control_seconds = controls, 0.0
        self.found_among: Controls | None = None
        self.pressed = False  # whether the scores alone gave an architecture over the limit

    @property
    def row_names(self) -> frozenset[str]:
        """Names of the numbers that a stopping rule may read: those in the row of each epoch's end."""
        return frozenset({"entropy", "valid_loss", f"valid_{self.metric.name}", *self.diagnostics.asked})

    @property
    def stopped(self) -> Stop | None:
        """Why the stopping rule ended the search and which epoch it kept; None if it did not."""
        return self.ending.decided

    @property
    def batches(self) -> int:
        """Batches of the weight part in an epoch."""
        return self.epoch_batches or self.weight_part.batches

    def updates_of(self, epochs: int) -> int:
        """Return the number of updates of so many epochs."""
        whole = epochs if self._trainer is None else self.epochs
        return self._plan(whole).total(epochs, self.at_most(self.batches))

    def _plan(self, epochs: int) -> Plan:
        """The updates; for a trial without warm-up and with the shortest cycle, so that each kind of step is taken."""
        if not self.trial:
            return self.stages.plan(epochs)
        shortest = Schedule(0, 1, min(1, self.schedule.architecture_steps), self.schedule.joint)
        return Plan(shortest, [(epochs, 0)])

    def remaining(self) -> Iterator[Update]:
        """Yield the updates that are left of the current epoch."""
        updates = self._plan(self.epochs).epoch(self.ended, self.at_most(self.batches))
        return (update for update in updates if update.index >= self.done)

    def check(self, epochs: int) -> None:
        """Check that a search of so many epochs moves the architect and is longer than its warm-up.

        Raises:
            InputError: If the architect learns, but would never take a step, if the warm-up is too long, or if the
                stopping rule could never end it.
        """
        for number in range(len(self.stages.all)):
            check_warmup(self.warmup_epochs, self.stages.of_learning_rate(epochs, number))
        self.diagnostics.check(self.space, self.architect)
        if self.stop is not None and self.stop.first_end > epochs:
            raise InputError(
                f"stop: {type(self.stop).__name__} can end a search after epoch {self.stop.first_end} at the earliest, "
                f"and this one has {epochs}: more epochs, other settings of the rule, or stop=null"
            )
        if not _learns(self.architect):
            return
        if self.architect.optimizer is None:
            raise InputError("architect.optimizer=null: this architect learns, so it must have an optimizer")
        moves = self.schedule.joint or self.schedule.architecture_steps > 0
        if moves and self.stages.given:
            return
        if moves and self.schedule.warmup_epochs < epochs:
            return
        if moves:
            raise InputError(f"schedule.warmup_epochs={self.schedule.warmup_epochs}: must be below epochs={epochs}")
        raise InputError(
            "schedule.architecture_steps=0: this architect learns, so it must be at least 1, or joint=true"
        )

    def configure_optimizers(self) -> Any:
        """Make the optimizer of the weights with its cosine, and that of the architect if it learns."""
        weights = self.optimizer(weights_of(self.supernet, self.decay_norms))
        for group in weights.param_groups:
            group["lr"] *= self.stages.factor
        optimizers = [weights]
        if self.architect.optimizer is not None and _learns(self.architect):
            optimizers.append(self.architect.optimizer(self.architect.parameters()))
        warmup = 0 if self.trial else self.warmup_epochs
        epochs = self.epochs if self.trial else self.stages.of_learning_rate(self.epochs)
        return optimizers, [cosine(weights, epochs, self.minimum_learning_rate, warmup)]

    def setup(self, stage: str) -> None:
        """Check the search and move its images to the training device."""
        self.check(MANY if self.trial else self.epochs)
        share(self.supernet, self.weight_part.batch_size)
        self.weight_part.to(self.device)
        self.architecture_part.to(self.device)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps besides weights and rows: scores, and the states of its parts."""
        parts = {**self.staging.state(), **self.ending.state()}
        return {"scores": self.scores, "batches": self.batches, "diagnostics": self.diagnostics.state(), **parts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back what `state` gave."""
        if state.get("batches", self.batches) != self.batches:
            raise ValueError(f"an epoch has {state['batches']!r:.40} batches, here {self.batches}")
        self.scores = state["scores"]
        shape = (len(self.scores), *self.space.shape)
        if torch.tensor(self.scores).shape != shape or len(self.scores) != state["ended"] + 1:
            raise ValueError("scores")
        if self.staging.load_state(state, self.epochs):
            self.supernet = self.staging.supernet(self.supernet)
            share(self.supernet, self.weight_part.batch_size)
        self.ending.load_state(state)
        self.diagnostics.load_state(state["diagnostics"], self.architect)
        measured = [row for row in state["rows"] if "valid_loss" in row]
        self.valid = {n[6:]: value for n, value in measured[-1].items() if n[:6] == "valid_"} if measured else {}

    def forget(self) -> None:
        """Forget all progress. Weights are not touched."""
        super().forget()
        self.scores = []
        self.ending.forget()
        self.diagnostics.forget()

    def on_train_start(self) -> None:
        """Prepare the updates; a search that starts writes its first row."""
        super().on_train_start()
        self._connect()
        if self.stopped:  # in a checkpoint of after that epoch
            self.trainer.should_stop = True
        if not self.fresh:
            return
        self.valid = {}
        self._keep_scores()
        self.write({"epoch": 0, "step": 0, "entropy": float(self.architect.entropy())})

    def _connect(self) -> None:
        """Prepare what the updates work on."""
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

    def on_train_epoch_start(self) -> None:
        """Set the rates of drop path and dropout in this epoch."""
        self.staging.set_rates(self.ended, self.epochs)

    def training_step(self, update: Update, _: int) -> None:
        """Take one update."""
        torch.manual_seed(seed_of(self.seed, "step", update.index))
        step = Step(self.seed, update.index, self.total)
        train = self.weight_part.batch(self.seed, update.weight)
        if update.kind == "architecture":
            valid = self.architecture_part.batch(self.seed, update.architecture)
            self._note("architecture_loss", architecture_step(self.components, train, valid, step))
        elif update.kind == "joint":
            self._note("weight_loss", joint_step(self.components, train, step))
        else:
            compares = self.architect.compares_gradients
            valid = self.architecture_part.batch(self.seed, update.weight) if compares else None
            loss, logits = weight_step(self.components, train, step, valid)
            self.means.add("weight_loss", loss)
            if self.metric.of_all is None:
                self.means.add(f"weight_{self.metric.name}", self.metric.of_batch(logits, train[1]))
        if update.kind != "weight":
            self.diagnostics.note(self.architect)
        self.count(update.index + 1)
        if self.done % self.log_every == 0:
            self.write({"epoch": self.ended + 1, "step": self.done, **self.means.read()})

    def _note(self, name: str, loss: Tensor) -> None:
        """Add a loss to the means; what penalties added to it comes apart."""
        penalty = self.architect.penalty
        self.means.add(name, loss if penalty is None else loss.detach() - penalty)
        if penalty is not None:
            self.means.add("penalty", penalty)

    def end_epoch(self) -> None:
        """Measure the supernet on the architecture part, write a row and ask the stopping rule."""
        self._keep_scores()
        paid = self._pay()
        self._measure()
        row = {"epoch": self.ended + 1, "step": self.done, **self.means.read()}
        row |= {f"valid_{name}": value for name, value in self.valid.items()}
        row |= {"stage": self.stages.number + 1} if len(self.stages.all) > 1 else {}
        row |= {"entropy": float(self.architect.entropy()), **self.architect.measures(), **paid}
        self.write({**row, **self.diagnostics.measure(self), **self._looked_up()})
        if self.stop is not None and self.trainer.fit_loop._can_stop_early:  # not before its min_epochs
            self.ending.decided = self.trainer.strategy.broadcast(self.ending.ask(self.rows, self.scores))
            self.trainer.should_stop |= self.stopped is not None
        if not self.trial and self.stages.ends(self.ended + 1, self.epochs):
            self._next_stage()

    def cut_epoch(self) -> None:
        """Measure the supernet and write a row. The means of the epoch go on, in case the search is continued."""
        self._measure()
        row = {"epoch": self.epoch, "step": self.done, **{f"valid_{name}": v for name, v in self.valid.items()}}
        self.write({**row, "entropy": float(self.architect.entropy()), **self._looked_up()})

    def end(self) -> None:
        """Select the architecture that was found and measure it inside the supernet."""
        if not self.valid:  # stopped before its first update
            self._measure()
        self.ending.go_back()
        found = self.selection(self.space, self.architect, self)
        self.found = self._within(check_selected(self.selection, found, self.space, self.architect))
        self.found_valid = self.measure(self.found)
        numbers = {f"found_valid_{name}": value for name, value in self.found_valid.items()}
        self.publish({"epoch": self.epoch, "step": self.done, **numbers})
        if self.controls:
            self._control()

    def _control(self) -> None:
        """Measure what the found architecture is compared with."""
        started, part = worked(), self.architecture_part
        batches = BATCHES if len(part) > BATCHES * BATCH_SIZE else 0
        left = self.space.possible(self.architect.mask) if self.architect.restricted else None

        def measured(architecture: Architecture) -> float:
            return self.measure(architecture, batches)[self.metric.name]

        self.found_among = measure_controls(
            self.space, self.found, self.controls, self.seed, measured, left, batches, self.limited
        )
        self.control_seconds = worked() - started

    @property
    def limited(self) -> ExpectedCost | None:
        """The architect's cost if it has a limit, else None."""
        cost = self.architect.cost
        return cost if isinstance(cost, ExpectedCost) and cost.limit else None

    def _within(self, found: Architecture) -> Architecture:
        """An architecture that holds the limit: the found one, or the one that the scores give under it."""
        if self.limited is None or holds(self.space, self.limited, found):
            return found
        self.pressed = True
        given = self.space, self.limited, self.architect, self.selection
        return select_within(*given, self, _learns(self.architect), self.seed)

    def _pay(self) -> dict[str, float]:
        """Compare what mixtures paid in this epoch with the cost of the architecture that the scores give now.

        Returns:
            For the row of the epoch: this cost as a share of the limit, and the multiplier; empty without a limit.
        """
        cost, scores = self.limited, self.architect.scores().detach().cpu()
        if cost is None or cost.limit is None or not bool(scores.isfinite().all()):
            return {}
        found = self.space.used(self.space.discretize(among_left(scores, self.architect)))
        cost.measure_kept(found.decisions)
        return {"share_of_limit": cost.of(found.decisions) / cost.limit.value, "multiplier": cost.multiplier}

    def estimate(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        """Score architectures with the supernet's weights, on the architecture part.

        Args:
            queries: The architectures.

        Returns:
            The score of the metric of each query, by the metric's `score_name`.
        """
        found = [self.measure(query.architecture)[self.metric.name] for query in queries]
        return [{self.metric.quantity.score_name: self.metric.quantity.score(value)} for value in found]

    def measure(self, architecture: Architecture, batches: int = 0) -> dict[str, float]:
        """Measure one architecture with the supernet's weights, on the architecture part.

        Args:
            architecture: The architecture.
            batches: As in `evaluate`.

        Returns:
            `loss`, and the metric by its name.
        """
        gates = one_path(self.space, architecture, self.device)
        return self.evaluate(lambda _: gates, batches)

    def gates_of(self, batch: int) -> Gates:
        """Return the architect's gates under which the supernet is measured on a batch of the architecture part.

        Args:
            batch: Number of the batch, from 0.
        """
        total = self.total if self._trainer is not None else 1
        return self.architect.gates(Step(self.seed, max(0, self.done - 1), total, draw=batch + 1))

    def evaluate(self, gates: Callable[[int], Gates], batches: int = 0) -> dict[str, float]:
        """Measure the supernet on the architecture part, without augmentation.

        Args:
            gates: The gates of each batch, by its number from 0.
            batches: Number of batches of up to 512 examples, always the same ones; 0: all.

        Returns:
            The mean `loss`, and the metric by its name.
        """
        chosen = islice(self.few(self.architecture_part.passes()), batches or None)
        with self.trainer.precision_plugin.forward_context():
            return evaluate(self.supernet, self.criterion, chosen, gates, self.metric)

    def take_up(self, stage: int, kept: Tensor) -> None:
        """Take up a stage in which a search ended, with a new supernet of its sizes.

        Args:
            stage: Number of the stage, from 0.
            kept: The candidates that are left, (choices, candidates) of bool.

        Raises:
            ValueError: If there is no such stage, or these are no candidates.
        """
        if self.staging.take_up(stage, kept):
            self.supernet = self.staging.supernet(self.supernet)

    def _next_stage(self) -> None:
        """Go on to the next stage, with new optimizers where weights or learning rate need them."""
        before, self.supernet = self.supernet, self.staging.advance(self, self.supernet)
        if self.stages.now.restart:
            self.diagnostics.forget_direction()
        if self.supernet is before and not self.stages.now.new_rate:
            return
        strategy = self.trainer.strategy
        optimizers, schedule = strategy.optimizers, strategy.lr_scheduler_configs[0].scheduler.state_dict()
        strategy.setup_optimizers(self.trainer)
        if self.staging.hand_over(optimizers, strategy.optimizers):
            strategy.lr_scheduler_configs[0].scheduler.load_state_dict(schedule)
        self._connect()

    def _measure(self) -> None:
        """Measure the supernet under the architect's gates."""
        self.valid = self.evaluate(self.gates_of)

    def _looked_up(self) -> dict[str, float]:
        """What the published table says of the architecture that the scores give now; empty where there is none.

        Also empty for an architect that never decides, as its architecture would be a tie.
        """
        scores = self.architect.scores().detach().cpu()
        if self.lookup is None or not _learns(self.architect) or not bool(scores.isfinite().all()):
            return {}
        known = self.lookup(self.space.discretize(scores))
        return {name: known[name] for name in (VALIDATION_RANK, TEST_ACCURACY)}

    def _keep_scores(self) -> None:
        self.scores.append(self.architect.scores().detach().cpu().tolist())
        self.ending.keep(len(self.scores) - 1)


def _learns(architect: Architect) -> bool:
    return next(architect.parameters(), None) is not None


def _published_selection(architect: Architect, seed: int) -> Selection:
    """The architect's own selection; its draws depend on the seed of the search."""
    selection = vars(architect).get("selection", type(architect).selection)  # not bound, as a method would be
    return replace(selection, seed=seed) if isinstance(selection, BestOf) else selection
