"""The log of answers: nothing is scored twice, a restart goes on, faults are recorded and have a limit."""

import json
import math
import os
import random
import signal
import time

import pytest
import torch
from helpers.support import small_space

from oneshot.architecture import Query
from oneshot.errors import InputError
from oneshot.estimators import LoggedEstimator
from oneshot.executors import Executor, Inline
from oneshot.runs.signals import Stopped, stoppable

SPACE = small_space()
QUERIES = [Query(SPACE.sample(random.Random(seed))) for seed in range(12)]
assert len(set(QUERIES)) == 12


class Counting:
    """Scores by position; raises for some; counts what it is asked."""

    def __init__(self, faults=()):
        self.faults, self.asked = dict(faults), []

    def __call__(self, queries):
        self.asked.append(len(queries))
        answers = []
        for query in queries:
            fault = self.faults.get(query)
            if isinstance(fault, BaseException):
                raise fault
            answers.append({"accuracy": QUERIES.index(Query(query.architecture)) / 20} if fault is None else fault)
        return answers


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_equal_queries_are_answered_from_the_log(tmp_path):
    estimator = Counting()
    answers = LoggedEstimator(estimator, SPACE, tmp_path / "q.jsonl")
    first, second = QUERIES[:2]
    assert answers([first, second, first]) == [{"accuracy": 0.0}, {"accuracy": 0.05}, {"accuracy": 0.0}]
    assert answers([second]) == [{"accuracy": 0.05}]
    assert estimator.asked == [2]
    answers([second._replace(fidelity=0.5), second._replace(parent=first.architecture)])
    assert estimator.asked == [2, 2]  # another fidelity or parent is another query
    written, clocks = rows(tmp_path / "q.jsonl"), rows(tmp_path / "q.timings.jsonl")
    assert [row["query"] for row in written] == [1, 2, 3, 4, 5, 6]
    assert [row["query"] for row in clocks] == [1, 2, 3, 4, 5, 6]
    assert clocks[0]["seconds"] > 0 and clocks[2]["seconds"] == clocks[3]["seconds"] == 0
    assert written[0]["notation"] == SPACE.notation(first.architecture)
    assert all(a["elapsed"] <= b["elapsed"] for a, b in zip(clocks, clocks[1:], strict=False))
    assert not {"seconds", "elapsed"} & set(written[0])


def test_a_restart_answers_from_the_file_and_goes_on(tmp_path):
    path = tmp_path / "q.jsonl"
    LoggedEstimator(Counting(), SPACE, path)(QUERIES[:5])
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"query": 6, "nota')  # cut off by a kill
    estimator = Counting()
    answers = LoggedEstimator(estimator, SPACE, path)
    assert path.read_bytes() != whole  # another process may own the file, until the first query
    assert answers(QUERIES[:2]) == [{"accuracy": 0.0}, {"accuracy": 0.05}]
    before = answers.elapsed
    clocks = rows(tmp_path / "q.timings.jsonl")
    assert before == clocks[1]["elapsed"] and path.read_bytes() == whole and not estimator.asked
    assert answers(QUERIES[2:7]) == [{"accuracy": n / 20} for n in range(2, 7)]  # three logged, two new
    assert estimator.asked == [2] and len(rows(path)) == 7
    assert answers([QUERIES[1]]) == [{"accuracy": 0.05}] and estimator.asked == [2]
    assert answers.elapsed >= clocks[4]["elapsed"]
    whole = LoggedEstimator(Counting(), SPACE, tmp_path / "whole.jsonl")
    for part in (QUERIES[:5], QUERIES[5:7], [QUERIES[1]]):
        whole(part)
    assert (tmp_path / "whole.jsonl").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("change", [{"query": 7}, {"seconds": "x"}, {"elapsed": math.nan}, {"elapsed": 10**400}])
def test_damaged_clocks_count_as_no_time(change, tmp_path):
    path = tmp_path / "q.jsonl"
    LoggedEstimator(Counting(), SPACE, path)(QUERIES[:2])
    first, second = rows(tmp_path / "q.timings.jsonl")
    (tmp_path / "q.timings.jsonl").write_text(json.dumps(first) + "\n" + json.dumps({**second, **change}) + "\n")
    answers = LoggedEstimator(Counting(), SPACE, path)
    answers(QUERIES[:3])
    assert rows(tmp_path / "q.timings.jsonl")[:2] == [first, {"query": 2, "seconds": 0.0, "elapsed": first["elapsed"]}]


