"""What holds for every executor: answers, faults, laziness, and what cannot be sent."""

import os
import threading

import pytest
from helpers import called

from oneshot.errors import InputError
from oneshot.executors import Inline, Processes, Ray, Submitit


@pytest.fixture(scope="module", params=["inline", "processes", "ray", "submitit"])
def executor(request, tmp_path_factory):
    if request.param == "inline":
        executor = Inline()
    elif request.param == "processes":
        executor = Processes(2)
    elif request.param == "submitit":
        pytest.importorskip("submitit", reason="the extra submitit is not installed")
        executor = Submitit(2, cluster="local", folder=str(tmp_path_factory.mktemp("jobs")))
    else:
        executor = Ray(2, address=request.getfixturevalue("cluster").address)
    with executor:
        yield executor


def remote(executor):
    if isinstance(executor, Inline):
        pytest.skip("nothing is sent")


def test_each_item_comes_once_with_its_result(executor):
    assert dict(executor.map(called.square, range(7))) == {x: x * x for x in range(7)}
    assert dict(executor.map(called.square, [])) == {}


def test_a_call_that_raises_is_an_answer(executor):
    found = dict(executor.map(called.halve, range(4)))
    assert (found[0], found[2]) == (0, 1)
    assert type(found[1]) is ValueError and str(found[1]) == "1 is odd" and str(found[3]) == "3 is odd"
    ((_, error),) = executor.map(called.awkward, [1])  # that it cannot be made again does no harm
    assert isinstance(error, Exception) and "1 and 1" in str(error)


def test_items_are_pulled_when_a_worker_is_free(executor):
    """The third item of a generator on two workers knows a result, and so on."""
    done, known = [], []

    def items():
        for x in range(6):
            known.append(len(done))
            yield x

    for x, result in executor.map(called.square, items()):
        done.append((x, result))
    assert len(done) == 6
    assert all(had >= x - executor.workers + 1 for x, had in enumerate(known))


def test_workers_are_elsewhere_in_the_same_folder(executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = [result for _, result in executor.map(called.where, range(4))]
    assert {folder for _, folder in found} == {str(tmp_path)}
    assert ({pid for pid, _ in found} == {os.getpid()}) == isinstance(executor, Inline)


def test_a_function_is_loaded_once_a_worker(executor, tmp_path):
    remote(executor)
    answers = [result for _, result in executor.map(called.Recipe(tmp_path), range(6))]
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {f"made-{pid}": "x\n" for _, pid in answers}
    assert isinstance(executor, Submitit) or len(made) <= executor.workers  # there each call has a worker of its own


def test_what_cannot_be_sent_is_named(executor):
    remote(executor)
    with pytest.raises(InputError, match="lambda.*cannot be sent to a worker"):
        list(executor.map(lambda x: x, [1]))
    with pytest.raises(InputError, match="lock.*cannot be sent to a worker"):
        list(executor.map(called.square, [2, threading.Lock()]))
    with pytest.raises(InputError, match="a result of type lock cannot be sent back"):
        list(executor.map(called.unsendable, [1]))
    with pytest.raises(InputError, match="cannot load the function or its item: FileNotFoundError: no such file"):
        list(executor.map(called.Missing(), [1]))
    assert dict(executor.map(called.square, [3])) == {3: 9}  # and it goes on


def test_a_map_that_is_not_read_to_its_end(executor):
    for _ in executor.map(called.square, range(5)):
        break
    assert dict(executor.map(called.square, [3])) == {3: 9}
