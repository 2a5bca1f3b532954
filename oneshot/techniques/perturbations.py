"""The perturbations of SmoothDARTS (Chen and Hsieh, arXiv:2002.05283)."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..architects.base import Step
from ..architecture import Gates
from ..errors import check_integer
from .base import Perturbation


class RandomPerturbation(Perturbation):
    """Random smoothing (SDARTS-RS). Weight steps see gates + delta, delta uniform in [-epsilon, epsilon].

    One draw a step stands for the expectation, as in the authors' code. That code clips the sum and normalizes it
    again, which leaves the box of delta; here the sum is taken as it is. epsilon goes linearly in the steps from 0.03
    to 0.3; in the paper it goes by epoch.

    Args:
        epsilon: Size at the last step.
        start: Size at the first step; None is `epsilon`.

    Reference:
        Chen and Hsieh, Stabilizing Differentiable Architecture Search via Perturbation-based Regularization,
        arXiv:2002.05283.
    """

    def __init__(self, epsilon: float = 0.3, start: float | None = 0.03) -> None:
        super().__init__(epsilon, start)

    def perturb(self, gates: Gates, mask: Tensor, loss: Callable[[Gates], Tensor], epsilon: float, step: Step) -> Gates:
        """Return gates + delta."""
        u = torch.rand(gates.weight.shape, generator=step.generator("random_perturbation"), dtype=torch.float64)
        delta = (epsilon * (2 * u - 1)).to(gates.weight, non_blocking=True)
        return gates._replace(weight=gates.weight + delta * mask)


class AdversarialPerturbation(Perturbation):
    """Adversarial smoothing (SDARTS-ADV). Weight steps see gates + delta with the largest loss that an attack finds.

    The attack is projected gradient ascent on the loss of the training batch: delta starts at 0, and each of its steps
    moves every entry by 2 epsilon / steps along the sign of the gradient and clips it to [-epsilon, epsilon]. The
    supernet is in training mode, as in the weight step. The authors' code starts at a random delta, and puts the
    supernet in evaluation mode for the attack. epsilon goes linearly in the steps from 0.03 to 0.3; in the paper it
    goes by epoch.

    Args:
        epsilon: Size at the last step.
        start: Size at the first step; None is `epsilon`.
        steps: Steps of the attack; 7 in the paper.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Chen and Hsieh, Stabilizing Differentiable Architecture Search via Perturbation-based Regularization,
        arXiv:2002.05283.
    """

    def __init__(self, epsilon: float = 0.3, start: float | None = 0.03, steps: int = 7) -> None:
        super().__init__(epsilon, start)
        check_integer("technique.adversarial_perturbation.steps", steps, 1)
        self.steps = steps

    def perturb(self, gates: Gates, mask: Tensor, loss: Callable[[Gates], Tensor], epsilon: float, step: Step) -> Gates:
        """Return gates + delta."""
        p = gates.weight.detach()
        delta = torch.zeros_like(p)
        for _ in range(self.steps):
            with torch.enable_grad():
                moved = (p + delta).requires_grad_()
                (d,) = torch.autograd.grad(loss(gates._replace(weight=moved)), moved)
            delta = (delta + 2 * epsilon / self.steps * d.sign()).clamp(-epsilon, epsilon) * mask
        return gates._replace(weight=p + delta)
