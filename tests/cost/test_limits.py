"""Limits: texts, whole networks, the multiplier by hand, choices beside enumeration, draws beside uniform ones."""

import itertools
import math
import random
from collections import Counter

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, Keep, configured
from scipy.stats import chisquare

from oneshot import cost
from oneshot.architects import DARTS, Largest
from oneshot.architecture import Choice
from oneshot.cost import ExpectedCost, Limit, discretize_within, holds, largest_within, sample_within
from oneshot.cost.limits import parse_limit
from oneshot.errors import InputError
from oneshot.search import Search
from oneshot.spaces import DARTSCells, MBConvChain, NASBench201, SearchSpace
from oneshot.stages import Stage

CELLS = DARTSCells((3, 8, 8), 10, cells=4, channels=4, nodes=2)
GRAPH = NASBench201((3, 8, 8), 10, cells=1, channels=4)
CHAIN = MBConvChain((3, 16, 16), 10, width=0.25, head=32)
SPACES = {space.name: space for space in (CELLS, GRAPH, CHAIN)}
KINDS = {"parameters": cost.parameters, "multiply_accumulates": cost.multiply_accumulates}


@pytest.mark.parametrize(
    ("text", "quantity", "value"),
    [
        ("300k_parameters", "parameters", 3e5),
        ("300k", "parameters", 3e5),
        (300_000, "parameters", 3e5),
        ("3.5e5", "parameters", 3.5e5),
        ("20M_macs", "multiply_accumulates", 2e7),
        ("1.5G", "multiply_accumulates", 1.5e9),
        ("10ms", "latency", 10),
        ("250us", "latency", 0.25),
        ("0.01s", "latency", 10),
        (7, "latency", 7),
    ],
)
def test_texts(text, quantity, value):
    assert parse_limit(text, quantity) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "quantity", "message"),
    [
        ("10ms", "parameters", "is a limit of latency; cost=latency takes it"),
        ("300k_parameters", "latency", "is a limit of parameters; cost=parameters takes it"),
        ("10m", "latency", "must be a time above 0, as 10ms"),
        ("300k", "latency", "must be a time above 0, as 10ms"),
        ("1e40", "parameters", "must be a number of parameters above 0"),
        ("k", "parameters", "must be a number of parameters above 0, as 300k"),
        ("", "parameters", "must be a number of parameters above 0, as 300k"),
        (0, "parameters", "cost.limit=0: must be"),
        (-1, "parameters", "cost.limit=-1: must be"),
        ("-1k", "parameters", "must be"),
        (True, "parameters", "cost.limit=True: must be"),
        (math.inf, "parameters", "must be"),
        ("1e999", "parameters", "must be"),
        ([3], "parameters", "must be"),
    ],
)
def test_refused_texts(text, quantity, message):
    with pytest.raises(InputError, match=message):
        parse_limit(text, quantity)


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_prediction_is_the_whole_network(name, kind):
    """Exactly; of a cell whose inputs are not all used it is not below."""
    space, rng = SPACES[name], random.Random(3)
    priced = KINDS[kind](space, limit=1e12)
    for _ in range(10):
        architecture = space.used(space.sample(rng))
        whole = cost.network_cost(space, architecture, space.image_shape)[kind]
        predicted = priced.of(architecture.decisions)
        assert predicted == whole or name == "darts" and whole < predicted < 1.2 * whole
        assert priced.limit.whole(architecture).value == whole


class Toy(SearchSpace):
    """Four layers of three candidates, and a table of what they cost."""

    name = "toy"
    choices = tuple(Choice(f"toy/{i}->{i + 1}", ("a", "b", "c"), f"layer {i}") for i in range(4))
    settings: dict = {}

    def allowed(self, prefix):
        return (0, 1, 2)

    def supernet(self):
        raise NotImplementedError

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        return self.architecture(scores.argmax(1).tolist())

    def parameters(self):
        return TABLE


TABLE = torch.tensor([[0.0, 3.0, 7.0], [1.0, 2.0, 9.0], [0.0, 5.0, 6.0], [2.0, 4.0, 8.0]], dtype=torch.float64)
TOY = Toy()
EVERY = [TOY.architecture(decisions) for decisions in itertools.product(range(3), repeat=4)]


def toy(value, fixed=10.0, **options):
    return ExpectedCost(TABLE, 0.5, limit=Limit(value, "parameters", str(value), fixed), **options)


def spent(architecture):
    return 10 + sum(float(TABLE[i, k]) for i, k in enumerate(architecture.decisions))


