"""DARTS: Differentiable Architecture Search (Liu, Simonyan and Yang, arXiv:1806.09055)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import grad
from torch.func import functional_call
from torch.nn.utils import get_total_norm
from torch.optim import SGD, Optimizer

from ..architecture import Gates
from ..errors import InputError, check_integer, check_range, unknown
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step, masked_softmax

HESSIANS = ("finite_difference", "exact")
ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)  # as published


class DARTS(Architect):
    """DARTS. Gates are softmax(alpha); alpha descends the validation loss by gradient descent.

    Order 1 takes L_valid at the weights w. Order 2 takes it at w', one training step ahead:
    w' = w - xi * u with u = momentum * buffer + grad_w L_train(w, alpha) + decay * w. The values of xi, momentum,
    buffer and decay are those of the weight optimizer. As in the paper u is not clipped, although the search clips
    the gradients of its weight steps. A cost is added to L_valid alone. In a joint schedule the weights get the
    gradient of L_train.

    Order 2 multiplies the mixed derivative of L_train with grad_w' L_valid in one of two ways. "finite_difference" is
    equation 8, between w+ and w- at a distance of `epsilon` from w. "exact" is autograd through the virtual step,
    which needs more memory. They agree where L_train is smooth in w. ReLU and max pools have kinks between w+ and w-:
    at initialization (DARTS cells, 3 cells of 4 or 16 channels) the cosine of the two products was -0.01 to 0.52 over 7
    random draws, and that of the two gradients of alpha 0.76 to 0.98 over these and others. After two steps it was 0.45
    and 0.10 in two draws, and there plain first order was nearer to the exact gradient. The passes of order 2 run
    without autocast and TF32, because a small difference of two gradients would drown in their rounding errors.

    alpha starts at 1e-3 * N(0, 1) from the global generator, as in the authors' code.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to L_valid; None adds nothing.
        order: 1 or 2.
        hessian: `"finite_difference"` or `"exact"`, for order 2.
        epsilon: Distance of w+ and w- from w, above 0; 0.01 in the paper.

    Raises:
        InputError: If a setting is out of range. A step of order 2 raises it unless the weight optimizer is
            `torch.optim.SGD` without dampening, nesterov and maximize.

    Reference:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, arXiv:1806.09055.
    """

    narrows = True

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        order: int = 1,
        hessian: str = "finite_difference",
        epsilon: float = 0.01,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        check_integer("architect.order", order, 1, 2)
        check_range("architect.epsilon", epsilon, 0.0, open_low=True)
        if hessian not in HESSIANS:
            raise unknown("architect.hessian", hessian, HESSIANS)
        self.order, self.hessian, self.epsilon = order, hessian, epsilon
        self.differentiates_twice = order == 2 and hessian == "exact"
        self.alpha = nn.Parameter(1e-3 * torch.randn(space.shape) * space.mask)

    def gates(self, step: Step) -> Gates:
        """Return softmax(alpha), with all candidates."""
        return self.mixed(self.scores())

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return L_valid at w (order 1) or at w' (order 2)."""
        if self.order == 2:
            with full_precision(self.alpha.device.type):
                return self._second_order(supernet, train, valid, sgd_steps(weight_optimizer))
        x, y = valid
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self) -> Tensor:
        """Return softmax(alpha), (choices, candidates)."""
        return masked_softmax(self.alpha, self.mask)

    def _second_order(
        self, supernet: nn.Module, train: Examples, valid: Examples, steps: dict[Tensor, "SGDStep"]
    ) -> Tensor:
        """L_valid(w', alpha) as a value; equation 7 as the gradient of alpha."""
        parameters = {name: p for name, p in supernet.named_parameters() if p in steps}

        def loss(w: Sequence[Tensor], gates: Tensor, examples: Examples) -> Tensor:
            x, y = examples
            state = dict(zip(parameters, w, strict=True)) | {n: b.clone() for n, b in supernet.named_buffers()}
            return self.criterion(functional_call(supernet, state, (x, self.mixed(gates))), y)

        exact = self.hessian == "exact"
        w = [p.detach().requires_grad_() for p in parameters.values()]
        gates, mine = self.scores(), [self.alpha, *self.beside]
        dw = grad(loss(w, gates if exact else gates.detach(), train), w, create_graph=exact, materialize_grads=True)
        ahead = [steps[p](w_p, dw_p) for p, w_p, dw_p in zip(parameters.values(), w, dw, strict=True)]
        if exact:
            valid_loss = self.penalized(loss(ahead, gates, valid), gates)
            moved = grad(valid_loss, mine, materialize_grads=True)
        else:
            ahead = [w_p.detach().requires_grad_() for w_p in ahead]
            valid_loss = self.penalized(loss(ahead, gates, valid), gates)
            found = grad(valid_loss, [*mine, *ahead], materialize_grads=True)
            v = [steps[p].xi * d for p, d in zip(parameters.values(), found[len(mine) :], strict=True)]
            products = self._products(lambda w: loss(w, self.scores(), train), w, v, mine)
            moved = tuple(d - product for d, product in zip(found[: len(mine)], products, strict=True))
        return with_gradients(valid_loss, [*mine, *parameters.values()], [*moved, *dw])

    def _products(
        self,
        loss: Callable[[Sequence[Tensor]], Tensor],
        w: Sequence[Tensor],
        v: Sequence[Tensor],
        mine: Sequence[Tensor],
    ) -> list[Tensor]:
        """Equation 8: (grad_alpha L_train(w+) - grad_alpha L_train(w-)) / 2 eps with w± = w ± eps * v.

        eps = epsilon / norm(v). v holds xi too, as weights may have different rates; with one rate that is
        the paper's epsilon / norm(grad_w' L_valid).
        """
        norm = get_total_norm(v).clamp_min(torch.finfo(v[0].dtype).tiny)

        def d(shift: float) -> tuple[Tensor, ...]:
            moved = [a.detach() + shift * (b / norm) for a, b in zip(w, v, strict=True)]
            return grad(loss(moved), mine, materialize_grads=True)

        pairs = zip(d(self.epsilon), d(-self.epsilon), strict=True)
        return [(plus - minus) * norm / (2 * self.epsilon) for plus, minus in pairs]


