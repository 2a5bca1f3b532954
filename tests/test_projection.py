"""DARTS-PT: what a projection decides, against supernets in which each candidate's part is known."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, darts, small_space

from oneshot.architects import GAEA, ReinMax
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.schedule import Schedule
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.stages import Projection, Stages, projection
from oneshot.tasks import Classification


class Additive:
    """A search whose supernet is a sum: each candidate adds its value times its gate to the score."""

    def __init__(self, space, values, architect):
        self.space, self.values, self.architect, self.seed = space, values, architect, 0
        self.metric, self.stages = Classification().metric(10), SimpleNamespace(number=1)

    def gates_of(self, batch):
        return self.architect.gates(SimpleNamespace())

    def evaluate(self, gates):
        found = gates(0)
        active = torch.tensor([[k in row for k in range(self.space.shape[1])] for row in found.active])
        score = float((self.values * found.weight.detach() * active).sum())
        return {"loss": -score, "accuracy": score / 1000}


def decide(space, values, architect, criterion):
    """All projections, with the number of them."""
    search, stages = Additive(space, values, architect), projection(space, criterion=criterion)
    for number, stage in enumerate(stages[1:], start=1):
        search.stages.number = number
        architect.restrict(stage.keep(search))
    return space.discretize(architect.scores()), stages


@pytest.mark.parametrize("criterion", ["metric", "loss"])
def test_a_sum_is_decided_by_its_terms(criterion):
    space = NASBench201((1, 8, 8), 10, cells=1)
    for seed in range(5):
        torch.manual_seed(seed)
        values = torch.rand(space.shape)
        architect = darts(space)
        p = architect.scores().detach()
        found, stages = decide(space, values, architect, criterion)
        assert found.decisions == tuple((p * values).argmax(1).tolist())
        assert len(stages) == 1 + 6


@pytest.mark.parametrize("criterion", ["metric", "loss"])
def test_of_the_edges_into_a_node_those_with_the_largest_terms_stay(criterion):
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=3)
    none = space.candidates.index("none")
    for seed in range(5):
        torch.manual_seed(seed)
        values = torch.rand(space.shape)
        values[:, none] = 2.0  # it would win, if it were one
        architect = darts(space)
        p = architect.scores().detach()
        found, stages = decide(space, values, architect, criterion)
        values[:, none] = 0
        operations = (p * values).argmax(1, keepdim=True)  # the gates of an edge differ by the noise of alpha's start
        assert found == space.discretize(torch.zeros_like(p).scatter(1, operations, values.gather(1, operations)))
        assert len(stages) == 1 + 9 + 2  # edges of a cell, and nodes with more than two of them


def test_none_wins_no_tie():
    space = NASBench201((1, 8, 8), 10, cells=1)
    found, _ = decide(space, torch.zeros(space.shape), darts(space), "metric")
    assert set(found.decisions) == {1}


def test_a_projection_is_that_of_a_plain_loop():
    """On a real supernet: accuracy without each candidate in turn, over the batches of the architecture part."""
    data = digits(train_size=96, batch_size=16)
    torch.manual_seed(0)
    space = NASBench201(data, cells=1, channels=4)
    search = Search(space, darts(space, lr=0.3), data, log_every=4)
    pl.Trainer(max_epochs=3, **QUIET).fit(search)
    search.stages.number = 1
    kept = Projection()(search)
    (i,) = [i for i in range(6) if kept[i].sum() == 1]
    p, accuracies = torch.softmax(search.architect.alpha.detach(), 1), []
    search.supernet.eval()
    for k in range(5):
        gates = p.clone()
        gates[i, k] = 0
        with torch.no_grad():
            right = [(search.supernet(x, Gates(gates)).argmax(1) == y) for x, y in search.architecture_part.passes()]
        accuracies.append(float(torch.cat(right).float().mean()))
    order = [1, 2, 3, 4, 0]  # `none` last
    assert kept[i].nonzero().item() == min(order, key=lambda k: accuracies[k])
    assert all(kept[j].all() for j in range(6) if j != i)


def test_a_search_with_projections_decides_everything():
    data = digits(train_size=32, batch_size=16)
    space = small_space(data, nodes=2)
    torch.manual_seed(0)
    stages = projection(space, search=1, tune=1)
    search = Search(space, darts(space), data, stages=stages)
    rates = []
    watch = pl.callbacks.LambdaCallback(
        on_train_epoch_start=lambda trainer, module: rates.append(trainer.optimizers[0].param_groups[0]["lr"])
    )
    pl.Trainer(max_epochs=len(stages), callbacks=[watch], **QUIET).fit(search)
    assert search.architect.mask.sum(1).tolist() == [1] * len(space.choices)
    names = [space.candidates[k] for k in search.architect.mask.int().argmax(1)]
    assert tuple(space.candidates[k] for k in search.found.decisions) == tuple(names)
    assert rates[0] == 0.025 and rates[1] == pytest.approx(0.0025) and rates[-1] < rates[1]


def test_an_architect_that_draws_paths_is_refused():
    data = digits(train_size=48, batch_size=12)
    space = NASBench201(data, cells=1, channels=4)
    with pytest.raises(InputError, match="a projection needs an architect whose gates mix"):
        Search(space, ReinMax(space), data, stages=projection(space))
    Search(space, GAEA(space), data, stages=projection(space))
    with pytest.raises(InputError, match="criterion"):
        projection(space, criterion="best")


def test_shares_keep_their_proportions():
    space = NASBench201((1, 8, 8), 10)
    assert Stages(projection(space), Schedule()).borders(76) == [50, 55, 60, 65, 70, 75, 76]
