"""What must hold for every estimator in conf/estimator, and in the folder of `pytest --config-dir FOLDER`."""

import random

import pytest
import torch
from helpers.groups import each, missing, search_path, settings, small
from helpers.tasks import each_task

from oneshot.architecture import Query
from oneshot.cli.composition import configuration
from oneshot.cli.estimates import EstimatorFactory, scores_of, wanted
from oneshot.cli.objects import space_and_data
from oneshot.tasks.metric import OF_TASK

SIZES = ["space=nasbench201", "space.cells=1", "space.channels=4", "data.train_size=64", "data.batch_size=16"]


def composed(name, task="classification"):
    """The configuration of a baseline with this estimator, small; skips what needs a file of the user's."""
    if unknown := list(missing(settings("estimator", name))):
        pytest.skip(f"the estimator {name} needs {', '.join(f'estimator.{key}' for key in unknown)}")
    words = [*SIZES, f"estimator={name}", f"task={task}", "trainer=cpu", "logger=none"]
    config = configuration("baseline", [*words, *search_path()])
    if wanted(config.estimator) - {"space"}:  # the epochs of a table are no size: it computes nothing
        config.estimator = small(config.estimator)
    return config


def build(name, folder, task="classification"):
    config = composed(name, task)
    torch.manual_seed(0)
    space, data = space_and_data(config)
    return EstimatorFactory(config, space, data, folder).estimator(config.estimator), space


def names_of(name, task):
    """Names of the scores, that of the metric with its direction."""
    score = {"multilabel": "average_precision", "regression": "negative_mean_absolute_error"}.get(task, "accuracy")
    return tuple(score if own == OF_TASK else own for own in scores_of(composed(name, task).estimator))


def queries_of(space, number=3):
    rng = random.Random(0)
    return [Query(space.sample(rng)) for _ in range(number)]


@each_task
@each("estimator")
def test_there_is_a_score_for_each_query_in_their_order(name, tmp_path, task):
    estimator, space = build(name, tmp_path, task)
    queries = queries_of(space)
    scores = list(estimator(queries))
    assert len(scores) == len(queries)
    assert list(estimator(queries[::-1])) == scores[::-1]
    assert [estimator([query])[0] for query in queries] == scores
    assert list(estimator([])) == []


@each_task
@each("estimator")
def test_scores_are_finite_numbers_by_the_names_of_the_class(name, tmp_path, task):
    estimator, space = build(name, tmp_path, task)
    for scores in estimator(queries_of(space)):
        assert tuple(scores) == names_of(name, task)
        assert all(torch.tensor(float(score)).isfinite() for score in scores.values())


@each_task
@each("estimator")
def test_another_one_answers_the_same_and_leaves_the_callers_draws(name, tmp_path, task):
    estimator, space = build(name, tmp_path, task)
    queries = queries_of(space)
    first = estimator(queries)
    again = build(name, tmp_path, task)[0]
    torch.manual_seed(7)
    states = random.getstate(), torch.get_rng_state()
    assert again(queries) == first
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])


@each_task
@each("estimator")
def test_a_lower_fidelity_is_answered_too(name, tmp_path, task):
    estimator, space = build(name, tmp_path, task)
    (query,) = queries_of(space, 1)
    (scores,) = estimator([query._replace(fidelity=0.5)])
    assert tuple(scores) == names_of(name, task)
