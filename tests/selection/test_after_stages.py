"""What each selection keeps after stages that left out candidates, against an enumeration of what is left."""

import random
from itertools import product
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, darts, small_space

from oneshot.architects import SNAS
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.search import Search
from oneshot.selection import BestOf, ByScores, Shapley, SkipLimit
from oneshot.selection.base import check_selected
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.stages import Stage, best
from oneshot.tasks import Classification

NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
DARTS = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=1, candidates=NAMES)
CELL = NASBench201((1, 8, 8), 10, cells=1, channels=4)


class Supernet:
    """Random numbers in place of measurements; keeps what is asked."""

    metric = Classification().metric(10)

    def __init__(self, seed):
        self.rng, self.asked = random.Random(seed), []

    def estimate(self, queries):
        self.asked += [query.architecture.decisions for query in queries]
        return [{"accuracy": self.rng.random()} for _ in queries]

    def evaluate(self, gates, batches=0):
        return {"loss": 1.0, "accuracy": self.rng.random()}


def narrowed(space, number, seed):
    """An architect whose alpha is random, with so many candidates left of each choice."""
    architect = darts(space)
    torch.nn.init.normal_(architect.alpha, generator=torch.Generator().manual_seed(seed))
    architect.restrict(best(architect.scores(), architect.mask, number, space.selectable))
    torch.nn.init.normal_(architect.alpha, generator=torch.Generator().manual_seed(seed + 100))
    return architect


def inside(space, architect):
    """The decisions of all valid architectures of what is left; in the DARTS space every edge can also be absent."""
    absent = {0} if space is DARTS else set()
    rows = [[k for k, there in enumerate(row) if there or k in absent] for row in architect.mask.tolist()]
    return {decisions for decisions in product(*rows) if space.is_valid(decisions)}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("space", [DARTS, CELL], ids=["darts", "nasbench201"])
@pytest.mark.parametrize(
    "selection",
    [ByScores(), BestOf(20), BestOf(20, from_scores=True), Shapley(2, batches=1), SkipLimit(0, cell=None)],
    ids=lambda selection: type(selection).__name__,
)
def test_nothing_comes_back_that_was_left_out(selection, space, number):
    for seed in range(10):
        architect = narrowed(space, number, seed)
        found = selection(space, architect, Supernet(seed))
        assert found.decisions in inside(space, architect)
        assert check_selected(selection, found, space, architect) is found


@pytest.mark.parametrize("space", [DARTS, CELL], ids=["darts", "nasbench201"])
def test_scores_of_exactly_zero_are_no_reason_for_what_was_left_out(space):
    """As of an architect that has decided: the softmax is 1 at one candidate, often `none`, and 0 at all others."""
    for seed in range(10):
        architect = narrowed(space, 2, seed)
        with torch.no_grad():
            architect.alpha *= 1e6
        assert bool((architect.scores()[architect.mask] == 0).any())
        for selection in (ByScores(), BestOf(20, from_scores=True), SkipLimit(0, cell=None)):
            found = selection(space, architect, Supernet(seed))
            assert found.decisions in inside(space, architect), type(selection).__name__


def test_drawn_paths_that_are_all_none_give_what_is_left():
    """A path of the DARTS space can leave a node without two operations: the discretization adds some."""
    architect = SNAS(DARTS)
    torch.nn.init.normal_(architect.alpha, generator=torch.Generator().manual_seed(0))
    architect.restrict(torch.tensor([[True, False, False, True]] * len(DARTS.choices)))
    supernet = Supernet(0)
    found = BestOf(40)(DARTS, architect, supernet)
    assert found.decisions in inside(DARTS, architect) and {*supernet.asked} <= inside(DARTS, architect)


@pytest.mark.parametrize("from_scores", [False, True])
def test_all_that_is_left_is_drawn(from_scores):
    architect, supernet = narrowed(DARTS, 2, 0), Supernet(0)
    BestOf(400, from_scores=from_scores)(DARTS, architect, supernet)
    assert {*supernet.asked} == inside(DARTS, architect) and len(supernet.asked) > 3


def test_one_candidate_that_is_left_is_an_operation():
    """In the DARTS space `none` is no operation of an edge that is there; in NAS-Bench-201 it is."""
    scores = torch.tensor([[0.7, 0.1, 0.15, 0.05]])
    for space, expected in ((DARTS, 2), (CELL, 0)):
        selectable = space.selectable[:1, :4]
        kept = best(scores, torch.ones_like(scores, dtype=torch.bool), 1, selectable)
        assert kept.nonzero()[:, 1].tolist() == [expected]
        assert best(scores, kept | (scores > 0.14), 2, selectable)[0, 0]  # of two it may be one
    assert DARTS.selectable.sum(1).tolist() == [3] * len(DARTS.choices) and CELL.selectable.equal(CELL.mask)


def test_a_selection_of_ones_own_is_checked():
    data = digits(train_size=64, batch_size=16)
    space = small_space(data)
    first = space.architecture(space.sample(random.Random(0)).decisions)

    def searched(selection, **options):
        search = Search(space, darts(space), data, selection=selection, **options)
        pl.Trainer(max_epochs=2, **QUIET).fit(search)
        return search.found

    assert searched(lambda *_: first) == first
    with pytest.raises(InputError, match="selection: <lambda> gives 'skip_connect'; must be a valid architecture of "):
        searched(lambda *_: "skip_connect")
    with pytest.raises(InputError, match="selection: <lambda> gives .* which the stages of this search left out"):
        searched(lambda *_: first, stages=[Stage(), Stage(keep=1)])
    other = SimpleNamespace(space="other", decisions=first.decisions)
    with pytest.raises(InputError, match="must be a valid architecture"):
        searched(lambda *_: other)


def test_a_limit_of_skips_needs_three_candidates():
    data = digits(train_size=64, batch_size=16)
    space = small_space(data)
    for keep, refused in ((1, True), (2, True), (3, False)):
        options = {"selection": SkipLimit(), "stages": [Stage(), Stage(keep=keep)]}
        if refused:
            with pytest.raises(
                InputError, match=f"SkipLimit needs 3 candidates of each choice; the stages leave {keep}"
            ):
                Search(space, darts(space), data, **options)
        else:
            Search(space, darts(space), data, **options)
