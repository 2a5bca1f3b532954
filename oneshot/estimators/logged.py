"""Answers that are kept: every query goes to a log, a restart reads it, and errors do not end a search."""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..architecture import Query
from ..errors import InputError, check_range, named
from ..executors.base import Executor
from ..executors.inline import Inline
from ..runs.clock import worked
from ..runs.files import append, is_file, is_full_disk, remove
from ..runs.signals import stop_of
from ..spaces.base import SearchSpace
from .base import Estimator
from .log import CLOCKS, ahead_of, line, names_of, read_ahead, read_log, timings_of

FEWEST = 10  # queries before the share of failures is checked


class LoggedEstimator:
    """An estimator that writes its answers to a file, one JSON line for each query, in the order of the queries.

    A query that comes again is answered without the estimator and written again, at no cost. If the file already has
    rows, the first queries are answered from them as long as they are the same queries in the same order. The caller is
    thus brought back to where it stopped.

    A query has failed if its answer is an exception or holds a number that is not finite. It is written with the reason
    and answered by {}. If more than `failures` of all queries have failed (checked from the tenth query on), the search
    ends with the last reason.

    An answer that arrives before those of earlier queries waits for its turn in FILE.ahead.jsonl, which a restart reads
    too. However the run ends, no query is estimated again if its answer had arrived.

    FILE.jsonl has a row for each query: query (its number), notation, architecture, fidelity, parent, and scores or
    error. FILE.timings.jsonl has the times, so that FILE.jsonl is the same in every run: query, seconds (cost of the
    answer) and elapsed (since the first query, without the time between runs). In memory a row has both.

    Args:
        estimator: The estimator that is called for new queries.
        space: The search space of the queries.
        path: The path of FILE.jsonl. None keeps the rows in memory only.
        failures: Largest share of failed queries, in [0, 1].
        executor: What runs the estimator, one call for each query. None makes one call for all queries in this process.

    Raises:
        InputError: If `failures` is out of range. Calls raise it if the file has other queries or cannot be read, and
            if too many queries have failed.
    """

    def __init__(
        self,
        estimator: Estimator,
        space: SearchSpace,
        path: Path | None = None,
        failures: float = 0.2,
        executor: Executor | None = None,
    ) -> None:
        check_range("failures", failures, 0.0, 1.0)
        self.estimator, self.space, self.path, self.failures = estimator, space, path, failures
        self.executor, self.apart = executor or Inline(), executor is not None
        self.rows: list[dict[str, Any]] = []
        self.known: dict[Query, dict[str, Any]] = {}
        self.logged: list[dict[str, Any]] = []
        self.ahead: dict[Query, dict[str, Any]] = {}  # early answers, which wait for earlier queries
        self.opened = False
        self.base, self.started = 0.0, math.nan
        self.failed: list[str] = []  # reasons

    def open(self) -> None:
        """Read the log if there is one. The first call does this too; by then the run owns the file."""
        if not self.opened and self.path is not None:
            if is_file(self.path):
                self.logged = read_log(self.path, self.space)
            if is_file(ahead_of(self.path)):
                self.ahead = read_ahead(ahead_of(self.path), self.space, len(self.logged))
        self.opened = True

    @property
    def elapsed(self) -> float:
        """Seconds since the first query. While answers come from the log, the log's seconds."""
        if math.isnan(self.started) or len(self.rows) < len(self.logged):
            return self.base
        return self.base + worked() - self.started

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        self.open()
        if math.isnan(self.started):
            self.started = worked()
        logged = max(0, len(self.logged) - len(self.rows))
        for query in queries[:logged]:
            self._replay(query)
        waiting = deque(queries[logged:])
        new = [query for query in dict.fromkeys(waiting) if query not in self.known and query not in self.ahead]
        self._settle(waiting)
        for query, answer in self._estimate([[query] for query in new] if self.apart else [new] if new else []):
            if self.path is not None and query != waiting[0]:
                number = len(self.rows) + 1 + list(waiting).index(query)
                append(ahead_of(self.path), line({"query": number, **names_of(query, self.space), **answer}))
            self.ahead[query] = answer
            self._settle(waiting)
        self._check_failures()
        return [dict(row.get("scores", {})) for row in self.rows[len(self.rows) - len(queries) :]]

    def _estimate(self, calls: Sequence[Sequence[Query]]) -> Iterator[tuple[Query, dict[str, Any]]]:
        """Each query with its answer and seconds, as they arrive. A call with several queries that fails is split."""
        asked: dict[Query, float] = {}

        def timed() -> Iterator[Sequence[Query]]:
            for call in calls:
                asked[call[0]] = worked()
                yield call

        for call, found in self.executor.map(self.estimator, timed()):
            answers = _answers(found, len(call))
            if "error" in answers[0] and len(answers) < len(call):
                yield from self._estimate([[query] for query in call])
                continue
            seconds = round((worked() - asked[call[0]]) / len(call), 6)
            for query, answer in zip(call, answers, strict=True):
                yield query, {**answer, "seconds": seconds}

    def _settle(self, waiting: deque[Query]) -> None:
        """Write what is known, in the order of the queries, up to the first query without an answer."""
        while waiting and (waiting[0] in self.ahead or waiting[0] in self.known):
            query = waiting.popleft()
            known = query not in self.ahead
            self._append(query, {**self.known[query], "seconds": 0.0} if known else self.ahead.pop(query))
        if not self.ahead and self.path is not None:
            remove(ahead_of(self.path))

    def _append(self, query: Query, answer: Mapping[str, Any]) -> None:
        row = {"query": len(self.rows) + 1, **names_of(query, self.space), **answer, "elapsed": round(self.elapsed, 6)}
        if self.path is not None:
            timing = {name: row[name] for name in ("query", *CLOCKS)}
            append(timings_of(self.path), line(timing))  # first, so that no query lacks its cost
            append(self.path, line({name: value for name, value in row.items() if name not in CLOCKS}))
        self._keep(query, row)

    def _replay(self, query: Query) -> None:
        row = self.logged[len(self.rows)]
        expected = names_of(query, self.space)
        if any(row[name] != value for name, value in expected.items()):
            raise InputError(
                f"{self.path}: query {row['query']} is {row['notation'][:200]} at fidelity {row['fidelity']}, but "
                f"with these settings it is {expected['notation']} at {expected['fidelity']}"
            )
        self._keep(query, row)
        self.base, self.started = row["elapsed"], worked()

    def _keep(self, query: Query, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if "error" in row:
            self.failed.append(row["error"])
        self.known.setdefault(query, {key: row[key] for key in ("scores", "error") if key in row})

    def _check_failures(self) -> None:
        if len(self.rows) >= FEWEST and len(self.failed) > self.failures * len(self.rows):
            raise InputError(
                f"{len(self.failed)} of {len(self.rows)} queries failed, more than failures={self.failures}; "
                f"the last one: {self.failed[-1]}"
            )


def _answers(found: Any, count: int) -> list[dict[str, Any]]:
    """Scores or error of each of `count` queries; a single error if the call has failed.

    Raises what is no architecture's fault: a signal that ends the run, or a full disk.
    """
    try:
        if isinstance(found, Exception):
            raise found
        answers = [_checked(scores) for scores in found]
        if len(answers) != count:
            raise ValueError(f"{len(answers)} answers to {count} queries")
        return answers
    except Exception as error:  # any error of an architecture is recorded, and the search goes on
        if stop := stop_of(error):
            raise stop from error
        if is_full_disk(error):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return [{"error": named(error, 300)}]


def _checked(scores: Mapping[str, float]) -> dict[str, Any]:
    numbers = {name: float(value) for name, value in scores.items()}
    for name, value in numbers.items():
        if not math.isfinite(value):
            return {"error": f"{name} is {value}"}
    return {"scores": numbers}
