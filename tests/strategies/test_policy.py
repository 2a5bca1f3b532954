"""The LSTM policy against a slow loop, REINFORCE against the expectation by enumeration, PPO's ratio and its clip."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from oneshot.architecture import Choice, Query
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.policy import Policy, Rewards
from oneshot.strategies.ppo import PPO
from oneshot.strategies.reinforce import Reinforce


class Table(SearchSpace):
    """Choices of 2, 3 and 2 candidates; after a first decision of 0, the second may not be 2: 10 architectures."""

    name = "table"
    choices = tuple(Choice(f"chain/{i}->{i + 1}", tuple("abc"[:n]), "chain") for i, n in enumerate((2, 3, 2)))

    def allowed(self, prefix):
        return (0, 1, 2) if prefix == (1,) else (0, 1)

    supernet = network = discretize = None  # type: ignore[assignment]


def every(space: SearchSpace):
    ranges = (range(len(c.candidates)) for c in space.choices)
    return [space.architecture(d) for d in itertools.product(*ranges) if space.is_valid(d)]


def stirred(policy: Policy) -> Policy:
    """In double precision, with outputs that are not zero."""
    policy.double()
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.uniform_(-0.8, 0.8, generator=generator)
    return policy


def slow(policy: Policy, decisions: tuple[int, ...]) -> list[dict[int, Tensor]]:
    """pi(candidate | prefix) along an architecture: the LSTM's equations, one candidate after the other."""
    space, hidden = policy.space, policy.embedding.shape[1]
    h = c = torch.zeros(hidden, dtype=torch.float64)
    rows = []
    for i in range(len(decisions)):
        row = 0 if i == 0 else 1 + (i - 1) * space.shape[1] + decisions[i - 1]
        x = policy.embedding[row]
        parts = (policy.weight_ih @ x + policy.bias_ih + policy.weight_hh @ h + policy.bias_hh).split(hidden)
        c = torch.sigmoid(parts[1]) * c + torch.sigmoid(parts[0]) * torch.tanh(parts[2])
        h = torch.sigmoid(parts[3]) * torch.tanh(c)
        legal = space.allowed(decisions[:i])
        e = {k: torch.exp(policy.output[i, k] @ h + policy.bias[i, k]) for k in legal}
        rows.append({k: e[k] / sum(e.values()) for k in legal})
    return rows


@pytest.mark.parametrize("space", [Table(), DARTSCells((3, 32, 32), 10, cells=3, channels=4)])
def test_log_probability_and_entropy_are_the_slow_ones(space):
    policy = stirred(Policy(space, 0, 5))
    architectures, drawn = policy.draw(6)
    log_pi, entropy = policy.evaluate(architectures)
    torch.testing.assert_close(drawn, log_pi.detach(), rtol=1e-12, atol=0)
    for a, lp, ent in zip(architectures, log_pi.tolist(), entropy.tolist(), strict=True):
        rows = [{k: p.item() for k, p in row.items()} for row in slow(policy, a.decisions)]
        assert lp == pytest.approx(sum(math.log(row[k]) for row, k in zip(rows, a.decisions, strict=True)), rel=1e-12)
        assert ent == pytest.approx(-sum(p * math.log(p) for row in rows for p in row.values()), rel=1e-12)
        assert space.is_valid(a.decisions)


def test_probabilities_sum_to_one_and_samples_follow_them():
    policy = stirred(Policy(Table(), 0, 5))
    architectures = every(policy.space)
    pi = policy.log_probability(architectures).exp()
    assert len(architectures) == 10 and pi.sum().item() == pytest.approx(1, rel=1e-12)
    drawn, _ = policy.draw(5000)
    for a, p in zip(architectures, pi.tolist(), strict=True):
        assert abs(drawn.count(a) / 5000 - p) < 5 * math.sqrt(p * (1 - p) / 5000)


def test_uniform_over_allowed_at_first_and_the_global_generator_rests():
    before = torch.get_rng_state()
    policy = Policy(Table(), 3, 8)
    policy.draw(4)
    assert torch.equal(before, torch.get_rng_state())
    for a in every(policy.space):
        expected = 1 / 2 * (1 / 3 if a.decisions[0] == 1 else 1 / 2) * 1 / 2
        assert policy.log_probability([a]).exp().item() == pytest.approx(expected, rel=1e-6)


def gradient(scalar: Tensor, policy: Policy) -> Tensor:
    found = torch.autograd.grad(scalar, list(policy.parameters()), allow_unused=True)
    return torch.cat([torch.zeros(0) if g is None else g.flatten() for g in found])


