"""ProxylessNAS: direct search on the target task and hardware (Cai, Zhu and Han, arXiv:1812.00332)."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Gates
from ..errors import check_range, unknown
from ..spaces.base import SearchSpace
from .base import (
    Architect,
    Cost,
    Criterion,
    Examples,
    OptimizerFactory,
    Step,
    evaluating,
    masked_softmax,
    trains,
)

VARIANTS = ("gradient", "reinforce")
ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.999), weight_decay=0.0)  # as published


class Pair(NamedTuple):
    """Two candidates of each choice.

    Args:
        indices: (choices, 2), on alpha's device.
        logits: (choices, 2), as they were when the candidates were drawn.
    """

    indices: Tensor
    logits: Tensor


class ProxylessNAS(Architect):
    """ProxylessNAS. Weight steps run one path, drawn by p = softmax(alpha); architecture steps run two, or reward one.

    Variant "gradient" (section 3.2): two candidates a choice are drawn by p without replacement, and p renormalized
    over them is q. One of them is active, drawn by q. The gates onehot + q - stopgrad(q) give
    dL/dalpha_i = sum_j dL/dg_j q_j (delta_ij - q_i). The cost is the one expected under q. `after_step` shifts both
    logits so that the other candidates keep their probabilities. That holds only if nothing else moves alpha: Adam's
    first beta must be 0 (with momentum, logits that were not drawn go on moving), and so must its weight decay.

    Variant "reinforce" (section 3.3.2): one path is drawn by p, and the loss is -(R - b) log p, with one sample a step.
    R is 1 - the penalized error of the supernet in evaluation mode. The error is that of the task's metric (in the
    paper 1 - accuracy): 1 - metric, or the metric itself if it is minimized. b is a moving average of R with
    baseline_decay, and a plain mean at first; the paper leaves b open. In a joint schedule the weights descend the
    criterion of that path.

    Other differences: draws are by Gumbel noise, which has the same distribution, also at p = 0 in floating point.
    alpha starts at 1e-3 * N(0, 1), as in the authors' code. The cost needs no log (their code has one as an option).

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to the loss; None adds nothing.
        variant: `"gradient"` or `"reinforce"`.
        baseline_decay: Share of the moving average of the reward that a step keeps, in [0, 1]; for "reinforce".

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Cai, Zhu and Han, ProxylessNAS: Direct Neural Architecture Search on Target Task and Hardware,
        arXiv:1812.00332.
    """

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        variant: str = "gradient",
        baseline_decay: float = 0.95,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        if variant not in VARIANTS:
            raise unknown("architect.variant", variant, VARIANTS)
        check_range("architect.baseline_decay", baseline_decay, 0.0, 1.0)
        self.variant, self.baseline_decay = variant, baseline_decay
        self.differentiates_gates = variant == "gradient"
        self.alpha = nn.Parameter(1e-3 * torch.randn(space.shape) * space.mask)
        self.register_buffer("baseline", torch.zeros(()))
        self.register_buffer("rewards", torch.zeros(()))  # how many the baseline has seen
        self.baseline: Tensor
        self.rewards: Tensor
        self.drawn: Pair | None = None  # these two live from `loss` to `after_step`
        self.reward: Tensor | None = None

    def gates(self, step: Step) -> Gates:
        """Return the gates of one path that is drawn by p."""
        return self._one_path(_draw(self._host_logits(), step.generator("proxyless/path"), 1))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the loss under two drawn paths, or the REINFORCE loss of one."""
        x, y = valid
        if self.variant == "reinforce":
            path = _draw(self._host_logits(), step.generator("proxyless/reward"), 1)
            gates = self._one_path(path)
            self.reward = self._reward(supernet, x, y, gates)
            log_p = torch.log_softmax(self._logits(), dim=1).gather(1, path.to(self.alpha.device)).sum()
            loss = -(self.reward - self.baseline) * log_p
            return loss + self.criterion(supernet(x, gates), y) if trains(supernet) else loss
        gates, q = self._two_paths(step.generator("proxyless/pair"))
        return self.penalized(self.criterion(supernet(x, gates), y), q)

    def scores(self) -> Tensor:
        """Return p = softmax(alpha), (choices, candidates)."""
        return masked_softmax(self.alpha, self.mask)

    @torch.no_grad()
    def after_step(self) -> None:
        """Give the two drawn logits their old common mass ("gradient"), or move the baseline ("reinforce")."""
        if self.drawn is not None:
            indices, before = self.drawn
            top = before.amax(dim=1, keepdim=True)
            after = self._logits().gather(1, indices)
            shift = (before - top).logsumexp(1, keepdim=True) - (after - top).logsumexp(1, keepdim=True)
            self.alpha.scatter_add_(1, indices, shift.expand_as(indices))
        if self.reward is not None:
            self.rewards += 1
            self.baseline += (self.reward - self.baseline) * (1 / self.rewards).clamp(min=1 - self.baseline_decay)
        self.drawn = self.reward = None

    def _logits(self) -> Tensor:
        return self.alpha.masked_fill(~self.mask, -torch.inf)

    def _host_logits(self) -> Tensor:
        """In double precision on the host: a draw's one transfer."""
        return self._logits().detach().cpu().double()

    def _one_path(self, path: Tensor) -> Gates:
        weight = torch.zeros_like(self.alpha).scatter(1, path.to(self.alpha.device), 1.0)
        return Gates(weight, tuple((k,) for k in path.squeeze(1).tolist()))

    def _two_paths(self, generator: torch.Generator) -> tuple[Gates, Tensor]:
        """The gates of an architecture step, and q as a table (choices, candidates).

        The inactive path's gate is 0: its output is computed for the gate's gradient, and no gradient goes back
        through it.
        """
        host = self._host_logits()
        pair = _draw(host, generator, min(2, self.space.shape[1])).sort(dim=1).values
        first = torch.softmax(host.gather(1, pair), dim=1)[:, :1]
        chosen = (torch.rand(first.shape, generator=generator, dtype=torch.float64) >= first).long()
        sizes = [len(choice.mixed) for choice in self.space.choices]
        active = tuple(tuple(k for k in row if k < n) for row, n in zip(pair.tolist(), sizes, strict=True))
        on = pair.gather(1, chosen).squeeze(1).tolist()
        silent = tuple(tuple(k for k in row if k != path) for row, path in zip(active, on, strict=True))
        one_hot = nn.functional.one_hot(chosen.squeeze(1), pair.shape[1]).to(self.alpha.device)
        pair = pair.to(self.alpha.device)
        logits = self._logits().gather(1, pair)
        self.drawn = Pair(pair, logits.detach())
        q = torch.softmax(logits, dim=1)
        gate = one_hot + (q - q.detach())
        weight, table = (torch.zeros_like(self.alpha).scatter(1, pair, values) for values in (gate, q))
        return Gates(weight, active, silent), table

    @torch.no_grad()
    def _reward(self, supernet: nn.Module, x: Tensor, y: Tensor, gates: Gates) -> Tensor:
        with evaluating(supernet):
            error = self.metric.error(self.metric.of_batch(supernet(x, gates), y)).to(self.alpha.dtype)
        return 1 - self.penalized(error, gates.weight)


def _draw(logits: Tensor, generator: torch.Generator, number: int) -> Tensor:
    """(choices, number) candidates by softmax(logits) without replacement: the largest logits + Gumbel noise.

    Source: Kool, van Hoof and Welling, arXiv:1903.06059.
    """
    noise = -torch.empty_like(logits).exponential_(generator=generator).log()
    return (logits + noise).topk(number, dim=1).indices