class SGDStep(NamedTuple):
    """The next step of SGD for one weight.

    Args:
        xi: Learning rate.
        momentum: Share of the buffer that is kept.
        decay: Weight decay.
        buffer: Momentum buffer; 0 before the first step.
    """

    xi: float
    momentum: float
    decay: float
    buffer: Tensor | float

    def __call__(self, w: Tensor, g: Tensor) -> Tensor:
        """Return the weight after a step from w with gradient g."""
        u = self.momentum * self.buffer + g + self.decay * w
        return w - self.xi * u


def sgd_steps(optimizer: Optimizer) -> dict[Tensor, SGDStep]:
    """Return what the optimizer's next step does to each weight.

    Raises:
        InputError: If it is not a step of plain SGD.
    """
    steps = {}
    for group in optimizer.param_groups:
        settings = [name for name in ("dampening", "nesterov", "maximize") if group.get(name)]
        if type(optimizer) is not SGD or settings:
            found = " with ".join([type(optimizer).__name__, *settings])
            raise InputError(
                f"weights.optimizer: {found}; DARTS of order 2 needs SGD without dampening, nesterov, maximize"
            )
        for p in group["params"]:
            buffer = optimizer.state.get(p, {}).get("momentum_buffer")
            steps[p] = SGDStep(group["lr"], group["momentum"], group["weight_decay"], 0.0 if buffer is None else buffer)
    return steps


def with_gradients(value: Tensor, tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return the same value; its backward pass gives these gradients to the tensors that need one.

    Args:
        value: Scalar.
        tensors: The leaves that get a gradient, of any shapes. One that needs no gradient is left out.
        gradients: One for each tensor, with its shape. They are treated as constants.

    Returns:
        A scalar that is equal to `value`.
    """
    zeros = (((t - t.detach()) * g.detach()).sum() for t, g in zip(tensors, gradients, strict=True) if t.requires_grad)
    return value.detach() + sum(zeros)


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Turn off autocast and reduced-precision products of fp32 tensors (TF32, and bfloat16 on a CPU) inside.

    Args:
        device_type: The device whose autocast is turned off, as `torch.autocast` takes it: `cpu` or `cuda`.
    """
    torch_backends: Any = torch.backends
    on_cuda = [torch_backends.cuda.matmul, torch_backends.cudnn.conv]
    backends = [*on_cuda, torch_backends.mkldnn.matmul, torch_backends.mkldnn.conv]
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
