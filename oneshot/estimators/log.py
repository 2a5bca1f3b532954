"""The files of a log of queries: read as data, with every row checked and the size limited."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..architecture import Architecture, Query
from ..errors import InputError, is_number
from ..runs.files import parse_json, read_bytes, truncate, write_text
from ..runs.folder import read_rows
from ..spaces.base import SearchSpace

CLOCKS = ("seconds", "elapsed")
MAX_BYTES = 1 << 30


def names_of(query: Query, space: SearchSpace) -> dict[str, Any]:
    """Describe a query in the fields of a log's row.

    Args:
        query: The query.
        space: Its search space, which gives the notation.

    Returns:
        The fields notation, architecture, fidelity and parent.
    """
    return {
        "notation": space.notation(query.architecture),
        "architecture": list(query.architecture.decisions),
        "fidelity": query.fidelity,
        "parent": list(query.parent.decisions) if query.parent else None,
    }


def line(row: Mapping[str, Any]) -> str:
    """Write a row of a log as a line of JSON."""
    return json.dumps(row, allow_nan=False) + "\n"


def timings_of(path: Path) -> Path:
    """Name the file that holds the times of the log at this path."""
    return path.with_suffix(".timings.jsonl")


def ahead_of(path: Path) -> Path:
    """Name the file that holds the early answers of the log at this path: those that wait for earlier queries."""
    return path.with_suffix(".ahead.jsonl")


def read_log(path: Path, space: SearchSpace) -> list[dict[str, Any]]:
    """Read the rows of a log together with their times.

    Rows whose times are lost get 0 seconds. A last line that was cut off is removed from the file.

    Args:
        path: The log, a file of JSON lines.
        space: The search space of the queries.

    Returns:
        The rows in their order, each with `seconds` and `elapsed`.

    Raises:
        InputError: If a line is not the next query of this space, or if the file is too large or cannot be read.
    """
    rows = _queries(path, space)
    timings: list[dict[str, Any]] = []
    for row in read_rows(timings_of(path))[: len(rows)]:
        if not (row.get("query") == len(timings) + 1 and all(is_number(row.get(name)) for name in CLOCKS)):
            break
        timings.append(row)
    last = timings[-1]["elapsed"] if timings else 0.0
    lost = range(len(timings) + 1, len(rows) + 1)
    timings += [{"query": number, "seconds": 0.0, "elapsed": last} for number in lost]
    write_text(timings_of(path), "".join(map(line, timings)))
    return [{**row, **{name: timing[name] for name in CLOCKS}} for row, timing in zip(rows, timings, strict=True)]


def read_ahead(path: Path, space: SearchSpace, logged: int) -> dict[Query, dict[str, Any]]:
    """Read the answers that came before those of earlier queries.

    Args:
        path: The file of early answers.
        space: The search space of the queries.
        logged: Number of rows of the log. Answers to queries up to this number are left out, as the log has them.

    Returns:
        By query: its scores or error, and its seconds.

    Raises:
        InputError: If a line is not a query of this space, or if the file is too large or cannot be read.
    """
    ahead: dict[Query, dict[str, Any]] = {}
    for row in _queries(path, space, in_order=False):
        if row["query"] > logged:
            parent = _architecture(row["parent"], space) if row["parent"] else None
            query = Query(_architecture(row["architecture"], space), row["fidelity"], parent)
            ahead[query] = {name: row[name] for name in ("scores", "error", "seconds") if name in row}
    return ahead


def _queries(path: Path, space: SearchSpace, in_order: bool = True) -> list[dict[str, Any]]:
    """The rows of a file, checked. A last line that was cut off is removed from the file."""
    try:
        content = read_bytes(path, MAX_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    whole = content.rfind(b"\n") + 1
    rows = []
    for number, line in enumerate(content[:whole].splitlines(), 1):
        try:
            row = parse_json(line)
            _check_row(row, number if in_order else None, space)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}, line {number}: not a query of this space ({str(error)[:80]})") from None
        rows.append(row)
    if whole < len(content):
        truncate(path, whole)
    return rows


def _architecture(decisions: list[int], space: SearchSpace) -> Architecture:
    """The architecture of these decisions. Raises ValueError or TypeError if they are none."""
    if not all(type(k) is int for k in decisions) or not space.is_valid(decisions):
        raise ValueError("architecture")
    return Architecture(space.fingerprint, tuple(decisions))


def _check_row(row: Any, number: int | None, space: SearchSpace) -> None:
    """Raise ValueError, KeyError or TypeError unless this is row `number` of a log, or (None) an early answer."""
    if number is None:
        if type(row["query"]) is not int or not is_number(row["seconds"]):
            raise ValueError("query or seconds")
    elif row["query"] != number:
        raise ValueError(f"query is {row['query']!r}")
    architecture = _architecture(row["architecture"], space)
    if row["parent"] is not None:
        _architecture(row["parent"], space)
    if row["notation"] != space.notation(architecture):
        raise ValueError("notation")
    if not is_number(row["fidelity"]) or row["fidelity"] < 0:
        raise ValueError("fidelity")
    if ("error" in row) == ("scores" in row) or not isinstance(row.get("error", ""), str):
        raise ValueError("one of scores and error")
    for name, value in row.get("scores", {}).items():
        if not is_number(value):
            raise ValueError(f"scores: {name[:40]}")
