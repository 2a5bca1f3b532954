"""What the strategies that learn a policy share: an LSTM over the choices, and rewards without a unit."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from ..architecture import Architecture
from ..spaces.base import SearchSpace

Decisions = tuple[int, ...]


class Policy(nn.Module):
    """A recurrent policy pi(architecture): an LSTM that decides one choice after the other.

    The LSTM reads the last decision and gives a softmax over the candidates of the next choice. This is ENAS's
    controller (arXiv:1802.03268), and that of Zoph and Le (arXiv:1611.01578) with one layer. Embeddings and outputs
    belong to a choice. Candidates that `space.allowed` excludes have probability 0, so every sample is valid.

    Weights are drawn from U(-1/sqrt(hidden), 1/sqrt(hidden)). The outputs start at zero, so that at first all allowed
    candidates are equally probable. Everything is computed on the CPU, and all random draws come from the policy's own
    generator.

    Args:
        space: The search space.
        seed: Seed of the weights and of the samples.
        hidden: Number of LSTM units.

    Reference:
        Zoph and Le, Neural architecture search with reinforcement learning, arXiv:1611.01578.
        Pham, Guan, Zoph, Le and Dean, Efficient neural architecture search via parameter sharing, arXiv:1802.03268.
    """

    def __init__(self, space: SearchSpace, seed: int, hidden: int) -> None:
        super().__init__()
        self.space = space
        self.generator = torch.Generator().manual_seed(seed)
        choices, candidates = space.shape
        self.embedding = self._uniform(
            1 + (choices - 1) * candidates, hidden
        )  # first row: the start; then one for each decision
        self.weight_ih, self.weight_hh = self._uniform(4 * hidden, hidden), self._uniform(4 * hidden, hidden)
        self.bias_ih, self.bias_hh = self._uniform(4 * hidden), self._uniform(4 * hidden)
        self.output = nn.Parameter(torch.zeros(choices, candidates, hidden))
        self.bias = nn.Parameter(torch.zeros(choices, candidates))

    def _uniform(self, *shape: int) -> nn.Parameter:
        """A weight of this shape, drawn from U(-1/sqrt(hidden), 1/sqrt(hidden))."""
        bound = 1 / math.sqrt(shape[-1] if len(shape) > 1 else shape[0] // 4)
        return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=self.generator))

    @torch.no_grad()
    def draw(self, count: int) -> tuple[list[Architecture], Tensor]:
        """Draw independent samples.

        Args:
            count: Number of samples.

        Returns:
            The architectures, and log pi of each, (samples,).
        """
        samples: list[Decisions] = [()] * count
        total = torch.zeros(count, dtype=self.bias.dtype)
        x, state = self._start(count)
        for i, (output, bias) in enumerate(zip(self.output, self.bias, strict=True)):
            state = self._cell(x, state)
            logits = (state[0] @ output.T + bias).masked_fill(~self._legal(samples), -torch.inf)
            log_pi = torch.log_softmax(logits, dim=1)
            decided = torch.multinomial(log_pi.exp(), 1, generator=self.generator)
            total += log_pi.gather(1, decided)[:, 0]
            samples = [(*a, k) for a, k in zip(samples, decided[:, 0].tolist(), strict=True)]
            if i + 1 < len(self.space.choices):
                x = self.embedding[self._tokens(i, decided[:, 0])]
        return [Architecture(self.space.fingerprint, a) for a in samples], total

    def evaluate(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        """Compute the log probability and the entropy of given architectures, both with gradients.

        Args:
            architectures: Architectures of the policy's space.

        Returns:
            log pi of each, (architectures,), and the entropy of pi(choice | earlier decisions), summed over the choices
            of each, (architectures,), in nats.
        """
        samples = [a.decisions for a in architectures]
        decided = torch.tensor(samples)
        x, state = self._start(len(samples))
        h = []
        for i in range(len(self.space.choices)):
            if i:
                x = self.embedding[self._tokens(i - 1, decided[:, i - 1])]
            state = self._cell(x, state)
            h.append(state[0])
        logits = torch.einsum("bih,ikh->bik", torch.stack(h, dim=1), self.output) + self.bias
        legal = torch.stack([self._legal([a[:i] for a in samples]) for i in range(len(h))], dim=1)
        log_pi = torch.log_softmax(logits.masked_fill(~legal, -torch.inf), dim=2)
        entropy = -(log_pi.exp() * log_pi.masked_fill(~legal, 0.0)).sum((1, 2))  # 0 log 0 is 0, in the gradient too
        return log_pi.gather(2, decided[:, :, None]).sum((1, 2)), entropy

    def log_probability(self, architectures: Sequence[Architecture]) -> Tensor:
        """Compute log pi of given architectures, (architectures,), with its gradient."""
        return self.evaluate(architectures)[0]

    def _start(self, count: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x = self.embedding[:1].expand(count, -1)
        return x, (torch.zeros_like(x), torch.zeros_like(x))

    def _cell(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.lstm_cell(x, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def _tokens(self, choice: int, decided: Tensor) -> Tensor:
        """Rows of the embedding that belong to these decisions; the first row is the start's."""
        return 1 + choice * self.space.shape[1] + decided

    def _legal(self, prefixes: Sequence[Decisions]) -> Tensor:
        """Which candidates the next choice may take, (prefixes, candidates) of bool."""
        width = range(self.space.shape[1])
        allowed = [self.space.allowed(prefix) for prefix in prefixes]
        rows = {legal: [k in legal for k in width] for legal in set(allowed)}
        return torch.tensor([rows[legal] for legal in allowed])


class Rewards:
    """Rewards without a unit: the quantile of a score among all scores so far, in (0, 1), to a power.

    Any increasing transformation of the scores therefore gives the same search, and a failed query is the worst.

    Args:
        power: Exponent of the quantile, above 0.
    """

    def __init__(self, power: float) -> None:
        self.power = power
        self.scores: dict[Architecture, float] = {}

    def add(self, architecture: Architecture, score: float) -> None:
        """Add an answer. If an architecture comes again, its best score counts.

        Args:
            architecture: The architecture that was scored.
            score: Its score, or -inf if it failed.
        """
        self.scores[architecture] = max(score, self.scores.get(architecture, -math.inf))

    def of(self, architectures: Sequence[Architecture]) -> Tensor:
        """Compute the rewards of architectures that have been added, (architectures,), among all scores so far."""
        quantiles = (rankdata(list(self.scores.values())) - 0.5) / len(self.scores)
        places = {a: i for i, a in enumerate(self.scores)}
        return torch.from_numpy(np.power(quantiles[[places[a] for a in architectures]], self.power)).float()