@pytest.mark.parametrize("value", [13, 17, 22, 30, 40])
def test_scores_within_a_limit(value):
    """Never over it; what the scores give where that holds; and beside the best of all 81, close to it."""
    priced, generator, losses = toy(value), torch.Generator().manual_seed(0), []
    within = [a for a in EVERY if spent(a) <= value]
    for _ in range(40):
        scores = torch.rand(4, 3, generator=generator, dtype=torch.float64)
        scores /= scores.sum(1, keepdim=True)

        def worth(architecture, scores=scores):
            return sum(math.log(scores[i, k]) for i, k in enumerate(architecture.decisions))

        found = discretize_within(TOY, priced, scores)
        assert holds(TOY, priced, found) and spent(found) <= value
        plain = TOY.discretize(scores)
        if spent(plain) <= value:
            assert found == plain
        losses.append(max(map(worth, within)) - worth(found))
    assert min(losses) >= -1e-12 and sorted(losses)[20] < 0.2  # half of them lose less than a fifth of the likelihood


@pytest.mark.parametrize("value", [13, 17, 22, 30, 40])
def test_the_largest_within_a_limit_is_that_of_all(value):
    assert spent(largest_within(TOY, toy(value))) == max(spent(a) for a in EVERY if spent(a) <= value)


@pytest.mark.parametrize("value", [15, 20, 40])
def test_draws_within_a_limit_are_uniform(value):
    rng, priced = random.Random(0), toy(value)
    drawn = Counter(sample_within(TOY, priced, rng) for _ in range(1000))
    within = [a for a in EVERY if spent(a) <= value]
    assert set(drawn) <= set(within)
    assert chisquare([drawn[a] for a in within]).pvalue > 0.001


def test_draws_of_candidates_that_are_left():
    left = torch.tensor([[True, True, False]] * 4)
    drawn = [sample_within(TOY, toy(18), random.Random(n), left) for n in range(50)]
    assert all(spent(a) <= 18 and 2 not in a.decisions for a in drawn)
    assert 2 not in largest_within(TOY, toy(18), left).decisions


@pytest.mark.parametrize("name", SPACES)
def test_the_spaces_hold_a_limit(name):
    space, rng = SPACES[name], random.Random(1)
    free = cost.parameters(space, limit=1e9)
    costs = sorted(free.of(space.used(space.sample(rng)).decisions) for _ in range(20))
    priced = cost.parameters(space, limit=costs[5])
    scores = torch.rand(space.shape, generator=torch.Generator().manual_seed(0)) * space.mask
    for found in (
        discretize_within(space, priced, scores),
        largest_within(space, priced),
        sample_within(space, priced, rng),
    ):
        assert space.is_valid(found.decisions)
        assert priced.limit.whole(found).value <= costs[5]
    assert priced.of(space.used(largest_within(space, priced)).decisions) >= costs[3]


def test_a_limit_that_nothing_holds_is_refused():
    with pytest.raises(InputError, match="cost.limit=10: the smallest network of this space has [0-9,]+ parameters; "):
        cost.parameters(CHAIN, limit=10)


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
def test_loss_and_multiplier_by_hand(form):
    """(fixed + kept * E) / limit, and 40 / updates * (that - 1) after each step, never below 0."""
    priced = toy(20.0, form=form, kept=0.5)
    multiplier = 0.5
    for step in range(30):
        p = torch.softmax(torch.randn(4, 3, generator=torch.Generator().manual_seed(step)).double(), 1)
        p.requires_grad_()
        share = (10 + 0.5 * float((p.detach() * TABLE).sum())) / 20
        loss = priced(torch.tensor(2.0, dtype=torch.float64), p)
        expected = 2 + multiplier * share if form == "additive" else 2 * share**multiplier
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-12)
        (gradient,) = torch.autograd.grad(loss, p)
        slope = multiplier / 20 * 0.5 * TABLE * (1 if form == "additive" else 2 * share ** (multiplier - 1))
        torch.testing.assert_close(gradient, slope, atol=1e-12, rtol=1e-12)
        priced.adapt(200)
        multiplier = max(0.0, multiplier + 40 / 200 * (share - 1))
        assert priced.multiplier == pytest.approx(multiplier, abs=1e-12)


