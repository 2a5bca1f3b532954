"""REINFORCE with a recurrent policy (Zoph and Le, arXiv:1611.01578)."""

import torch
from torch import Tensor

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy
from .policy import Policy, Rewards


class Reinforce(Strategy):
    """A policy is asked for architectures and moved by their rewards R, every `batch` tells, by one step of Adam on

        -mean((R - b) * log pi(a)) - entropy_weight * mean(entropy of pi along a),

    b: a moving average of R. The paper's R is the accuracy cubed, its policy two layers of 35 units, its entropy bonus
    absent (Zoph et al., arXiv:1707.07012, add one). Here R is the quantile of a score among all told, cubed as
    well, so scores may have any scale, and a failed one is the worst.
    Samples that were asked before are drawn again, up to `redraws` times, as a repeated query would tell nothing; so
    asks are not samples of pi alone, and no importance weight corrects that. Answers are used as they come, with
    the log pi of the update and not of the ask.

    batch: tells an update. lr: of Adam. entropy_weight: reward a nat. baseline_decay: in [0, 1], what the moving
    average keeps in an update; the first batch's mean starts it. power: of the quantile, above 0. hidden: units.
    Raises InputError for anything out of range.
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
        self.waiting: list[Architecture] = []  # told since the last update

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
        """The scalar that an update descends. advantages: R - b of each, (architectures,)."""
        log_pi, entropy = self.policy.evaluate(architectures)
        return -(advantages * log_pi).mean() - self.entropy_weight * entropy.mean()
