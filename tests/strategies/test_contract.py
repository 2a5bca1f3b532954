"""What must hold for every strategy in conf/strategy, and in the folder of `pytest --config-dir FOLDER`."""

import copy
import dataclasses
import functools
import inspect
import math
import pickle
import random
import warnings

import numpy as np
import pytest
import torch
from helpers.groups import each, settings
from helpers.support import small_space
from helpers.tasks import EXAMPLES, each_task
from hydra.utils import instantiate
from omegaconf import OmegaConf

from oneshot.architecture import Architecture, Choice, Query
from oneshot.baseline import Baseline, Budget
from oneshot.cli.composition import configuration
from oneshot.cli.estimates import EstimatorFactory
from oneshot.cli.objects import space_and_data
from oneshot.cost import ExpectedCost, Limit, candidate_costs, count_parameters, holds, parameters
from oneshot.errors import InputError
from oneshot.estimators import LoggedEstimator, Priced
from oneshot.spaces import ModelSpace, NASBench201, SearchSpace
from oneshot.spaces.examples import SignalNet
from oneshot.strategies import Strategy

BUDGETS = {  # queries after which the toy's best of 243 must have been asked; RANDOM for the others
    "evolution": 80,
    "gaussian_process": 40,
    "hill_climbing": 40,
    "nsga2": 150,
    "ppo": 120,
    "q_learning": 250,
    "random_forest": 60,
    "reinforce": 120,
    "tpe": 80,
    "tree_search": 60,
}
RANDOM = 1000  # what independent draws need, except for one seed in sixty
FREE_TEXT = {"objective"}  # knobs that may be any word


class Toy(SearchSpace):
    """A chain of layers; the score is the sum of what each candidate is worth."""

    name = "toy"

    def __init__(self, layers=5, candidates=3):
        names = tuple(f"operation_{k}" for k in range(candidates))
        self.choices = tuple(Choice(f"toy/{i}->{i + 1}", names, f"layer {i}") for i in range(layers))
        self.settings = {}
        rng = random.Random(layers)
        self.worth = [rng.sample(range(candidates), candidates) for _ in self.choices]

    def allowed(self, prefix):
        return tuple(range(len(self.choices[0].candidates)))

    def supernet(self):
        raise NotImplementedError

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        return self.architecture(scores.argmax(dim=1).tolist())

    def score(self, architecture):
        return sum(worth[k] for worth, k in zip(self.worth, architecture.decisions, strict=True))


def configured(name):
    return OmegaConf.to_container(settings("strategy", name))


def build(name, space, seed=0, **knobs) -> Strategy:
    make = instantiate({**configured(name), **knobs}, _partial_=True, _convert_="all")
    return make(space=space, seed=seed)


def answer(query):
    """Scores that depend on the architecture alone, with some architectures that fail."""
    rng = random.Random(str(query.architecture.decisions))
    kind = rng.randrange(12)
    if kind < 4:
        return ({}, {"accuracy": math.nan, "cost": 1.0}, {"accuracy": math.inf, "cost": 1.0}, {"loss": 1.0})[kind]
    return {"accuracy": rng.random(), "cost": rng.random()}


def sequence(strategy, count):
    queries = []
    for _ in range(count):
        queries.append(strategy.ask())
        strategy.tell(queries[-1], answer(queries[-1]))
    return queries


SPACES = [NASBench201((1, 8, 8), 10), small_space(), ModelSpace(SignalNet, (1, 1, 40), 10)]


def run_ahead(strategy, count, rng):
    """Asks and tells in a random order: the log as plain data."""
    log, open_queries = [], []
    for _ in range(count):
        if open_queries and rng.random() < 0.45:
            query = open_queries.pop(rng.randrange(len(open_queries)))
            strategy.tell(query, answer(query))
            log.append(("tell", query))
        else:
            open_queries.append(strategy.ask())
            log.append(("ask", open_queries[-1]))
    return log


def copied(query):
    """An equal query that is another object, as it comes out of a file."""
    a, parent = query.architecture, query.parent
    parent = parent and Architecture(parent.space, tuple(list(parent.decisions)))
    return Query(Architecture(a.space, tuple(list(a.decisions))), query.fidelity, parent)


