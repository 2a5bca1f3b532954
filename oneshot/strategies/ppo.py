"""Proximal policy optimization (Schulman et al., arXiv:1707.06347), for NAS as by Zoph et al. (arXiv:1707.07012)."""

import torch
from torch import Tensor

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy
from .policy import Policy, Rewards

LARGEST = 20.0  # log of a ratio: one that overflows, far outside the clip, would have the gradient 0 * inf


class PPO(Strategy):
    """A policy is asked for architectures; every `batch` tells it takes `epochs` steps of Adam on the clipped surrogate

        -mean(min(r A, clip(r, 1 - epsilon, 1 + epsilon) A)) - entropy_weight * mean(entropy of pi along a)

    with r = pi(a) / pi_old(a) and the advantage A = R - b, b a moving average of the reward R. pi_old is the policy of
    the ask, so that asks may run ahead; of the first update's start for an architecture that was not asked for.
    An architecture is one action here, its r the product over its choices, and there is no value network.
    The paper's R is the accuracy; here it is the quantile of a score among all that were told, so scores may have any
    scale, and a failed one is the worst. Samples that were asked before are drawn again, up to `redraws` times, as
    a repeated query would tell nothing; r does not account for that.

    batch: tells an update. epochs: steps an update. clip: epsilon, above 0. lr: of Adam. entropy_weight: reward a nat.
    baseline_decay: in [0, 1], what the moving average keeps in an update; the first batch's mean starts it. power: of
    the quantile, above 0. hidden: units. Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        batch: int = 5,
        epochs: int = 4,
        clip: float = 0.2,
        lr: float = 0.01,
        entropy_weight: float = 0.05,
        baseline_decay: float = 0.8,
        power: float = 3.0,
        hidden: int = 32,
        redraws: int = 15,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.batch", batch, 1)
        check_integer("strategy.epochs", epochs, 1)
        check_range("strategy.clip", clip, 0.0, open_low=True)
        check_range("strategy.lr", lr, 0.0, open_low=True)
        check_range("strategy.entropy_weight", entropy_weight, 0.0)
        check_range("strategy.baseline_decay", baseline_decay, 0.0, 1.0)
        check_range("strategy.power", power, 0.0, open_low=True)
        check_integer("strategy.hidden", hidden, 1, 10_000)
        check_integer("strategy.redraws", redraws, 0)
        self.batch, self.epochs, self.clip, self.redraws = batch, epochs, clip, redraws
        self.entropy_weight, self.baseline_decay = entropy_weight, baseline_decay
        self.policy = Policy(space, self.rng.randrange(2**63), hidden)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=lr)
        self.rewards = Rewards(power)
        self.baseline: float | None = None
        self.asked: dict[Architecture, float] = {}  # with log pi_old of the last ask
        self.waiting: list[Architecture] = []  # told since the last update

    def ask(self) -> Query:
        (architecture,), log_pi = self.policy.draw(1)
        if architecture in self.asked and self.redraws:
            drawn, others = self.policy.draw(self.redraws)
            for i, other in enumerate(drawn):
                if other not in self.asked:
                    architecture, log_pi = other, others[i]
                    break
        self.asked[architecture] = log_pi.item()
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        self.rewards.add(query.architecture, score)
        self.waiting.append(query.architecture)
        if len(self.waiting) == self.batch:
            self._update()
            self.waiting = []

    def _update(self) -> None:
        rewards = self.rewards.of(self.waiting)
        if self.baseline is None:
            self.baseline = float(rewards.mean())
        advantages = rewards - self.baseline
        with torch.no_grad():
            now = self.policy.log_probability(self.waiting).tolist()
        old = torch.tensor([self.asked.get(a, log_pi) for a, log_pi in zip(self.waiting, now, strict=True)])
        for _ in range(self.epochs):
            self.optimizer.zero_grad()
            self.loss(self.waiting, old, advantages).backward()
            self.optimizer.step()
        self.baseline = self.baseline_decay * self.baseline + (1 - self.baseline_decay) * float(rewards.mean())

    def loss(self, architectures: list[Architecture], old: Tensor, advantages: Tensor) -> Tensor:
        """The scalar that a step descends. old, advantages: log pi_old and A of each, (architectures,)."""
        log_pi, entropy = self.policy.evaluate(architectures)
        ratio = (log_pi - old).clamp(max=LARGEST).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        return -torch.minimum(ratio * advantages, clipped * advantages).mean() - self.entropy_weight * entropy.mean()
