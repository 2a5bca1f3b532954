"""SNAS: Stochastic Neural Architecture Search (Xie, Zheng, Liu and Lin, arXiv:1812.09926)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from ..architecture import Gates
from ..errors import check_boolean, check_range, unknown
from ..schedule import Schedule
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step, masked_softmax

ANNEALINGS = ("linear", "exponential")
COSTS = ("expected", "drawn")
ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)  # as published


class SNAS(Architect):
    """SNAS. Gates are drawn from concrete distributions, softmax((alpha + Gumbel noise) / lambda); lambda is annealed.

    As in the paper one backward pass on the training batch moves w and alpha: the published schedule is `joint`. In
    another schedule alpha descends the loss on the validation batch. There is one draw an update, and cells of one
    kind share it. The paper gives no lambda: 1 to 0.03, linear, is the authors' code. Their code anneals by epoch and
    stops short of its minimum. Here lambda falls by step, over all steps of the search, and ends at the minimum.

    `straight_through` is not in the paper: gates are one-hot forward and have the gradient of the concrete ones, and
    only the drawn candidates are computed. The others have no output, so alpha lacks their part of the gradient: less
    work at more bias.

    alpha starts at 1e-2 * N(0, 1) from the global generator. The authors' 1 + 1e-2 * N(0, 1) has the same softmax.
    The buffer `temperature` holds the lambda of the last draw.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to the loss; None adds nothing.
        temperature: lambda at the first step, above 0.
        minimum_temperature: lambda at the last step, at most `temperature`.
        annealing: `"linear"` or `"exponential"` in the step.
        cost_of: `"expected"` adds the cost under softmax(alpha), `"drawn"` that of the drawn gates.
        straight_through: Whether only the drawn candidates are computed.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Xie, Zheng, Liu and Lin, SNAS: Stochastic Neural Architecture Search, arXiv:1812.09926.
    """

    schedule = Schedule(joint=True)
    narrows = True

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        temperature: float = 1.0,
        minimum_temperature: float = 0.03,
        annealing: str = "linear",
        cost_of: str = "expected",
        straight_through: bool = False,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        check_range("architect.temperature", temperature, 0.0, open_low=True)
        check_range("architect.minimum_temperature", minimum_temperature, 1e-6, temperature)
        if annealing not in ANNEALINGS:
            raise unknown("architect.annealing", annealing, ANNEALINGS)
        if cost_of not in COSTS:
            raise unknown("architect.cost_of", cost_of, COSTS)
        check_boolean("architect.straight_through", straight_through)
        self.temperatures, self.annealing = (float(temperature), float(minimum_temperature)), annealing
        self.cost_of, self.straight_through = cost_of, straight_through
        self.alpha = nn.Parameter(1e-2 * torch.randn(space.shape) * space.mask)
        self.register_buffer("temperature", torch.tensor(float(temperature)))
        self.temperature: Tensor

    def gates(self, step: Step) -> Gates:
        """Return gates that are drawn for this step at its temperature."""
        lambda_ = self.temperature_at(step)
        self.temperature.fill_(lambda_)
        G = gumbel(self.alpha, step.generator("snas"))
        Z = masked_softmax((self.alpha + G) / lambda_, self.mask)
        if not self.straight_through:
            return self.mixed(Z)
        drawn = Z.argmax(dim=1)
        one_hot = functional.one_hot(drawn, Z.shape[1])
        return Gates(one_hot + (Z - Z.detach()), tuple((k,) for k in drawn.tolist()))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the loss under drawn gates, with its cost."""
        x, y = valid  # in a joint schedule the training batch
        gates = self.gates(step)
        loss = self.criterion(supernet(x, gates), y)
        return self.penalized(loss, gates.weight if self.cost_of == "drawn" else self.scores())

    def scores(self) -> Tensor:
        """Return softmax(alpha), (choices, candidates)."""
        return masked_softmax(self.alpha, self.mask)

    def temperature_at(self, step: Step) -> float:
        """Return lambda, a function of the step alone, so that it survives a resume.

        At the last step it is exactly the minimum.
        """
        first, last = self.temperatures
        left = max(0.0, 1 - step.index / (step.total - 1)) if step.total > 1 else 0.0
        if self.annealing == "linear":
            return last + (first - last) * left
        return last * (first / last) ** left


def gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    """Return Gumbel(0, 1) noise.

    Args:
        like: Gives shape, type and device.
        generator: On the host, so that every device sees the same noise.
    """
    exponential = torch.empty(like.shape, dtype=like.dtype).exponential_(generator=generator)
    return -exponential.log().to(like.device, non_blocking=True)  # the host does not wait for the device