@each("strategy")
def test_the_files_hold_every_knob_with_its_default(name):
    values = configured(name)
    signature = inspect.signature(instantiate(values, _partial_=True).func)
    assert list(signature.parameters)[:3] == ["space", "seed", "metric"]
    assert signature.parameters["seed"].default == 0 and signature.parameters["metric"].default == "accuracy"
    knobs = {key: p.default for key, p in signature.parameters.items() if key not in ("space", "seed", "metric")}
    values.pop("_target_")
    assert set(values) == set(knobs)
    for key, value in values.items():
        assert value == (pytest.approx(knobs[key], rel=2e-3) if isinstance(value, float) else knobs[key]), key


@pytest.mark.parametrize("space", SPACES, ids=[space.name for space in SPACES])
@each("strategy")
def test_a_pure_function_of_seed_and_answers(name, space, capfd):
    states = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, again, other = (sequence(build(name, space, seed), 26) for seed in (3, 3, 4))
    assert first == again != other
    for query in first:
        assert query.architecture.space == space.fingerprint and space.is_valid(query.architecture.decisions)
        assert 0 < query.fidelity <= 1
        assert query.parent is None or space.is_valid(query.parent.decisions)
    assert (random.getstate(), str(np.random.get_state())) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert capfd.readouterr() == ("", "")


@each("strategy")
def test_tells_may_be_late_in_any_order_repeated_and_of_others(name):
    space = NASBench201((1, 8, 8), 10)
    strategy, rng = build(name, space), random.Random(0)
    queries = [strategy.ask() for _ in range(60)]
    for query in reversed(queries):
        strategy.tell(query, answer(query))
        strategy.tell(query, answer(query))
    for _ in range(10):
        query = Query(space.sample(rng), rng.choice([1.0, 0.5]))
        strategy.tell(query, answer(query))
    assert all(space.is_valid(query.architecture.decisions) for query in sequence(strategy, 30))


@each("strategy")
def test_failures_alone_stop_nothing(name):
    space = NASBench201((1, 8, 8), 10)
    strategy = build(name, space)
    for scores in ({}, {"accuracy": math.nan}, {"accuracy": -math.inf}) * 20:
        query = strategy.ask()
        assert space.is_valid(query.architecture.decisions)
        strategy.tell(query, scores)


@each("strategy")
def test_a_small_space_may_be_exhausted(name):
    space = Toy(layers=2, candidates=2)
    assert len({query.architecture for query in sequence(build(name, space), 50)}) == 4


@each_task
@each("strategy")
def test_the_best_of_a_separable_problem_is_found(name, task):
    space = Toy()
    best = sum(map(max, space.worth))
    metric = EXAMPLES[task].metric.quantity
    for seed in range(2 if task == "classification" else 1):
        strategy = build(name, space, seed, metric=metric.score_name)
        for _ in range(BUDGETS.get(name, RANDOM)):
            query = strategy.ask()
            score = space.score(query.architecture)
            if score == best:
                break
            told = score / best if metric.maximize else score - best
            strategy.tell(query, {metric.score_name: told, "cost": -score})
        assert score == best, seed


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    """From a task to the estimator of a trained supernet with a cost; it remembers its answers."""

    @functools.cache
    def made(task):
        sizes = ["space.cells=1", "space.channels=4", "data.train_size=64", "data.batch_size=16"]
        few = [f"task={task}", "estimator=one_shot", "space=nasbench201", "epochs=1"]
        config = configuration("baseline", [*sizes, *few, "trainer=cpu", "logger=none"])
        torch.manual_seed(0)
        space, data = space_and_data(config)
        estimator = EstimatorFactory(config, space, data, tmp_path_factory.mktemp(task)).estimator(config.estimator)
        priced = Priced(
            estimator, space, ExpectedCost(candidate_costs(space, count_parameters), weight=0.1), data.metric
        )
        return functools.cache(lambda query: priced([query])[0]), space, data.metric.quantity.score_name

    return made


@each_task
@each("strategy")
def test_a_baseline_of_each_task(name, task, estimator):
    scored, space, metric = estimator(task)
    runs = []
    for _ in range(2):
        answers = LoggedEstimator(lambda queries: [scored(query) for query in queries], space, failures=0.0)
        runs.append(Baseline(build(name, space, metric=metric), answers, Budget(queries=12)))
        assert space.is_valid(runs[-1].run().decisions)
    first, again = runs
    assert first.rows == again.rows and len(first.rows) == 12
    highest = max(row["fidelity"] for row in first.rows)
    assert first.best_score == max(row["score"] for row in first.rows if row["fidelity"] == highest)
    assert scored(first.best)[metric] == first.best_score


