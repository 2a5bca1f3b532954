"""What must hold for every architect in conf/architect."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from support import ROOT, small_space
from torch.nn import functional

from oneshot.architects import Step
from oneshot.architects.base import frozen
from oneshot.architecture import Gates

NAMES = sorted(path.stem for path in (ROOT / "conf" / "architect").glob("*.yaml"))


def build(name, space):
    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        config = compose("search", [f"architect={name}"])
    torch.manual_seed(0)
    return instantiate(config.architect, space=space, criterion=functional.cross_entropy, _convert_="all")


def test_architects_are_seen():
    assert len(NAMES) == 1


@pytest.mark.parametrize("name", NAMES)
def test_gates_and_scores(name):
    space = small_space()
    architect = build(name, space)
    gates = architect.gates(Step(0, 3, 10))
    assert isinstance(gates, Gates) and gates.weight.shape == space.shape
    scores = architect.scores()
    assert scores.shape == space.shape
    assert torch.allclose(scores.sum(1), torch.ones(len(space.choices)), atol=1e-5)
    assert 0 <= float(architect.entropy().detach()) <= 1 + 1e-6
    again = architect.gates(Step(0, 3, 10))
    assert torch.equal(gates.weight, again.weight) and gates.active == again.active


@pytest.mark.parametrize("name", NAMES)
def test_a_step_moves_all_of_the_architect_and_none_of_the_supernet(name):
    space = small_space()
    architect, supernet = build(name, space), space.supernet()
    weights = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    batches = [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(2)]
    with frozen(supernet):
        loss = architect.loss(supernet, *batches, weights, Step(0, 0, 10))
    loss.backward()
    for key, parameter in architect.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    assert all(p.grad is None and p.requires_grad for p in supernet.parameters())
    assert all(torch.equal(before[key], value) for key, value in supernet.state_dict().items())
    assert not weights.state


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_disjoint_and_saved(name):
    space = small_space()
    architect = build(name, space)
    saved = architect.state_dict()
    assert set(dict(architect.named_parameters())) <= set(saved)
    other = build(name, space)
    for parameter in other.parameters():
        parameter.data.add_(1)
    other.load_state_dict(saved)
    assert torch.equal(other.scores(), architect.scores())


class Toy(torch.nn.Module):
    """A supernet whose loss is smallest when every choice takes its best candidate."""

    def __init__(self, space):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.best = torch.randint(space.shape[1], (len(space.choices),), generator=generator)
        self.value = torch.nn.functional.one_hot(self.best, space.shape[1]).float()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, gates):
        good = (gates.weight * self.value).sum(1).mean()
        return torch.stack([torch.zeros(len(x)), 8 * good.expand(len(x))], dim=1) + 0 * self.w


@pytest.mark.parametrize("name", NAMES)
def test_the_best_candidate_of_a_toy_wins(name):
    space = small_space()
    architect, toy = build(name, space), Toy(space)
    optimizer = torch.optim.Adam(architect.parameters(), lr=0.05)
    x, y = torch.zeros(8, 1), torch.ones(8, dtype=torch.long)
    weights = torch.optim.SGD(toy.parameters(), lr=0.1)
    for index in range(300):
        with frozen(toy):
            loss = architect.loss(toy, (x, y), (x, y), weights, Step(0, index, 300))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        architect.after_step()
    best = architect.scores()[torch.arange(len(space.choices)), toy.best]
    assert best.min() >= 0.8