def test_what_is_kept_of_the_expected_cost():
    priced, p = toy(20.0), torch.full((4, 3), 1 / 3, dtype=torch.float64)
    for _ in range(3):
        priced(torch.tensor(1.0), p)
        priced.adapt(100)
    priced.measure_kept((2, 2, 2, 2))
    assert priced.kept == pytest.approx(30 / float((p * TABLE).sum()), rel=1e-12)
    before = priced.kept
    priced.measure_kept((0, 0, 0, 0))  # nothing was paid since
    assert priced.kept == before


def test_without_a_limit_nothing_is_kept_in_a_checkpoint():
    free = ExpectedCost(TABLE, 0.5)
    assert not free.state_dict() and [*toy(20.0).state_dict()] == ["state"]
    free(torch.tensor(1.0), torch.full((4, 3), 1 / 3))
    free.adapt(10)
    assert free.multiplier == 0.5


ARCHITECTS = ["darts", "snas", "enas", "proxyless", "gdas", "uniform", "fair_darts", "darts_second", "drnas"]


@pytest.mark.parametrize("name", ARCHITECTS)
def test_a_search_holds_its_limit(data, name):
    space = NASBench201(data.image_shape, data.classes, cells=1, channels=4)
    search = configured(name, data, space=space)
    search.architect.cost = cost.parameters(space, limit=8_300)  # which half of the cells hold
    pl.Trainer(max_epochs=2, **QUIET).fit(search)
    assert search.limited.limit.whole(search.found).value <= 8_300
    shares = [row["share_of_limit"] for row in search.rows if "share_of_limit" in row]
    assert len(shares) == 2 and all(share > 0 for share in shares)


def test_more_pressure_leads_under_the_limit(data):
    """The scores alone, without the last choice: as the multiplier rises while they are over."""
    space = NASBench201(data.image_shape, data.classes, cells=1, channels=4)
    priced = cost.parameters(space, limit=8_000)
    torch.manual_seed(0)
    architect = DARTS(space, cost=priced)
    architect.optimizer = lambda p: torch.optim.Adam(p, lr=0.2)
    search = Search(space, architect, data)
    pl.Trainer(max_epochs=8, **QUIET).fit(search)
    rows = [row for row in search.rows if "share_of_limit" in row]
    assert max(row["multiplier"] for row in rows) > 0.1
    assert rows[-1]["share_of_limit"] <= 1.0 and not search.pressed


def test_the_multiplier_comes_back_from_a_checkpoint(data, tmp_path):
    space = NASBench201(data.image_shape, data.classes, cells=1, channels=4)

    def search():
        found = configured("darts", data, space=space)
        found.architect.cost = cost.parameters(space, limit=8_000)
        return found

    keep, whole = Keep(tmp_path / "one.ckpt"), search()
    pl.Trainer(max_epochs=3, callbacks=[keep], **{**QUIET, "enable_checkpointing": True}).fit(whole)
    again = search()
    pl.Trainer(max_epochs=3, **QUIET).fit(again, ckpt_path=keep.path)
    assert again.rows == whole.rows and again.found == whole.found
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


@pytest.mark.parametrize("name", ["uniform", "sandwich", "path_dropout"])
def test_where_nothing_is_learned_the_best_random_one_within_the_limit_is_kept(data, name):
    """And not the smallest: equal scores prefer nothing."""
    space = MBConvChain(data.image_shape, data.classes, width=0.25, head=16)
    search = configured(name, data, space=space)
    smallest = cost.network_cost(space, space.smallest(space.parameters()), data.image_shape)["parameters"]
    search.architect.cost = cost.parameters(space, limit=3 * smallest)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    found = search.limited.limit.whole(search.found).value
    assert smallest < found <= 3 * smallest


def test_of_the_largest_ones_that_with_more_paths_is_a_control():
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    smallest = cost.network_cost(space, space.smallest(space.parameters()), (1, 8, 8))["parameters"]
    found = largest_within(space, cost.parameters(space, limit=smallest))
    assert "none" not in space.notation(found)


def test_the_largest_architect_has_no_limit(data):
    space = NASBench201(data.image_shape, data.classes, cells=1, channels=4)
    with pytest.raises(InputError, match="cost.limit: Largest has decided for one architecture before a search"):
        Search(space, Largest(space, cost=cost.parameters(space, limit=8_000)), data)


def test_stages_that_decide_one_after_the_other_know_no_limit(data):
    space = NASBench201(data.image_shape, data.classes, cells=1, channels=4)
    with pytest.raises(InputError, match="cost.limit: the stages of this search leave one candidate of each choice"):
        Search(space, DARTS(space, cost=cost.parameters(space, limit=8_000)), data, stages=[Stage(), Stage(keep=1)])
