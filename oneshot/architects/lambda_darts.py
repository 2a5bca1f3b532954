"""Lambda-DARTS: Mitigating Performance Collapse by Harmonizing Operation Selection (Movahedi et al., 2210.07998)."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.autograd import grad

from ..errors import InputError, check_range
from ..spaces.base import SearchSpace
from .base import Cost, Criterion, Examples, OptimizerFactory, Step, frozen
from .darts import ADAM, DARTS, full_precision


class LambdaDARTS(DARTS):
    """Lambda-DARTS. First-order DARTS whose weight steps also raise Lambda, by which the cells agree about the gates.

    Cells share their gates p, but each has a gradient of its own: g_i, of L_train by the gates of cell i. Lambda is the
    mean cosine of g_i and g_j over all pairs of cells that share their gates: 1 if all cells want the same. The weights
    descend L_train - weight * Lambda. alpha descends L_valid, as in DARTS.

    With v = dLambda/dg, the gradient of Lambda is the difference (grad_w L_train(p + e v) - grad_w L_train(p - e v)) /
    2e, where cell i gets p + e v_i and e = epsilon / norm(v). So a weight step takes three more passes, one for g and
    two for the difference. They run without autocast and TF32, and with the same random draws. A cell whose gradient is
    0 agrees with none, and gets no perturbation. `weight` grows linearly in the steps from 0; in the authors' code it
    grows by epoch.

    Where L_train is smooth in w and p, the difference is the gradient of Lambda. ReLU and pools have kinks between
    p + e v and p - e v, and at initialization these dominate it: in NAS-Bench-201 (1 cell a stage, 16 channels, 64
    images of 32x32 noise) the two terms at the last weight had a norm of 234 at epsilon 1e-4 and of 7 at 0.1, beside 1
    of the gradient of L_train; their cosine was 0.03. So mind the clipping of gradients, and try a larger epsilon.

    Where this differs: the authors' code for the DARTS space leaves the reduction cells out. Here pairs of
    reduction cells count like pairs of normal ones: with 8 cells they are 1 of 16. Of the two terms of the paper this
    is the cosine; the other one compares signs.

    Args:
        space: The space that is searched. It must have `kinds`.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to L_valid; None adds nothing.
        weight: Weight of Lambda at the last step, at least 0; 0.125 in the authors' code.
        epsilon: Norm of the change of all gates in the difference, above 0; 1e-4 in the authors' code.

    Raises:
        InputError: If a setting is out of range, or the space has no two cells that share their gates.

    Reference:
        Movahedi, Adabinejad, Imani, Keshavarz, Dehghani, Shakery and Araabi, Lambda-DARTS: Mitigating Performance
        Collapse by Harmonizing Operation Selection among Cells, ICLR 2023, arXiv:2210.07998.
    """

    own_weight_gates = True
    uses_sizes = ("LambdaDARTS",)

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        weight: float = 0.125,
        epsilon: float = 1e-4,
    ) -> None:
        check_range("architect.weight", weight, 0.0)
        super().__init__(space, optimizer, criterion, cost, epsilon=epsilon)
        self.weight = weight
        pairs = [[i != j and a == b for j, b in enumerate(space.kinds)] for i, a in enumerate(space.kinds)]
        if not any(map(any, pairs)):
            raise InputError(
                f"architect LambdaDARTS: needs a supernet with several cells that share their gates (`kinds`); space "
                f"{space.name!r} has none"
            )
        self.register_buffer("pairs", torch.tensor(pairs), persistent=False)
        self.pairs: Tensor

    def weight_terms(self, supernet: nn.Module, train: Examples, step: Step) -> Iterator[Tensor]:
        """Yield the two losses whose difference is -weight * Lambda, by its gradient."""
        weight = self.weight * (min(1.0, step.index / (step.total - 1)) if step.total > 1 else 1.0)
        if not weight:
            return
        x, y = train
        p = self.gates(step).weight.detach()
        seed = step.generator("lambda_darts").initial_seed()
        devices = [p.device.index or 0] if p.device.type == "cuda" else []

        def loss(cells: Tensor) -> Tensor:
            with torch.random.fork_rng(devices):
                torch.manual_seed(seed)  # the passes differ in the gates alone
                return self.criterion(supernet(x, self.mixed(p)._replace(cells=cells)), y)

        with full_precision(p.device.type):
            cells = p.new_zeros(len(self.space.kinds), *p.shape).requires_grad_()
            with frozen(supernet), torch.enable_grad():
                (g,) = grad(loss(cells), cells)
            v = agreement(g, self.pairs)[1]
            norm = v.norm()
            shift = v * (self.epsilon / norm.clamp_min(torch.finfo(v.dtype).tiny))
            factor = weight * norm / (2 * self.epsilon)
            yield -factor * loss(shift)
            yield factor * loss(-shift)


def agreement(g: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """Return Lambda, the mean cosine of the gradients of two cells over the pairs, and its gradient.

    Args:
        g: The gradient of each cell, (cells, choices, candidates).
        pairs: Which cells are pairs, as bool (cells, cells), symmetric, with no cell beside itself.

    Returns:
        A scalar, and a tensor like g. A cell whose gradient is 0 has the cosine 0 with all others, and gets 0.
    """
    flat, share = g.flatten(1), pairs.to(g) / pairs.sum()
    norms = flat.norm(dim=1, keepdim=True)
    inverse = torch.where(norms > 0, 1 / norms, 0)
    u = flat * inverse
    others = share @ u
    cosines = (u * others).sum(1, keepdim=True)
    return cosines.sum(), (2 * inverse * (others - cosines * u)).view_as(g)