@pytest.mark.parametrize("copies", [copy.deepcopy, lambda strategy: pickle.loads(pickle.dumps(strategy))])
@each("strategy")
def test_a_copy_continues_the_same_sequence(name, copies):
    strategy = build(name, Toy())
    run_ahead(strategy, 70, random.Random(1))
    other = copies(strategy)
    assert sequence(strategy, 15) == sequence(other, 15)


@each("strategy")
def test_the_log_restores_a_strategy(name):
    space = NASBench201((1, 8, 8), 10)
    strategy, other = build(name, space, seed=5), build(name, space, seed=5)
    for kind, query in run_ahead(strategy, 90, random.Random(2)):
        if kind == "ask":
            assert other.ask() == query
        else:
            other.tell(copied(query), answer(query))
    assert sequence(strategy, 10) == sequence(other, 10)


@each("strategy")
def test_knobs_out_of_range_are_named(name):
    for knob, value in configured(name).items():
        if knob == "_target_" or knob in FREE_TEXT or isinstance(value, dict):
            continue
        for wrong in ("nonsense", -1, math.nan):
            with pytest.raises(InputError, match=knob):
                build(name, Toy(), **{knob: wrong})


@functools.cache
def limited():
    """A limit that a quarter of the random cells hold."""
    space = SPACES[0]
    free = parameters(space, limit=1e12)
    costs = sorted(free.of(space.used(space.sample(random.Random(n))).decisions) for n in range(40))
    return parameters(space, limit=costs[10])


@each("strategy")
def test_a_limit_is_held(name, tmp_path):
    """What is over it is not scored and takes no query; a restart from the log goes the same way."""
    space, cost = SPACES[0], limited()

    def scored(queries):
        return [
            {
                "accuracy": random.Random(str(q.architecture.decisions)).random(),
                "cost": cost.of(q.architecture.decisions),
            }
            for q in queries
        ]

    def searched(queries, file=None):
        answers = LoggedEstimator(scored, space, file)
        baseline = Baseline(build(name, space), answers, Budget(queries=queries), cost=cost)
        baseline.run()
        return [row["notation"] for row in answers.rows], baseline

    found, baseline = searched(30)
    assert len(found) == 30 and holds(space, cost, baseline.best.architecture)
    assert all(holds(space, cost, space.from_notation(text)) for text in found)
    assert baseline.refused > 0
    assert searched(12, tmp_path / "log.jsonl")[0] == found[:12]
    assert searched(30, tmp_path / "log.jsonl")[0] == found


def test_a_limit_that_no_proposal_holds_ends_with_a_line():
    space, cost = SPACES[0], parameters(SPACES[0], limit=1e12)
    cost.limit = dataclasses.replace(cost.limit, value=1.0)
    answers = LoggedEstimator(lambda queries: [{"accuracy": 1.0} for _ in queries], space)
    with pytest.raises(InputError, match=r"cost.limit=.*: none of 10,000 proposals in a row holds it"):
        Baseline(build("random_search", space), answers, Budget(queries=3), cost=cost).run()


class Once(Strategy):
    """Proposes the smallest architecture once, then another for ever."""

    needs = ()

    def __init__(self, space):
        self.space, self.metric, self.asked = space, "accuracy", 0

    def ask(self):
        self.asked += 1
        return Query(self.space.architecture([0] * 5 if self.asked == 1 else [2] * 5))

    def tell(self, query, scores):
        assert scores["accuracy"] == (1.0 if query.architecture.decisions == (0,) * 5 else -1.0)


def test_what_was_scored_is_kept_if_nothing_more_holds_the_limit():
    space = Toy()
    cost = ExpectedCost(torch.arange(3.0).repeat(5, 1), 0.1, limit=Limit(0.5, "parameters", "0.5"))
    answers = LoggedEstimator(lambda queries: [{"accuracy": 1.0} for _ in queries], space)
    baseline = Baseline(Once(space), answers, Budget(queries=50), cost=cost)
    assert baseline.run().decisions == (0,) * 5
    assert "none of 10,000 proposals in a row holds it" in baseline.ended and len(baseline.rows) == 1
