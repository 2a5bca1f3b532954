"""The diagnostics of a search: which rows there are, and the object that measures them at each epoch's end."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd import grad

from ..architects.base import Architect, Examples
from ..architecture import Architecture
from ..draws import generator, seed_of
from ..errors import Diverged, InputError, check_integer, is_number, one_line, unknown
from ..fitting.evaluation import one_path
from ..fitting.metrics import Means
from ..schedule import Step
from ..spaces.base import SearchSpace
from .hessian import DENSE, NO_SECOND, spectrum
from .landscape import (
    Landscape,
    architecture_parameter,
    cosine,
    flatness,
    gap,
    gap_by_choice,
    mean_gates,
    measuring,
)
from .operations import Operations, gives_operations, operations_of

if TYPE_CHECKING:
    from ..search import Search

SMALLEST, LARGEST = "alpha_eigenvalue_smallest", "alpha_eigenvalue_largest"
COUNTS = ("skips", "parameter_free")
SUCCESSIVE, COSINE, GAP, FLATNESS = "successive_cosine", "gradient_cosine", "discretization_gap", "flatness"
LEVELS = {
    "none": (),
    "light": (*COUNTS, SUCCESSIVE),
    "full": (*COUNTS, SUCCESSIVE, SMALLEST, LARGEST, GAP, COSINE, FLATNESS),
}
OF_PARAMETER = (SUCCESSIVE, SMALLEST, LARGEST, COSINE)  # rows of architects with one differentiable parameter


def rows_of(level: str) -> tuple[str, ...]:
    """Return the names of the numbers that a level adds to the row of each epoch's end.

    Args:
        level: `"none"`, `"light"` or `"full"`.

    Raises:
        InputError: If there is no such level.
    """
    if level not in LEVELS:
        raise unknown("level: diagnostics", level, LEVELS)
    return LEVELS[level]


class Diagnostics:
    """Measures a search at the end of its epochs, and leaves nothing of it changed.

    The numbers are explained in docs/diagnostics.md. Those of `light` cost next to nothing. The others of `full` are
    measured on a fixed batch of the architecture part without augmentation, and with `gradient_cosine` on one of the
    weight part: in training mode, in full precision, without costs and penalties of the architect. A number that has no
    meaning for an architect or a space is left out.

    Args:
        level: `"none"`, `"light"` or `"full"`.
        every: Epochs from one measurement to the next of the numbers that `full` adds. The last epoch is measured too.
        images: Examples of the fixed batches, at most; None: those of a training batch.
        dense: Most rows of a Hessian that `full` computes as a whole. The ends of another are found by Lanczos.

    Attributes:
        details: For each measured epoch what is too much for a row: `epoch`; `eigenvalues`, all or both ends; and
            `gaps`, the discretization gap of each choice alone.
        names: Names of the numbers that are measured.
        asked: Names of those that were asked for by `also`, each with the `every` of each call.

    Raises:
        InputError: If a setting is out of range.
    """

    def __init__(self, level: str = "light", every: int = 1, images: int | None = None, dense: int = DENSE) -> None:
        self.names = list(rows_of(level))
        self.asked: dict[str, list[int | None]] = {}
        check_integer("diagnostics.every", every, 1)
        check_integer("diagnostics.dense", dense, 0)
        if images is not None:
            check_integer("diagnostics.images", images, 2)
        self.level, self.every, self.images, self.dense = level, every, images, dense
        self._operations: Operations | None = None
        self._examples: dict[tuple[str, torch.device], Examples] = {}
        self._parameter: tuple[Architect, nn.Parameter | None] | None = None
        self.forget()

    def forget(self) -> None:
        """Forget what was measured."""
        self.details: list[dict[str, Any]] = []
        self._means = Means()
        self._direction: Tensor | None = None  # of the last gradient

    def forget_direction(self) -> None:
        """Forget the last gradient, as the architecture parameters start anew: it has no successor."""
        self._direction = None

    def also(self, names: Sequence[str], every: int | None = None) -> None:
        """Ask for further rows, whatever the level is.

        Args:
            names: Names of `rows_of("full")`.
            every: Epochs from one row to the next; the first is that of epoch 1. None: as the rows of `full`.

        Raises:
            InputError: If there is no such row.
        """
        if every is not None:
            check_integer("every", every, 1)
        for name in names:
            if name not in LEVELS["full"]:
                raise unknown("row of diagnostics", name, LEVELS["full"])
        self.names += [name for name in names if name not in self.names]
        for name in names:
            self.asked.setdefault(name, []).append(every)

    def check(self, space: SearchSpace, architect: Architect) -> None:
        """Check that the rows that were asked for by name have a meaning in a search.

        Args:
            space: Of the search.
            architect: Of the search.

        Raises:
            InputError: If one has none.
        """
        kind = type(architect).__name__
        for name in self.names:
            if name not in self.asked:
                continue
            if next(architect.parameters(), None) is None:
                raise InputError(f"diagnostics {name}: needs an architect that learns; {kind} has no parameters")
            if name in COUNTS and not gives_operations(space):
                raise InputError(f"diagnostics {name}: needs a space with `operations`; {space.name!r} has none")
            if name in OF_PARAMETER and self._parameter_of(architect) is None:
                raise InputError(
                    f"diagnostics {name}: needs an architect whose scores are a differentiable function of one "
                    f"parameter; those of {kind} are not"
                )

    def note(self, architect: Architect) -> None:
        """Take the gradient of an architecture step, for `successive_cosine`. Nothing waits for the device.

        Args:
            architect: After the step, with its gradients.
        """
        if SUCCESSIVE not in self.names:
            return
        parameter = self._parameter_of(architect)
        if parameter is None or parameter.grad is None:
            return
        gradient = parameter.grad.detach()
        direction = gradient / torch.linalg.vector_norm(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
        if self._direction is not None:
            self._means.add(SUCCESSIVE, (direction * self._direction).sum())
        self._direction = direction

    def measure(self, search: "Search") -> dict[str, float]:
        """Measure a search at the end of an epoch.

        Args:
            search: The search; `ended` does not count the epoch yet, but `scores` has those of its end.

        Returns:
            The numbers of the row, by name.

        Raises:
            Diverged: If one of them is not finite.
            InputError: If the supernet has no second derivatives.
        """
        if not self.names or next(search.architect.parameters(), None) is None:
            return {}
        found: dict[str, float] = {**self._means.read()}
        decided = search.space.discretize(torch.tensor(search.scores[-1], dtype=torch.float64))
        if gives_operations(search.space) and any(name in self.names for name in COUNTS):
            with suppress(InputError):  # a space may have candidates that cannot be counted alone
                self._operations = self._operations or operations_of(search.space)
                found |= self._operations.counts(decided)
        epoch = search.ended + 1
        wanted = {name for name in self.names if self._is_due(name, epoch, epoch == search.epochs)}
        if wanted - {*LEVELS["light"]}:
            found |= self._on_examples(search, epoch, decided, wanted)
        for name, value in found.items():
            if not is_number(value):
                raise Diverged(
                    f"epoch {epoch}: {name} is {value}: the run has diverged; a lower learning rate may help"
                )
        return {name: found[name] for name in LEVELS["full"] if name in self.names and name in found}

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the details, the mean of this epoch, and the last gradient's direction."""
        direction = None if self._direction is None else self._direction.tolist()
        return {"details": self.details, "means": self._means.state(), "direction": direction}

    def load_state(self, state: Mapping[str, Any], architect: Architect) -> None:
        """Restore the state that `state` returned.

        Args:
            state: The state.
            architect: Of the search.

        Raises:
            KeyError: If a part is missing.
            TypeError: If a part has another type.
            ValueError: If a part has an impossible value.
        """
        parameter, direction = self._parameter_of(architect), state["direction"]
        if not isinstance(state["details"], list):
            raise ValueError("diagnostics: details")
        self._means.load_state(state["means"])
        self.details, self._direction = state["details"], None
        if direction is not None and parameter is not None:
            self._direction = torch.tensor(direction, dtype=parameter.dtype, device=parameter.device)
            if self._direction.shape != parameter.shape:
                raise ValueError("diagnostics: direction")

    def _parameter_of(self, architect: Architect) -> nn.Parameter | None:
        if self._parameter is None or self._parameter[0] is not architect:
            self._parameter = architect, architecture_parameter(architect)
        return self._parameter[1]

    def _is_due(self, name: str, epoch: int, last: bool) -> bool:
        """Whether a number of `full` is measured in this epoch."""
        own = epoch % self.every == 0 or last
        periods = [*self.asked.get(name, ()), *([None] if name in LEVELS[self.level] else ())]
        return any(own if every is None else (epoch - 1) % every == 0 for every in periods)

    def _on_examples(self, search: "Search", epoch: int, decided: Architecture, wanted: set[str]) -> dict[str, float]:
        """What is measured on fixed examples."""
        architect, parameter = search.architect, self._parameter_of(search.architect)
        step = Step(search.seed, max(0, search.done - 1), search.total)
        seed = seed_of(search.seed, "diagnostics/supernet", epoch)
        found: dict[str, float] = {}
        details: dict[str, Any] = {"epoch": epoch}
        valid = self._batch(search, "architecture_part")
        with measuring(search.supernet):
            loss = Landscape(search.supernet, architect.criterion, valid, seed)
            if parameter is not None and {SMALLEST, LARGEST} & wanted:
                draws = generator(search.seed, "diagnostics/lanczos", epoch)
                with _twice():
                    alpha_loss = loss(mean_gates(architect, step))
                    dense = self.dense if self.level == "full" else 0  # a rule that asks for an end needs no others
                    values = spectrum(alpha_loss, parameter, architect.mask, dense, draws).tolist()
                del alpha_loss  # and its graph
                found |= {SMALLEST: values[0], LARGEST: values[-1]} if values else {}
                details["eigenvalues"] = values
            if parameter is not None and COSINE in wanted:
                train = self._batch(search, "weight_part")
                losses = (loss, Landscape(search.supernet, architect.criterion, train, seed))
                pair = [grad(L(mean_gates(architect, step)), parameter, materialize_grads=True)[0] for L in losses]
                found[COSINE] = float(cosine(*(gradient.double() for gradient in pair)))
            with torch.no_grad():
                gates = mean_gates(architect, step)
            if GAP in wanted:
                found[GAP] = gap(loss, gates, one_path(search.space, decided, gates.weight.device))
                if self.level == "full":
                    details["gaps"] = gap_by_choice(loss, gates, decided.decisions)
            if FLATNESS in wanted:
                draws = generator(search.seed, "diagnostics/flatness", epoch)
                found[FLATNESS] = flatness(loss, gates, architect.mask, draws)
        if len(details) > 1:
            self.details.append(details)
        return found

    def _batch(self, search: "Search", name: str) -> Examples:
        """The fixed examples of a part, without augmentation, read once."""
        part: Any = getattr(search, name)
        size = self.images or part.batch_size
        key = name, search.device
        if key not in self._examples:
            x, y = next(iter(part.passes(size)))
            weight = next(search.supernet.parameters())
            self._examples[key] = (x.to(weight.dtype) if x.is_floating_point() else x), y
        return self._examples[key]


@contextmanager
def _twice() -> Iterator[None]:
    """Name what is missing where an operation has no second derivative."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in ("derivative", "differentiate twice", "double back")):
            raise
        raise InputError(NO_SECOND.format(one_line(error, 100))) from error
