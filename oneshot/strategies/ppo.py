"""Proximal policy optimization (Schulman et al., arXiv:1707.06347), for NAS as by Zoph et al. (arXiv:1707.07012)."""

import torch
from torch import Tensor

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy
from .policy import Policy, Rewards

LARGEST = 20.0  # of log r, far outside the clip: an overflow would give the gradient 0 * inf


class PPO(Strategy):
    """Proximal policy optimization of a recurrent policy.

    After every `batch` answers the policy takes `epochs` steps of Adam on the clipped surrogate

        -mean(min(r A, clip(r, 1 - epsilon, 1 + epsilon) A)) - entropy_weight * mean(entropy of pi along a)

    with r = pi(a) / pi_old(a) and the advantage A = R - b, where b is a moving average of the reward R. pi_old is the
    policy at the time of the ask, so that asks may run ahead of the answers. For an architecture that was not asked
    for, it is the policy at the start of its first update.

    Differences from the paper:
        - An architecture is one action: r is the product over its choices. There is no value network.
        - In NAS (arXiv:1707.07012) R is the accuracy. Here R is the quantile of a score among all scores so far, to a
          power. Scores may have any scale, and a failed query is the worst.
        - Samples that were asked before are drawn again, up to `redraws` times, because the same query gives nothing
          new. r does not account for that.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        batch: Number of answers for an update, at least 1.
        epochs: Number of steps of an update, at least 1.
        clip: epsilon, the largest distance of r from 1 that still has a gradient, above 0.
        lr: Learning rate of Adam, above 0.
        entropy_weight: Weight of the entropy, in units of reward per nat, at least 0.
        baseline_decay: Share of the moving average that an update keeps, in [0, 1]. The mean of the first batch starts
            it.
        power: Exponent of the quantile, above 0.
        hidden: Number of LSTM units, from 1 to 10,000.
        redraws: How often an architecture that was asked before is drawn again, at least 0.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Schulman, Wolski, Dhariwal, Radford and Klimov, Proximal policy optimization algorithms, arXiv:1707.06347.
        Zoph, Vasudevan, Shlens and Le, Learning transferable architectures, arXiv:1707.07012.
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
        self.asked: dict[Architecture, float] = {}  # log pi_old at the last ask
        self.waiting: list[Architecture] = []  # answered since the last update

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
        """Compute the scalar that a step of Adam descends.

        Args:
            architectures: The architectures of a batch.
            old: log pi_old of each, (architectures,).
            advantages: A of each, (architectures,).

        Returns:
            The clipped surrogate with the entropy, a scalar with its gradient.
        """
        log_pi, entropy = self.policy.evaluate(architectures)
        ratio = (log_pi - old).clamp(max=LARGEST).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        return -torch.minimum(ratio * advantages, clipped * advantages).mean() - self.entropy_weight * entropy.mean()