def test_reinforce_descends_the_expected_reward():
    """Over all architectures, weighed by pi, its gradient is that of -E[R] less the entropy bonus, whatever b is.

    The bonus along a sample leaves out how the sample itself moves: pi is held fixed in it here as well.
    """
    strategy = Reinforce(Table(), entropy_weight=0.3)
    policy = stirred(strategy.policy)
    architectures = every(strategy.space)
    rewards = torch.linspace(-1, 2, 10, dtype=torch.float64)
    rows = [slow(policy, a.decisions) for a in architectures]
    pi = torch.stack(
        [
            math.prod(r[k] for r, k in zip(row, a.decisions, strict=True))
            for row, a in zip(rows, architectures, strict=True)
        ]
    )
    along = torch.stack([-sum(p * p.log() for r in row for p in r.values()) for row in rows])
    expected = gradient(-(pi * rewards).sum() - 0.3 * (pi.detach() * along).sum(), policy)
    for baseline in (0.0, 0.7):
        losses = [strategy.loss([a], r[None] - baseline) for a, r in zip(architectures, rewards, strict=True)]
        found = gradient(sum(p * loss for p, loss in zip(pi.tolist(), losses, strict=True)), policy)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_reinforce_updates_every_batch():
    strategy = Reinforce(Table(), batch=3, baseline_decay=0.5, power=1.0)
    a, b, c = every(strategy.space)[:3]
    start = strategy.policy.bias.clone()
    for i, (architecture, score) in enumerate(((a, 1.0), (b, -math.inf), (c, 5.0))):
        assert torch.equal(strategy.policy.bias, start)
        strategy.learn(Query(architecture), score)
        assert len(strategy.waiting) == (i + 1) % 3
    assert not torch.equal(strategy.policy.bias, start)
    assert strategy.baseline == pytest.approx(0.5)  # the mean quantile of a first batch
    for architecture, score in ((every(strategy.space)[3], 9.0), (c, 5.0), (a, 1.0)):
        strategy.learn(Query(architecture), score)
    # of four scores: 7/8, 5/8 and 3/8
    assert strategy.baseline == pytest.approx(0.5 * 0.5 + 0.5 * 5 / 8)


def test_ppo_ratio_is_one_before_the_first_update():
    """So its first gradient is REINFORCE's, with log pi_old from the ask."""
    ppo, reinforce = PPO(Table(), entropy_weight=0.0), Reinforce(Table(), entropy_weight=0.0)
    for strategy in (ppo, reinforce):
        stirred(strategy.policy)
    asked = [ppo.ask().architecture for _ in range(6)]
    old = torch.tensor([ppo.asked[a] for a in asked], dtype=torch.float64)
    torch.testing.assert_close(old, ppo.policy.log_probability(asked).detach(), rtol=1e-12, atol=0)
    advantages = torch.linspace(-1, 1, 6, dtype=torch.float64)
    first = gradient(ppo.loss(asked, old, advantages), ppo.policy)
    torch.testing.assert_close(first, gradient(reinforce.loss(asked, advantages), reinforce.policy))


def test_ppo_clip():
    """Outside the range nothing pulls further; where the ratio went the wrong way, the gradient is whole."""
    strategy = PPO(Table(), clip=0.2, entropy_weight=0.0)
    policy = stirred(strategy.policy)
    a = every(strategy.space)[4]
    now = policy.log_probability([a]).detach()
    plain = gradient(policy.log_probability([a]).sum(), policy)
    for ratio, advantage, pulls in (
        (1.3, 1.0, False),
        (0.7, -1.0, False),
        (1.3, -1.0, True),
        (0.7, 1.0, True),
        (1.1, 1.0, True),
        (0.9, -1.0, True),
    ):
        old, advantages = now - math.log(ratio), torch.tensor([advantage], dtype=torch.float64)
        found = gradient(strategy.loss([a], old, advantages), policy)
        torch.testing.assert_close(found, -ratio * advantage * plain if pulls else torch.zeros_like(plain))


def test_ppo_is_finite_far_outside_the_clip():
    strategy = PPO(Table())
    architectures = every(strategy.space)[:2]
    loss = strategy.loss(architectures, torch.full((2,), -1000.0), torch.tensor([1.0, -1.0]))
    assert bool(gradient(loss, strategy.policy).isfinite().all())


def test_rewards_are_quantiles():
    rewards = Rewards(power=3.0)
    first, second, third = every(Table())[:3]
    rewards.add(first, -math.inf)
    rewards.add(second, -1e9)
    rewards.add(third, 4.0)
    rewards.add(third, -math.inf)  # the best counts
    expected = torch.tensor([5 / 6, 1 / 6, 1 / 2]) ** 3
    torch.testing.assert_close(rewards.of([third, first, second]), expected)


@pytest.mark.parametrize("strategy", [Reinforce, PPO])
def test_failures_leave_the_policy_finite(strategy):
    search = strategy(Table(), batch=2)
    for i in range(20):
        search.tell(search.ask(), {"accuracy": math.nan if i % 3 else float(i)})
    assert all(bool(p.isfinite().all()) for p in search.policy.parameters())


@pytest.mark.parametrize(
    ("strategy", "knob"),
    [(Reinforce, {"batch": 0}), (Reinforce, {"lr": 0.0}), (Reinforce, {"baseline_decay": 1.5})]
    + [(PPO, {"clip": 0.0}), (PPO, {"epochs": 0}), (PPO, {"hidden": 0}), (PPO, {"entropy_weight": -1.0})],
)
def test_knobs_out_of_range(strategy, knob):
    with pytest.raises(InputError, match=next(iter(knob))):
        strategy(Table(), **knob)
