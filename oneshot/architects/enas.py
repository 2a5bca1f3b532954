"""ENAS: Efficient Neural Architecture Search via Parameter Sharing (Pham et al., arXiv:1802.03268)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import draws
from ..architecture import Architecture, Gates
from ..errors import Diverged, check_integer, check_range
from ..schedule import Schedule
from ..selection import BestOf
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step, evaluating, trains

Decisions = tuple[int, ...]
ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=3.5e-4)  # as published


class ENAS(Architect):
    """ENAS. An LSTM controller decides one choice after the other; REINFORCE moves it by the supernet's metric.

    At each choice the LSTM reads the embedding of the last decision (a learned start vector first). pi is the softmax
    of tanh_constant * tanh(logits / temperature) over `allowed`, so every sample is valid. The reward of a sample a is
    R - entropy_weight * log pi(a). R is the task's metric (accuracy in the paper) on the validation batch, with the
    supernet in eval mode. A metric that is minimized is an error, and R is 1 - error. A cost makes R 1 - cost(error,
    one-hot), where the error is 1 - metric if this is maximized. The loss is -(reward - baseline) * log pi(a). In a
    joint schedule the training batch gives the reward, and the weights descend the sample's criterion.

    The paper takes one epoch of weight steps, then 2,000 steps of the controller, in turn, and the best of the
    controller's samples at the end. The schedule here has shorter phases in the same order. From the paper are
    temperature 5, tanh constant 2.5, 100 hidden units, and parameters from U(-0.1, 0.1) of the global generator.

    Where this differs: entropy_weight is 1e-3 (paper 0.1, authors' code 1e-4). The entropy of 28 choices is 50 nats: at
    0.1 they outweigh any metric from 0 to 1, and at 1e-4 a short search decides too early. baseline_decay is 0.9
    (authors' code 0.99), as phases here have tens of steps and not thousands. The bonus is -log pi(a), because the
    code's sum of entropies along one sample has a biased gradient. Choices have embeddings and outputs of their own, as
    their candidates may differ. The baseline is 0 at first and becomes the first reward.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the controller. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Lowers the reward by what the network costs; None changes nothing.
        temperature: Divides the controller's logits; above 0.
        tanh_constant: Largest logit, after a tanh; above 0.
        entropy_weight: Change of the metric that one nat of -log pi is worth; at least 0.
        baseline_decay: Share of the moving average of the reward that a step keeps, in [0, 1].
        samples: Architectures of a controller step.
        hidden: Units of the LSTM.
        marginal_samples: Sampled prefixes that `scores` averages over.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Pham, Guan, Zoph, Le and Dean, Efficient Neural Architecture Search via Parameter Sharing, arXiv:1802.03268.
    """

    differentiates_gates = False
    schedule = Schedule(warmup_epochs=1, weight_steps=50, architecture_steps=25)
    selection = BestOf(30)

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        temperature: float = 5.0,
        tanh_constant: float = 2.5,
        entropy_weight: float = 1e-3,
        baseline_decay: float = 0.9,
        samples: int = 1,
        hidden: int = 100,
        marginal_samples: int = 500,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        check_range("architect.temperature", temperature, 0.0, open_low=True)
        check_range("architect.tanh_constant", tanh_constant, 0.0, open_low=True)
        check_range("architect.entropy_weight", entropy_weight, 0.0)
        check_range("architect.baseline_decay", baseline_decay, 0.0, 1.0)
        check_integer("architect.samples", samples, 1)
        check_integer("architect.hidden", hidden, 1, 10_000)
        check_integer("architect.marginal_samples", marginal_samples, 1)
        self.temperature, self.tanh_constant, self.entropy_weight = temperature, tanh_constant, entropy_weight
        self.baseline_decay, self.samples, self.marginal_samples = baseline_decay, samples, marginal_samples
        self.hidden = hidden
        self.mask = space.decidable  # whole architectures are drawn
        choices, candidates = space.shape
        self.embedding = nn.Embedding(1 + (choices - 1) * candidates, hidden)  # the start, then of each decision
        self.lstm = nn.LSTM(hidden, hidden)
        self.output = nn.Parameter(torch.empty(choices, candidates, hidden))
        self.bias = nn.Parameter(torch.empty(choices, candidates))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -0.1, 0.1)
        self.register_buffer("baseline", torch.tensor(0.0))
        self.register_buffer("rewarded", torch.tensor(False))  # whether the baseline has seen a reward
        self.baseline: Tensor
        self.rewarded: Tensor
        self.reward: Tensor | None = None  # mean of the last loss, for after_step

    def gates(self, step: Step) -> Gates:
        """Return the gates of one architecture that the controller draws."""
        return self._gates(self._draw(1, step.generator("enas"))[0][0])

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the REINFORCE loss of drawn architectures."""
        samples = self._draw(self.samples, step.generator("enas"))[0]
        log_pi = self.log_probability(samples)
        with torch.no_grad(), evaluating(supernet):
            rewards = torch.stack([self._value(supernet, self._gates(a), valid) for a in samples]).to(log_pi.dtype)
        rewards = rewards - self.entropy_weight * log_pi.detach()
        self.reward = rewards.mean()
        loss = -((rewards - self.baseline) * log_pi).mean()
        if trains(supernet):
            x, y = train
            loss = loss + self.criterion(supernet(x, self._gates(samples[0])), y)
        return loss

    def after_step(self) -> None:
        """Move the baseline towards the last rewards. It lives on over phases, epochs and checkpoints."""
        if self.reward is not None:
            last = torch.where(self.rewarded, self.baseline, self.reward)
            self.baseline.copy_(self.baseline_decay * last + (1 - self.baseline_decay) * self.reward)
            self.rewarded.fill_(True)
            self.reward = None

    @torch.no_grad()
    def scores(self) -> Tensor:
        """Return the marginals: the mean of pi(choice | prefix) over prefixes that a fixed generator draws."""
        probabilities = self._draw(self.marginal_samples, draws.generator(0, "enas/marginals", 0))[1]
        return probabilities.mean(0).to(self.mask.device)

    def log_probability(self, samples: Sequence[Decisions]) -> Tensor:
        """Return log pi of each sample, (samples,), with its gradient.

        It is computed outside autocast, as it is a product of many factors.
        """
        choices, candidates = self.space.shape
        device = self.bias.device
        decided = torch.tensor(samples)
        tokens = 1 + torch.arange(choices - 1) * candidates + decided[:, :-1]
        tokens = torch.cat([torch.zeros_like(decided[:, :1]), tokens], dim=1).to(device)
        legal = torch.stack([self._legal([a[:i] for a in samples]) for i in range(choices)], dim=1).to(device)
        with torch.autocast(device.type, enabled=False):
            h, _ = self.lstm(self.embedding(tokens).transpose(0, 1))
            logits = self._squash(torch.einsum("ibh,ikh->bik", h, self.output) + self.bias)
            log_pi = torch.log_softmax(logits.masked_fill(~legal, -torch.inf), dim=2)
        return log_pi.gather(2, decided.to(device)[:, :, None]).sum((1, 2))

    @torch.no_grad()
    def _draw(self, count: int, generator: torch.Generator) -> tuple[list[Decisions], Tensor]:
        """Samples, and pi(candidate | prefix) on their way, (samples, choices, candidates).

        On the host, as `allowed` is: one transfer of the parameters, and no wait at each choice.
        """
        p = self._on_host()
        samples: list[Decisions] = [()] * count
        rows = []
        x = p["embedding.weight"][:1].expand(count, -1)
        h = c = torch.zeros_like(x)
        lstm = [p[f"lstm.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        with torch.autocast("cpu", enabled=False):
            for i, (output, bias) in enumerate(zip(p["output"], p["bias"], strict=True)):
                h, c = torch.lstm_cell(x, (h, c), *lstm)
                logits = self._squash(h @ output.T + bias).masked_fill(~self._legal(samples), -torch.inf)
                rows.append(torch.softmax(logits, dim=1))
                if not bool(rows[-1].isfinite().all()):
                    raise Diverged(
                        "the controller's probabilities are not finite; a lower architect.optimizer.lr may help"
                    )
                decided = torch.multinomial(rows[-1], 1, generator=generator)[:, 0]
                samples = [(*a, k) for a, k in zip(samples, decided.tolist(), strict=True)]
                if i + 1 < len(self.space.choices):
                    x = p["embedding.weight"][1 + i * self.space.shape[1] + decided]
        return samples, torch.stack(rows, dim=1)

    def _on_host(self) -> dict[str, Tensor]:
        parameters = dict(self.named_parameters())
        flat = torch.cat([p.detach().flatten() for p in parameters.values()]).cpu()
        parts = flat.split([p.numel() for p in parameters.values()])
        return {name: part.view_as(p) for part, (name, p) in zip(parts, parameters.items(), strict=True)}

    def _legal(self, prefixes: Sequence[Decisions]) -> Tensor:
        """(prefixes, candidates) of bool, on the host: what the next choice may take."""
        width = range(self.space.shape[1])
        allowed = [self.space.allowed(prefix) for prefix in prefixes]
        rows = {legal: [k in legal for k in width] for legal in set(allowed)}
        return torch.tensor([rows[legal] for legal in allowed])

    def _squash(self, logits: Tensor) -> Tensor:
        return self.tanh_constant * torch.tanh(logits / self.temperature)

    def _gates(self, decisions: Decisions) -> Gates:
        weight = self.space.one_hot(Architecture(self.space.fingerprint, decisions)).to(self.mask.device)
        return Gates(weight, tuple((k,) for k in decisions))

    def _value(self, supernet: nn.Module, gates: Gates, examples: Examples) -> Tensor:
        """Reward by the metric; with a cost, what is left when the error has it."""
        x, y = examples
        value = self.metric.of_batch(supernet(x, gates), y).to(gates.weight.dtype)
        if self.cost is None:
            return self.metric.reward(value)
        return 1 - self.cost(self.metric.error(value), gates.weight)
