"""Answers that are kept: a log of every query, answered from there after a restart; faults do not end a search."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from oneshot.architecture import Architecture, Query
from oneshot.errors import InputError, check_range, is_number
from oneshot.estimators.base import Estimator
from oneshot.runs import append, is_full_disk, read_rows, write_text
from oneshot.spaces.base import SearchSpace
from oneshot.stopping import stop_of

CLOCKS = ("seconds", "elapsed")
FEWEST = 10  # queries before the share of failures counts
MAX_BYTES = 1 << 30


class Recorded:
    """An estimator whose answers go to a file, a JSON line a query, in the order of the queries.

    Queries that come again are answered without the estimator, and are written again, at no cost. Opened on a
    file with rows, it answers from them as long as the queries are the same in the same order, so that whoever
    asked is brought back to where it stopped. A query whose answer is an exception, or lacks a finite number,
    has failed: it is written with its reason and answered by {}. More than `failures` of all queries (a share,
    looked at from the tenth query on) raise InputError with the last reason.

    Row: query (its number), notation, architecture, fidelity, parent, scores or error. Beside it, in
    FILE.timings.jsonl, so that FILE.jsonl is the same in every run: query, seconds (cost of the answer), elapsed (since
    the first query, without time between runs). In memory a row has both.
    path: of FILE.jsonl; None keeps the rows in memory alone. Raises InputError for a file that does not fit.
    """

    def __init__(
        self, estimator: Estimator, space: SearchSpace, path: Path | None = None, failures: float = 0.2
    ) -> None:
        check_range("failures", failures, 0.0, 1.0)
        self.estimator, self.space, self.path, self.failures = estimator, space, path, failures
        self.rows: list[dict[str, Any]] = []
        self.known: dict[Query, dict[str, Any]] = {}
        self.logged: list[dict[str, Any]] = []
        self.opened = False
        self.base, self.started = 0.0, math.nan
        self.failed: list[str] = []  # the reasons

    def open(self) -> None:
        """Read the log, where there is one; the first call does, which is soon enough to own the file."""
        if not self.opened and self.path is not None and self.path.exists():
            self.logged = _read(self.path, self.space)
        self.opened = True

    @property
    def elapsed(self) -> float:
        """Seconds since the first query, by the log where it was answered from there."""
        if math.isnan(self.started) or len(self.rows) < len(self.logged):
            return self.base
        return self.base + time.monotonic() - self.started

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        self.open()
        if math.isnan(self.started):
            self.started = time.monotonic()
        logged = max(0, len(self.logged) - len(self.rows))
        for query in queries[:logged]:
            self._replay(query)
        asked = queries[logged:]
        new = list(dict.fromkeys(query for query in asked if query not in self.known))
        answers = self._estimate(new)
        for query in asked:
            answer = answers.pop(query, None)
            if answer is None:
                answer = {**self.known[query], "seconds": 0.0}
            self._append(query, answer)
        self._check_failures()
        return [dict(row.get("scores", {})) for row in self.rows[len(self.rows) - len(queries) :]]

    def _estimate(self, queries: list[Query]) -> dict[Query, dict[str, Any]]:
        """Scores or error, and seconds, of each: in one call, or one by one where that raises."""
        if not queries:
            return {}
        start = time.monotonic()
        try:
            answers = [_checked(scores) for scores in self.estimator(queries)]
            if len(answers) != len(queries):
                raise ValueError(f"{len(answers)} answers to {len(queries)} queries")
        except Exception as error:  # whatever an architecture provokes: recorded, and the search goes on
            if stop := stop_of(error):
                raise stop from error
            if is_full_disk(error):
                raise
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(queries) > 1:
                return {query: answer for one in queries for query, answer in self._estimate([one]).items()}
            answers = [{"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]}]
        seconds = round((time.monotonic() - start) / len(queries), 6)
        return {query: {**answer, "seconds": seconds} for query, answer in zip(queries, answers, strict=True)}

    def _append(self, query: Query, answer: Mapping[str, Any]) -> None:
        row = {"query": len(self.rows) + 1, **_names(query, self.space), **answer, "elapsed": round(self.elapsed, 6)}
        if self.path is not None:
            timing = {name: row[name] for name in ("query", *CLOCKS)}
            append(timings_of(self.path), timing)  # first: no query is without its cost
            append(self.path, {name: value for name, value in row.items() if name not in CLOCKS})
        self._keep(query, row)

    def _replay(self, query: Query) -> None:
        row = self.logged[len(self.rows)]
        expected = _names(query, self.space)
        if any(row[name] != value for name, value in expected.items()):
            raise InputError(
                f"{self.path}: query {row['query']} is {row['notation'][:200]} at fidelity {row['fidelity']}, but "
                f"with these settings it is {expected['notation']} at {expected['fidelity']}"
            )
        self._keep(query, row)
        self.base, self.started = row["elapsed"], time.monotonic()

    def _keep(self, query: Query, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if "error" in row:
            self.failed.append(row["error"])
        self.known.setdefault(query, {key: row[key] for key in ("scores", "error") if key in row})

    def _check_failures(self) -> None:
        if len(self.rows) >= FEWEST and len(self.failed) > self.failures * len(self.rows):
            raise InputError(
                f"{len(self.failed)} of {len(self.rows)} queries failed, more than failures={self.failures}; "
                f"the last: {self.failed[-1]}"
            )


def _checked(scores: Mapping[str, float]) -> dict[str, Any]:
    numbers = {name: float(value) for name, value in scores.items()}
    for name, value in numbers.items():
        if not math.isfinite(value):
            return {"error": f"{name} is {value}"}
    return {"scores": numbers}


def _names(query: Query, space: SearchSpace) -> dict[str, Any]:
    return {
        "notation": space.notation(query.architecture),
        "architecture": list(query.architecture.decisions),
        "fidelity": query.fidelity,
        "parent": list(query.parent.decisions) if query.parent else None,
    }


def timings_of(path: Path) -> Path:
    """The file of the clocks beside a log."""
    return path.with_suffix(".timings.jsonl")


def _read(path: Path, space: SearchSpace) -> list[dict[str, Any]]:
    """The rows of a log with their clocks, none where these are lost. A last line that was cut off is taken out."""
    rows = _queries(path, space)
    timings: list[dict[str, Any]] = []
    for row in read_rows(timings_of(path))[: len(rows)]:
        if not (row.get("query") == len(timings) + 1 and all(is_number(row.get(name)) for name in CLOCKS)):
            break
        timings.append(row)
    last = timings[-1]["elapsed"] if timings else 0.0
    lost = range(len(timings) + 1, len(rows) + 1)
    timings += [{"query": number, "seconds": 0.0, "elapsed": last} for number in lost]
    write_text(timings_of(path), "".join(json.dumps(timing) + "\n" for timing in timings))
    return [{**row, **{name: timing[name] for name in CLOCKS}} for row, timing in zip(rows, timings, strict=True)]


def _queries(path: Path, space: SearchSpace) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    whole = content.rfind(b"\n") + 1
    rows = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            row = json.loads(line)
            _check_row(row, number, space)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not a query of this space ({str(error)[:80]})") from None
        rows.append(row)
    if whole < len(content):
        os.truncate(path, whole)
    return rows


def _check_row(row: Any, number: int, space: SearchSpace) -> None:
    """Raise ValueError, KeyError or TypeError unless this is row number `number` of a log."""
    if row["query"] != number:
        raise ValueError(f"query is {row['query']!r}")
    architecture = Architecture(space.fingerprint, tuple(row["architecture"]))
    if not all(type(k) is int for k in architecture.decisions) or not space.is_valid(architecture.decisions):
        raise ValueError("architecture")
    if row["notation"] != space.notation(architecture):
        raise ValueError("notation")
    if not is_number(row["fidelity"]) or row["fidelity"] < 0:
        raise ValueError("fidelity")
    if ("error" in row) == ("scores" in row) or not isinstance(row.get("error", ""), str):
        raise ValueError("one of scores and error")
    for name, value in row.get("scores", {}).items():
        if not is_number(value):
            raise ValueError(f"scores: {name[:40]}")
