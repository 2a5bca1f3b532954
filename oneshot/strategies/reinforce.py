"""REINFORCE with a recurrent policy (Zoph and Le, arXiv:1611.01578)."""

import torch
from torch import Tensor

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy
from .policy import Policy, Rewards


class Reinforce(Strategy):
    """REINFORCE with a recurrent policy.

    After every `batch` answers the policy takes one step of Adam on

        -mean((R - b) * log pi(a)) - entropy_weight * mean(entropy of pi along a),

    where R is the reward of an architecture and b is a moving average of R.

    Paper: R is the accuracy cubed, the policy is an LSTM of two layers with 35 units each, lr is 6e-4 for thousands of
    architectures, and there is no entropy bonus (Zoph et al., arXiv:1707.07012, add one).

    Differences:
        - R is the quantile of a score among all scores so far, cubed by default. Scores may have any scale, and a
          failed query is the worst.
        - The policy has one layer.
        - Samples that were asked before are drawn again, up to `redraws` times, because the same query gives nothing
          new. Asks are therefore not samples of pi alone, and no importance weight corrects that.
        - Answers are used as they come, with the log pi of the update and not of the ask.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        batch: Number of answers for an update, at least 1.
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
        Zoph and Le, Neural architecture search with reinforcement learning, arXiv:1611.01578.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        batch: int = 5,
        lr: float = 0.02,
        entropy_weight: float = 0.1,
        baseline_decay: float = 0.9,
        power: float = 3.0,
        hidden: int = 32,
        redraws: int = 15,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.batch", batch, 1)
        check_range("strategy.lr", lr, 0.0, open_low=True)
        check_range("strategy.entropy_weight", entropy_weight, 0.0)
        check_range("strategy.baseline_decay", baseline_decay, 0.0, 1.0)
        check_range("strategy.power", power, 0.0, open_low=True)
        check_integer("strategy.hidden", hidden, 1, 10_000)
        check_integer("strategy.redraws", redraws, 0)
        self.batch, self.entropy_weight, self.baseline_decay = batch, entropy_weight, baseline_decay
        self.redraws = redraws
        self.policy = Policy(space, self.rng.randrange(2**63), hidden)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=lr)
        self.rewards = Rewards(power)
        self.baseline: float | None = None
        self.asked: set[Architecture] = set()
        self.waiting: list[Architecture] = []  # answered since the last update

    def ask(self) -> Query:
        architecture = self.policy.draw(1)[0][0]
        if architecture in self.asked and self.redraws:
            drawn = self.policy.draw(self.redraws)[0]
            architecture = next((a for a in drawn if a not in self.asked), architecture)
        self.asked.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        self.rewards.add(query.architecture, score)
        self.waiting.append(query.architecture)
        if len(self.waiting) == self.batch:
            rewards = self.rewards.of(self.waiting)
            if self.baseline is None:
                self.baseline = float(rewards.mean())
            self.optimizer.zero_grad()
            self.loss(self.waiting, rewards - self.baseline).backward()
            self.optimizer.step()
            self.baseline = self.baseline_decay * self.baseline + (1 - self.baseline_decay) * float(rewards.mean())
            self.waiting = []

    def loss(self, architectures: list[Architecture], advantages: Tensor) -> Tensor:
        """Compute the scalar that an update descends.

        Args:
            architectures: The architectures of a batch.
            advantages: R - b of each, (architectures,).

        Returns:
            The loss with the entropy, a scalar with its gradient.
        """
        log_pi, entropy = self.policy.evaluate(architectures)
        return -(advantages * log_pi).mean() - self.entropy_weight * entropy.mean()
