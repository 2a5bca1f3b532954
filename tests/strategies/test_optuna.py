"""`tpe` and `nsga2` against strategies that draw everything from Optuna and keep every trial: the same queries."""

import math
import random
import warnings

import optuna
import pytest
from helpers.support import small_space
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import NSGAIISampler, TPESampler
from optuna.trial import TrialState

from oneshot.architecture import Architecture, Query
from oneshot.spaces import NASBench201
from oneshot.strategies import NSGA2, TPE, Strategy
from oneshot.strategies.base import score_of, unseen

SPACE = NASBench201((1, 8, 8), 10)
SPACES = pytest.mark.parametrize("space", [SPACE, small_space(nodes=3)], ids=["nasbench201", "darts"])


class Reference(Strategy):
    """Every draw is a trial of an Optuna study; an architecture that was asked before is a failed trial."""

    def start(self, sampler, directions, redraws):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=sampler, directions=directions)
        self.redraws, self.waiting, self.seen = redraws, {}, set()

    def drawn(self):
        for n in range(self.redraws + 1):
            trial = self.study.ask()
            architecture = self.suggested(trial)
            if architecture not in self.seen or n == self.redraws:
                break
            self.study.tell(trial, state=TrialState.FAIL)
        self.wait(architecture, trial)
        return Query(architecture)

    def add(self, architecture):
        names = [self.parameter(architecture.decisions[:i])[0] for i in range(len(architecture.decisions))]
        self.study.enqueue_trial(dict(zip(names, architecture.decisions, strict=True)))
        trial = self.study.ask()
        trial.relative_params  # noqa: B018  (puts the trial into a generation)
        self.suggested(trial)
        self.wait(architecture, trial)

    def answered(self, architecture, values):
        if not self.waiting.get(architecture):
            if values is None:
                return
            self.add(architecture)
        number = self.waiting[architecture].pop(0)
        if values is None:
            self.study.tell(number, state=TrialState.FAIL)
        else:
            self.study.tell(number, values)

    def wait(self, architecture, trial):
        self.seen.add(architecture)
        self.waiting.setdefault(architecture, []).append(trial.number)

    def suggested(self, trial):
        decisions = ()
        while len(decisions) < len(self.space.choices):
            k = trial.suggest_categorical(*self.parameter(decisions))
            allowed = self.space.allowed(decisions)
            decisions += (k if k in allowed else allowed[(k + sum(decisions)) % len(allowed)],)
        return Architecture(self.space.fingerprint, decisions)


class ReferenceTPE(Reference):
    def __init__(self, space, seed=0, multivariate=True, startup=20, candidates=64, redraws=10):
        super().__init__(space, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = TPESampler(
                n_startup_trials=startup,
                n_ei_candidates=candidates,
                multivariate=multivariate,
                group=multivariate,
                seed=self.rng.randrange(2**31),
            )
        self.start(sampler, ["maximize"], redraws)

    def ask(self):
        return self.drawn()

    def learn(self, query, score):
        self.answered(query.architecture, [score] if math.isfinite(score) else None)

    def parameter(self, prefix):
        allowed = self.space.allowed(prefix)
        return f"{len(prefix)}:{','.join(map(str, allowed))}", allowed


class ReferenceNSGA2(Reference):
    def __init__(self, space, seed=0, population=20, mutation=None, redraws=10):
        super().__init__(space, seed)
        self.population, self.answers = population, 0
        sampler = NSGAIISampler(population_size=population, mutation_prob=mutation, seed=self.rng.randrange(2**31))
        self.start(sampler, ["maximize", "minimize"], redraws)

    def ask(self):
        if self.answers >= self.population:
            return self.drawn()
        architecture = unseen(self.space, self.rng, self.seen)
        self.add(architecture)
        return Query(architecture)

    def tell(self, query, scores):
        found = score_of(scores, "accuracy"), score_of(scores, "cost")
        failed = not all(map(math.isfinite, found))
        self.answered(query.architecture, None if failed else found)
        self.answers += not failed

    def parameter(self, prefix):
        return str(len(prefix)), tuple(range(len(self.space.choices[len(prefix)].candidates)))


def scores(query):
    """Separable scores with many ties, and some failures."""
    decisions = query.architecture.decisions
    chance = random.Random(str(decisions)).random()
    accuracy = sum((3 * i + k) % 5 for i, k in enumerate(decisions)) - (chance > 0.7)
    return {} if chance < 0.08 else {"accuracy": accuracy, "cost": float(sum(decisions))}


def play(strategy, count, ahead, seed):
    """Asks and tells in a random order, with answers to queries that were not asked; the asks."""
    rng, asked, waiting = random.Random(seed), [], []
    while len(asked) < count:
        if waiting and (len(waiting) >= ahead or rng.random() < 0.3):
            query = waiting.pop(rng.randrange(len(waiting)))
            strategy.tell(query, scores(query))
        elif rng.random() < 0.05:
            query = Query(strategy.space.sample(rng))
            strategy.tell(query, scores(query))
        else:
            asked.append(strategy.ask().architecture)
            waiting.append(Query(asked[-1]))
    return asked


@pytest.mark.parametrize("multivariate", [True, False])
@SPACES
@pytest.mark.parametrize(("ahead", "redraws"), [(1, 2), (5, 0)])
def test_the_queries_of_tpe_are_optunas(space, multivariate, ahead, redraws):
    count = 70 if multivariate else 45
    knobs = {"seed": 5 + ahead, "multivariate": multivariate, "startup": 12, "candidates": 16, "redraws": redraws}
    found, expected = (play(make(space, **knobs), count, ahead, ahead) for make in (TPE, ReferenceTPE))
    assert found == expected


def test_the_weights_of_tpe_are_optunas_also_with_many_answers():
    found, expected = TPE(SPACE, seed=2, redraws=0), ReferenceTPE(SPACE, seed=2, redraws=0)
    rng = random.Random(0)
    for query in [Query(SPACE.sample(rng)) for _ in range(320)]:  # from 250 on, 25 are good
        for strategy in (found, expected):
            strategy.tell(query, scores(query))
    for _ in range(6):
        query = found.ask()
        assert query == expected.ask()
        for strategy in (found, expected):
            strategy.tell(query, scores(query))


@pytest.mark.parametrize("mutation", [None, 0.6])
@SPACES
@pytest.mark.parametrize(("ahead", "redraws"), [(1, 10), (5, 3), (30, 3)])
def test_the_queries_of_nsga2_are_optunas(space, mutation, ahead, redraws):
    knobs = {"seed": ahead, "population": 8, "mutation": mutation, "redraws": redraws}
    found, expected = (play(make(space, **knobs), 150, ahead, ahead) for make in (NSGA2, ReferenceNSGA2))
    assert found == expected


def test_draws_that_come_again_leave_no_trial_of_nsga2():
    """Optuna would look at them in every later draw."""
    strategy = NSGA2(SPACE, population=4, mutation=0.0)
    asked = []
    for _ in range(60):
        query = strategy.ask()
        strategy.tell(query, {"accuracy": float(query.architecture.decisions[0]), "cost": 0.0})
        asked.append(query.architecture)
    assert len(set(asked)) < 40  # the others came again after ten more draws
    assert len(strategy.trials.study.get_trials(deepcopy=False)) == 60
