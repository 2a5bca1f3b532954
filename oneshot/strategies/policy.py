"""What strategies that learn a policy share: an LSTM over the choices, and rewards that have no unit."""

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
    """pi(architecture): an LSTM reads the last decision and gives a masked softmax over the next choice's candidates.

    As ENAS's controller (Pham et al., arXiv:1802.03268), and that of Zoph and Le (arXiv:1611.01578) with one layer:
    embeddings and outputs belong to a choice, candidates that `allowed` excludes have probability 0, so every sample
    is valid. Weights come from U(-1/sqrt(hidden), 1/sqrt(hidden)), the outputs are zero, so that every candidate is
    equally probable at first. All on the host; the only random draws are from its own generator.
    seed: of weights and samples. hidden: units.
    """

    def __init__(self, space: SearchSpace, seed: int, hidden: int) -> None:
        super().__init__()
        self.space = space
        self.generator = torch.Generator().manual_seed(seed)
        choices, candidates = space.shape
        self.embedding = self._uniform(1 + (choices - 1) * candidates, hidden)  # the start, then of each decision
        self.weight_ih, self.weight_hh = self._uniform(4 * hidden, hidden), self._uniform(4 * hidden, hidden)
        self.bias_ih, self.bias_hh = self._uniform(4 * hidden), self._uniform(4 * hidden)
        self.output = nn.Parameter(torch.zeros(choices, candidates, hidden))
        self.bias = nn.Parameter(torch.zeros(choices, candidates))

    def _uniform(self, *shape: int) -> nn.Parameter:
        bound = 1 / math.sqrt(shape[-1] if len(shape) > 1 else shape[0] // 4)
        return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound, generator=self.generator))

    @torch.no_grad()
    def draw(self, count: int) -> tuple[list[Architecture], Tensor]:
        """Independent samples, and log pi of each, (samples,)."""
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
        """log pi of each, and the sum over its choices of the entropy of pi(choice | decisions before), in nats.

        Both (architectures,), with their gradients.
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
        """log pi of each, (architectures,), with its gradient."""
        return self.evaluate(architectures)[0]

    def _start(self, count: int) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        x = self.embedding[:1].expand(count, -1)
        return x, (torch.zeros_like(x), torch.zeros_like(x))

    def _cell(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.lstm_cell(x, state, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)

    def _tokens(self, choice: int, decided: Tensor) -> Tensor:
        """Rows of the embedding; the first is the start's."""
        return 1 + choice * self.space.shape[1] + decided

    def _legal(self, prefixes: Sequence[Decisions]) -> Tensor:
        """(prefixes, candidates) of bool: what the next choice may take."""
        width = range(self.space.shape[1])
        allowed = [self.space.allowed(prefix) for prefix in prefixes]
        rows = {legal: [k in legal for k in width] for legal in set(allowed)}
        return torch.tensor([rows[legal] for legal in allowed])


class Rewards:
    """The quantile of a score among all scores told so far, in (0, 1), to a power.

    So any increasing transformation of the scores gives the same search, and one that failed is the worst.
    """

    def __init__(self, power: float) -> None:
        self.power = power
        self.scores: dict[Architecture, float] = {}

    def add(self, architecture: Architecture, score: float) -> None:
        self.scores[architecture] = max(score, self.scores.get(architecture, -math.inf))

    def of(self, architectures: Sequence[Architecture]) -> Tensor:
        """(architectures,) of architectures that were told."""
        quantiles = (rankdata(list(self.scores.values())) - 0.5) / len(self.scores)
        places = {a: i for i, a in enumerate(self.scores)}
        return torch.from_numpy(np.power(quantiles[[places[a] for a in architectures]], self.power)).float()
