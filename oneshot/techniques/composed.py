"""An architect with techniques: itself an architect."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architects.base import Architect, Criterion, Examples, Step, frozen, shares
from ..architecture import Gates
from ..errors import InputError
from ..spaces.base import SearchSpace
from ..tasks import Metric
from .base import Perturbation, Regularizer, Transform, named, unmoved
from .freeze import Freeze

Part = Transform | Regularizer | Perturbation | Freeze


class Composed(Architect):
    """An architect with transformed gates, penalties in its loss, and weight steps that are perturbed or partly frozen.

    The architect sees a supernet that transforms the gates that it is given. So every method that differentiates
    through its gates also differentiates through the transforms, and second-order DARTS does at both of its orders.
    Penalties are added to the loss of the architecture parameters, outside of it. The optimizer of the architect also
    moves the parameters of the transforms.

    Args:
        architect: The architect. It is not used by anything else.
        transforms: Applied in this order.
        regularizers: Their terms are added to the loss.
        perturbations: Applied in this order to the gates of weight steps, after the transforms.
        freezes: They freeze operations of the supernet, each on its own.

    Raises:
        InputError: If a part is not of its kind, is of another space, gives what cannot be gates, scores or a penalty,
            or has no meaning for the architect.
    """

    def __init__(
        self,
        architect: Architect,
        transforms: Sequence[Transform] = (),
        regularizers: Sequence[Regularizer] = (),
        perturbations: Sequence[Perturbation] = (),
        freezes: Sequence[Freeze] = (),
    ) -> None:
        if not isinstance(architect, Architect):
            raise InputError(f"Composed: needs an architect, not {type(architect).__name__}")
        super().__init__(architect.space, architect.optimizer, architect.criterion, architect.cost)
        self.architect, self.transforms = architect, nn.ModuleList(_of("transforms", Transform, transforms))
        self.regularizers = _of("regularizers", Regularizer, regularizers)
        self.perturbations = _of("perturbations", Perturbation, perturbations)
        self.freezes = nn.ModuleList(_of("freezes", Freeze, freezes))
        self.takes_criterion = False  # it is the architect's
        self.mask = architect.mask  # without the candidates that it leaves out
        self.schedule, self.selection = architect.schedule, architect.selection  # type: ignore[misc]
        self.differentiates_twice = architect.differentiates_twice
        self.differentiates_gates = architect.differentiates_gates
        self.narrows, self.uses_sizes = architect.narrows, (*architect.uses_sizes, *map(named, freezes))
        self.own_weight_gates = architect.own_weight_gates or bool(self.perturbations)
        self.compares_gradients = architect.compares_gradients or bool(freezes)
        architect.beside = (*architect.beside, *self.transforms.parameters())
        self._check()

    def gates(self, step: Step) -> Gates:
        """Return the gates of the architect after the transforms."""
        return self._transformed(self.architect.gates(step), step)

    def weight_gates(self, supernet: nn.Module, train: Examples, step: Step) -> tuple[Gates, ...]:
        """Return the gates of the architect's weight step, after the transforms and the perturbations."""
        several = self.architect.weight_gates(_Transformed(self, supernet, step), train, step)
        return tuple(self._perturbed(self._transformed(gates, step), supernet, train, step) for gates in several)

    def weight_terms(self, supernet: nn.Module, train: Examples, step: Step) -> Iterator[Tensor]:
        """Yield the terms of the architect's weight step, under the gates after the transforms."""
        seen = _Transformed(self, supernet, step, fixed=True) if self.transforms else supernet
        return self.architect.weight_terms(seen, train, step)

    @contextmanager
    def held(self, supernet: nn.Module, several: Sequence[Gates], valid: Examples | None, step: Step) -> Iterator[None]:
        """Freeze operations, and hold them while the optimizer takes its step inside; see `Architect.held`."""

        def losses() -> Iterator[Tensor]:
            if valid is None:
                raise InputError(f"{named(self.freezes[0])}: needs a batch of the architecture part in a weight step")
            return (self.criterion(supernet(valid[0], gates), valid[1]) for gates in several)

        with ExitStack() as stack:
            stack.enter_context(self.architect.held(supernet, several, valid, step))
            for freeze in self._frozen():
                stack.enter_context(freeze.held(supernet, losses, step))
            yield

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the loss of the architect, under the gates after the transforms, with the penalties."""
        seen = _Transformed(self, supernet, step) if self.transforms else supernet
        loss = self.architect.loss(seen, train, valid, weight_optimizer, step)
        self.penalty = self.architect.penalty
        for regularizer in self.regularizers:
            term = regularizer(self._inner, step)
            added = term.detach() if isinstance(term, Tensor) else loss.new_full((), term)
            loss, self.penalty = loss + term, added if self.penalty is None else self.penalty + added
        return loss

    def scores(self) -> Tensor:
        """Return the scores of the architect after the transforms."""
        scores = self.architect.scores()
        for transform in self._each():
            scores = transform.scores(scores)
        return scores

    def restrict(self, kept: Tensor) -> None:
        """Let the architect go on with some of the candidates; see `Architect.restrict`."""
        self.architect.restrict(kept)
        self.mask, self._rows, self.restricted = self.architect.mask, None, True

    def after_step(self) -> None:
        """Let the architect do what it does after a step."""
        self.architect.after_step()

    def measure_by(self, criterion: Criterion, metric: Metric) -> None:
        """Hand loss and metric to the architect; see `Architect.measure_by`."""
        self.architect.measure_by(criterion, metric)
        self.criterion, self.metric = self.architect.criterion, self.architect.metric

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """Return the mean normalized entropy of the scores, as shares of their rows where transforms change them."""
        return self.architect.entropy_of(shares(self.scores())) if self.transforms else self.architect.entropy()

    def measures(self) -> dict[str, float]:
        """Return the numbers of the architect, and `frozen`, the share of the operations that are frozen."""
        architect, parts = taken_apart(self)
        masks = [part.frozen for part in parts if isinstance(part, Freeze)]
        shares = {"frozen": float(torch.stack(masks).any(0).float().mean())} if masks else {}
        return architect.measures() | shares

    @property
    def _inner(self) -> Architect:
        """The architect without techniques."""
        return taken_apart(self.architect)[0]

    def _check(self) -> None:
        for transform in self._each():
            _check_transform(transform, self.space)
        for freeze in self._frozen():
            _check_space(freeze, self.space)
        kind = type(self._inner).__name__
        learns = next(self.architect.parameters(), None) is not None
        for part in (*self.transforms, *self.regularizers):
            moves = not isinstance(part, Transform) or next(part.parameters(), None) is not None
            if moves and not learns:
                raise InputError(f"{named(part)}: needs an architect that learns; {kind} has no parameters")
            if isinstance(part, Transform) and moves and not self.architect.differentiates_gates:
                raise InputError(
                    f"{named(part)}: needs an architect whose loss is differentiable in its gates; "
                    f"that of {kind} is not"
                )
        for regularizer in self.regularizers:
            with torch.enable_grad():
                penalty = regularizer.penalty(self._inner)
            if not isinstance(penalty, Tensor) or penalty.dim() or not penalty.isfinite():
                found = penalty.tolist() if isinstance(penalty, Tensor) else penalty
                raise InputError(f"{named(regularizer)}: its penalty is {found!r:.60}; must be a finite scalar tensor")
            if not penalty.requires_grad:
                raise InputError(f"{named(regularizer)}: its penalty has no gradient for {kind}")
        if self.perturbations and self.architect.own_weight_gates:
            name = named(self.perturbations[0])
            raise InputError(f"{name}: {kind} has weight steps of its own, which it cannot perturb")
        if self.perturbations and self.architect.gates(Step(0, 0, 2)).active is not None:
            name = named(self.perturbations[0])
            raise InputError(f"{name}: needs gates that mix all candidates; {kind} draws paths")

    def _transformed(self, gates: Gates, step: Step) -> Gates:
        cells = gates.cells  # they are added to the gates that a cell gets
        for transform in self._each():
            gates = transform(gates, step)
        return gates if cells is None else gates._replace(cells=cells)

    def _each(self) -> Iterator[Transform]:
        return iter(self.transforms)  # type: ignore[arg-type]

    def _frozen(self) -> Iterator[Freeze]:
        return iter(self.freezes)  # type: ignore[arg-type]

    def _perturbed(self, gates: Gates, supernet: nn.Module, train: Examples, step: Step) -> Gates:
        x, y = train

        def loss(gates: Gates) -> Tensor:
            with unmoved(supernet), frozen(supernet):
                return self.criterion(supernet(x, gates), y)

        for perturbation in self.perturbations:
            gates = _checked(perturbation, perturbation(gates, self.mask, loss, step), self.mask)
        return gates


def taken_apart(architect: Architect) -> tuple[Architect, list[Part]]:
    """Return an architect without techniques, and its techniques.

    Args:
        architect: Any architect.
    """
    parts: list[Part] = []
    while isinstance(architect, Composed):
        own = (*architect._each(), *architect.regularizers, *architect.perturbations, *architect._frozen())
        parts = [*own, *parts]
        architect = architect.architect
    return architect, parts


def _of(name: str, kind: type, given: Any) -> tuple[Any, ...]:
    """The parts as a tuple. Raises InputError unless all are of this kind."""
    if not isinstance(given, Iterable):
        raise InputError(f"Composed: {name} must be a list, not {type(given).__name__}")
    parts = tuple(given)
    for part in parts:
        if not isinstance(part, kind):
            raise InputError(f"Composed: {name} must hold parts of the class {kind.__name__}, not {part!r:.80}")
    return parts


def _checked(part: Part, gates: Gates, like: Tensor) -> Gates:
    """The gates that a part gave. Raises InputError unless they are gates of this shape."""
    weight = gates.weight if isinstance(gates, Gates) else None
    if weight is None or weight.shape != like.shape:
        found = type(gates).__name__ if weight is None else f"Gates of shape {tuple(weight.shape)}"
        raise InputError(f"{named(part)}: gives {found}; must be Gates of shape {tuple(like.shape)}")
    return gates


def _check_space(part: Transform | Freeze, space: SearchSpace) -> None:
    """Raise InputError unless the part is of this space."""
    if part.space.fingerprint != space.fingerprint:
        raise InputError(f"{named(part)}: is of space {part.space.name!r}, the architect of space {space.name!r}")


def _check_transform(transform: Transform, space: SearchSpace) -> None:
    """Raise InputError unless the transform gives gates and scores of the space, and lets a gradient through."""
    name = named(transform)
    _check_space(transform, space)
    with torch.enable_grad():
        p = (space.mask / space.mask.sum(1, keepdim=True)).to(torch.get_default_dtype()).requires_grad_()
        gates = _checked(transform, transform(Gates(p), Step(0, 0, 2)), p)
    if not gates.weight.requires_grad or not bool(gates.weight.isfinite().all()):
        raise InputError(f"{name}: its gates are not finite, or have no gradient")
    scores = transform.scores(p.detach())
    if not isinstance(scores, Tensor) or scores.shape != p.shape or not bool((scores >= 0).all()):
        raise InputError(f"{name}: its scores must be at least 0 and of shape {tuple(p.shape)}")


class _Transformed(nn.Module):
    """A supernet that transforms its gates, as the architect sees it. One a call, so that parameters stay disjoint."""

    def __init__(self, composed: Composed, supernet: nn.Module, step: Step, fixed: bool = False) -> None:
        super().__init__()
        self.supernet, self.step, self.fixed = supernet, step, fixed  # fixed: no gradient moves the transforms
        self.transformed: Callable[[Gates, Step], Gates] = composed._transformed

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.fixed):
            transformed = self.transformed(gates, self.step)
        return self.supernet(x, transformed)