@pytest.mark.parametrize("left", [0, 1, 2])
def test_lost_clocks_count_as_no_time(left, tmp_path):
    path = tmp_path / "q.jsonl"
    LoggedEstimator(Counting(), SPACE, path)(QUERIES[:3])
    lines = (tmp_path / "q.timings.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "q.timings.jsonl").write_text("".join(lines[:left]))
    answers = LoggedEstimator(Counting(), SPACE, path)
    answers(QUERIES[:4])
    assert len(answers.rows) == 4 and len(rows(path)) == 4
    assert len(rows(tmp_path / "q.timings.jsonl")) == 4


def test_another_sequence_is_refused(tmp_path):
    path = tmp_path / "q.jsonl"
    LoggedEstimator(Counting(), SPACE, path)(QUERIES[:3])
    answers = LoggedEstimator(Counting(), SPACE, path)
    with pytest.raises(InputError, match="query 2 is .* but with these settings"):
        answers([QUERIES[0], QUERIES[2]])


@pytest.mark.parametrize(
    "change",
    [
        {"query": 7}, {"architecture": [0, 0]}, {"architecture": None}, {"notation": "x"}, {"fidelity": "1"},
        {"fidelity": math.nan}, {"fidelity": -1}, {"scores": {"accuracy": 10**400}},
        {"scores": [["accuracy", 1]]}, {"scores": {"accuracy": "high"}}, {"scores": {"accuracy": math.inf}},
        {"error": "both"}, {"scores": None},
    ],
)  # fmt: skip
def test_foreign_rows_are_refused(change, tmp_path):
    path = tmp_path / "q.jsonl"
    LoggedEstimator(Counting(), SPACE, path)(QUERIES[:2])
    first, second = rows(path)
    path.write_text(json.dumps(first) + "\n" + json.dumps({**second, **change}) + "\n")
    with pytest.raises(InputError, match="line 2: not a query of this space"):
        LoggedEstimator(Counting(), SPACE, path).open()


@pytest.mark.parametrize("line", ["[]", "{}", "null", "nonsense", '{"query": 1}', "[" * 100_000])
def test_what_is_no_row_is_refused(line, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match="line 1: not a query"):
        LoggedEstimator(Counting(), SPACE, path).open()


def test_faults_are_recorded_and_the_others_scored(tmp_path):
    faults = {
        QUERIES[1]: RuntimeError("shapes\ndo not fit"),
        QUERIES[4]: torch.OutOfMemoryError("no memory"),
        QUERIES[5]: {"accuracy": math.nan},
        QUERIES[6]: MemoryError(),
    }
    path = tmp_path / "q.jsonl"
    answers = LoggedEstimator(Counting(faults), SPACE, path, failures=0.5)
    scores = answers(QUERIES)
    assert [n for n, score in enumerate(scores) if not score] == [1, 4, 5, 6]
    assert scores[7] == {"accuracy": 0.35}
    errors = {row["query"] - 1: row["error"] for row in rows(path) if "error" in row}
    assert errors[1] == "RuntimeError: shapes do not fit" and errors[4] == "OutOfMemoryError: no memory"
    assert errors[5] == "accuracy is nan" and errors[6].startswith("MemoryError")
    assert (
        LoggedEstimator(Counting(), SPACE, path, failures=0.5)(QUERIES) == scores
    )  # a restart does not try them again


def test_too_many_faults_stop_with_the_reason():
    faults = {query: ValueError(f"fault {n}") for n, query in enumerate(QUERIES) if n % 2}
    answers = LoggedEstimator(Counting(faults), SPACE, failures=0.4)
    for query in QUERIES[:9]:
        answers([query])
    with pytest.raises(
        InputError, match="5 of 10 queries failed, more than failures=0.4; the last one: ValueError: fault 9"
    ):
        answers([QUERIES[9]])
    LoggedEstimator(Counting(faults), SPACE, failures=0.5)(QUERIES)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_answers_is_a_fault(count, tmp_path):
    answers = LoggedEstimator(lambda queries: [{"accuracy": 0.5}] * count, SPACE, tmp_path / "q.jsonl", failures=1.0)
    scores = answers(QUERIES[:2])
    assert scores == ([{"accuracy": 0.5}] * 2 if count == 1 else [{}, {}])  # one by one, one answer is right
    assert count == 1 or rows(tmp_path / "q.jsonl")[0]["error"] == f"ValueError: {count} answers to 1 queries"


def test_the_clock_starts_with_the_first_query(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("oneshot.estimators.logged.worked", lambda: now[0])
    answers = LoggedEstimator(Counting(), SPACE)
    now[0] = 500.0  # as long as a supernet's training
    assert answers.elapsed == 0
    answers(QUERIES[:1])
    now[0] = 503.0
    assert answers.elapsed == 3


def test_an_interruption_is_no_fault():
    with pytest.raises(KeyboardInterrupt):
        LoggedEstimator(Counting({QUERIES[0]: KeyboardInterrupt()}), SPACE)(QUERIES[:1])


def test_a_signal_is_no_failed_query(tmp_path):
    """Not even where C code has turned its exception into another."""

    def estimator(queries):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except Stopped:
            raise ValueError("Invalid bounding box") from None

    with pytest.raises(Stopped), stoppable():
        LoggedEstimator(estimator, SPACE, tmp_path / "q.jsonl")(QUERIES[:1])
    assert not (tmp_path / "q.jsonl").exists()


class Backwards(Executor):
    """In this process, the last item first; ends like a process that is interrupted behind some."""

    def __init__(self, answers=math.inf):
        self.workers, self.threads, self.answers = 12, 1, answers

    def map(self, function, items):
        for number, item in enumerate(reversed(list(items))):
            if number == self.answers:
                raise KeyboardInterrupt
            yield from Inline().map(function, [item])

    def close(self):
        pass


def test_answers_that_come_in_another_order_are_written_in_that_of_the_queries(tmp_path):
    faults = {QUERIES[2]: ValueError("no")}
    asked = [*QUERIES[:4], QUERIES[1], QUERIES[5]]
    expected = LoggedEstimator(Counting(faults), SPACE, tmp_path / "a.jsonl", failures=0.5)(asked)
    estimator = Counting(faults)
    assert LoggedEstimator(estimator, SPACE, tmp_path / "b.jsonl", 0.5, Backwards())(asked) == expected
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert estimator.asked == [1] * 5 and not (tmp_path / "b.ahead.jsonl").exists()
    assert [row["query"] for row in rows(tmp_path / "b.timings.jsonl")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("answers", range(6))
@pytest.mark.parametrize("torn", [False, True])
def test_what_was_answered_ahead_of_its_turn_is_not_asked_again(answers, torn, tmp_path):
    """A first batch is whole; of a second the last come first, before the process ends."""
    faults, path = {QUERIES[4]: ValueError("no"), QUERIES[7]: {"accuracy": math.nan}}, tmp_path / "q.jsonl"
    asked = [QUERIES[:3], [*QUERIES[3:8], QUERIES[3]._replace(parent=QUERIES[0].architecture)]]
    cut = LoggedEstimator(Counting(faults), SPACE, path, 0.5, Backwards())
    cut(asked[0])
    cut.executor = Backwards(answers)
    with pytest.raises(KeyboardInterrupt):
        cut(asked[1])
    assert len(rows(path)) == 3 and len(rows(tmp_path / "q.ahead.jsonl")) == answers if answers else True
    if torn:
        with open(tmp_path / "q.ahead.jsonl", "a") as file:
            file.write('{"query": 4, "nota')
    estimator = Counting(faults)
    again = LoggedEstimator(estimator, SPACE, path, 0.5, Inline())
    whole = LoggedEstimator(Counting(faults), SPACE, tmp_path / "whole.jsonl", 0.5)
    assert [again(batch) for batch in asked] == [whole(batch) for batch in asked]
    assert estimator.asked == [1] * (6 - answers) and path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "q.ahead.jsonl").exists()


def test_answers_ahead_that_have_had_their_turn_are_dropped(tmp_path):
    """A process that ended between the log's row and the removal of the file."""
    path = tmp_path / "q.jsonl"
    cut = LoggedEstimator(Counting(), SPACE, path, executor=Backwards(2))
    with pytest.raises(KeyboardInterrupt):
        cut(QUERIES[:3])
    ahead = (tmp_path / "q.ahead.jsonl").read_bytes()
    LoggedEstimator(Counting(), SPACE, path, executor=Inline())(QUERIES[:3])
    (tmp_path / "q.ahead.jsonl").write_bytes(ahead)
    estimator = Counting()
    assert LoggedEstimator(estimator, SPACE, path)(QUERIES[:3]) and not estimator.asked
    assert not (tmp_path / "q.ahead.jsonl").exists() and len(rows(path)) == 3


@pytest.mark.parametrize(
    "change", [{"query": "7"}, {"architecture": [0, 0]}, {"parent": [0, 0]}, {"seconds": math.nan}, {"scores": None}]
)
def test_foreign_answers_ahead_are_refused(change, tmp_path):
    cut = LoggedEstimator(Counting(), SPACE, tmp_path / "q.jsonl", executor=Backwards(1))
    with pytest.raises(KeyboardInterrupt):
        cut(QUERIES[:2])
    (row,) = rows(tmp_path / "q.ahead.jsonl")
    (tmp_path / "q.ahead.jsonl").write_text(json.dumps({**row, **change}) + "\n")
    with pytest.raises(InputError, match="q.ahead.jsonl, line 1: not a query of this space"):
        LoggedEstimator(Counting(), SPACE, tmp_path / "q.jsonl").open()
