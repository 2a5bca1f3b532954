"""The loss of a supernet as a function of its gates, on fixed examples."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..architects.base import Architect, Criterion, Examples, frozen
from ..architects.darts import full_precision
from ..architecture import Gates
from ..fitting.acceleration import eager
from ..schedule import Step
from ..techniques.base import Transform, unmoved
from ..techniques.composed import taken_apart

Loss = Callable[[Gates], Tensor]


class Landscape:
    """The loss of a supernet on fixed examples, as a function of gates. To be used inside `measuring`.

    A supernet's own random draws, such as dropout, are the same in each pass.

    Args:
        supernet: forward(x, gates) -> logits.
        criterion: (logits, y) -> scalar.
        examples: x and y.
        seed: Of the supernet's own draws.
    """

    def __init__(self, supernet: nn.Module, criterion: Criterion, examples: Examples, seed: int = 0) -> None:
        self.supernet, self.criterion, self.examples, self.seed = supernet, criterion, examples, seed

    def __call__(self, gates: Gates) -> Tensor:
        """Return the loss, a scalar."""
        torch.manual_seed(self.seed)
        x, y = self.examples
        return self.criterion(self.supernet(x, gates), y)


@contextmanager
def measuring(supernet: nn.Module) -> Iterator[None]:
    """Let a supernet be measured with second derivatives, and leave nothing of it changed.

    Inside, its weights are frozen, and it runs without autocast, TF32, compiled code and CUDA graphs. Modules stay in
    their mode: batch norms have the statistics of the batch, as in the steps of a search. Afterwards buffers and random
    states are what they were.

    Args:
        supernet: The supernet.
    """
    device = next(supernet.parameters()).device.type
    with unmoved(supernet), frozen(supernet), eager(supernet), full_precision(device), torch.enable_grad():
        yield


def mean_gates(architect: Architect, step: Step) -> Gates:
    """Return the gates of an architect without its draws: its scores, after the transforms.

    For a method that mixes all candidates these are its gates. For a method that draws gates or paths they are the mean
    of the distribution that it learns, and a smooth function of its parameters, which one path is not.

    Args:
        architect: The architect, with or without techniques.
        step: The place of the step, for the ramps of transforms.
    """
    inner, parts = taken_apart(architect)
    gates = Gates(inner.scores())
    for part in parts:
        gates = part(gates, step) if isinstance(part, Transform) else gates
    return gates


def architecture_parameter(architect: Architect) -> nn.Parameter | None:
    """Return the parameter that an architect's scores are a differentiable function of: alpha, in most methods.

    Args:
        architect: The architect, with or without techniques.

    Returns:
        The parameter, (choices, candidates). None where the scores have no gradient, as those of a controller, or where
        not exactly one parameter has that shape.
    """
    inner = taken_apart(architect)[0]
    with torch.enable_grad():
        scores = inner.scores()
    found = [parameter for parameter in inner.parameters() if parameter.shape == scores.shape]
    return found[0] if scores.requires_grad and len(found) == 1 else None


@torch.no_grad()
def gap(loss: Loss, gates: Gates, one_hot: Gates) -> float:
    """Return the discretization gap: the loss of an architecture minus the loss of the mixture that it came from.

    Args:
        loss: A `Landscape`.
        gates: Of the mixture.
        one_hot: Of the architecture: 1 for what it has, else 0.
    """
    return float(loss(one_hot).double() - loss(gates).double())


@torch.no_grad()
def gap_by_choice(loss: Loss, gates: Gates, decisions: Sequence[int]) -> list[float]:
    """Return what each decision costs alone: the loss where one choice is decided and the others stay mixed, minus L.

    Args:
        loss: A `Landscape`.
        gates: Of the mixture.
        decisions: The index of a candidate for each choice.

    Returns:
        A number for each choice. Their sum is not the gap of all decisions together.
    """
    mixed, table = loss(gates).double(), gates.weight
    found = []
    for choice, decision in enumerate(decisions):
        weight = table.clone()
        weight[choice] = 0
        weight[choice, decision] = 1
        found.append(loss(gates._replace(weight=weight)).double() - mixed)
    return torch.stack(found).tolist()


@torch.no_grad()
def flatness(
    loss: Loss, gates: Gates, mask: Tensor, generator: torch.Generator, epsilon: float = 0.1, pairs: int = 4
) -> float:
    """Return E[L(p + delta)] - L(p) over random changes delta of the gates p: how far the loss rises around p.

    In each choice delta is a random direction within the simplex, of length epsilon: z - mean(z) with z ~ N(0, I) over
    the candidates of the choice, scaled to that Euclidean length. So each row of p + delta has the sum of p. A choice
    with a single candidate is not changed. The mean is taken over pairs of delta and -delta, so that the slope of L
    cancels exactly and the curvature is left: about epsilon^2 / 2 times the sum over choices of the mean curvature
    within the simplex. Where a gate is below epsilon, p + delta may leave the simplex, as in the random perturbation of
    SmoothDARTS.

    Args:
        loss: A `Landscape`.
        gates: p.
        mask: (choices, candidates) of bool, true for the candidates that exist.
        generator: Of delta, on the host.
        epsilon: Length of delta in each choice, above 0.
        pairs: Number of pairs, at least 1.
    """
    base, losses = loss(gates).double(), []
    for _ in range(pairs):
        delta = epsilon * directions(mask.cpu(), generator).to(gates.weight)
        losses += [loss(gates._replace(weight=gates.weight + sign * delta)).double() for sign in (1, -1)]
    return float(torch.stack(losses).mean() - base)


def directions(mask: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a direction within the simplex of each choice, uniformly.

    Args:
        mask: (choices, candidates) of bool, on the host.
        generator: On the host.

    Returns:
        (choices, candidates), float64: rows of length 1 and sum 0; zeros where a choice has a single candidate.
    """
    z = torch.randn(mask.shape, generator=generator, dtype=torch.float64) * mask
    sizes = mask.sum(1, keepdim=True)
    centred = (z - z.sum(1, keepdim=True) / sizes.clamp(min=1)) * mask
    norms = centred.norm(dim=1, keepdim=True)
    return torch.where(sizes > 1, centred / norms.clamp_min(1e-300), 0.0)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the angle between two tensors, a scalar; 0 where one of them is 0.

    Args:
        a: Of any shape.
        b: Of the same shape.
    """
    norms = torch.linalg.vector_norm(a) * torch.linalg.vector_norm(b)
    return (a * b).sum() / norms.clamp_min(torch.finfo(norms.dtype).tiny)
