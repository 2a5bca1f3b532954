"""Tabular benchmarks: accuracies of architectures that others have trained, read from a file."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..architecture import Architecture, Query
from ..errors import InputError, unknown
from ..runs.files import read_given
from ..spaces.base import SearchSpace
from ..tables import published
from ..tables.published import LONG, SETS, SHORT

MAX_BYTES = 1 << 28
NOTATION = "arch"
Rows = dict[tuple[int, ...], tuple[float, float]]  # decisions -> validation and test accuracy, in percent


class Tabular:
    """The accuracy of every architecture of a space, from a table such as NAS-Bench-201's.

    Without a file it reads the package's table of the space: NAS-Bench-201, after trainings of 12 or of 200 epochs. The
    validation accuracy answers queries, and `report` alone reads the test accuracy. There is no validation accuracy
    after 200 epochs. So with `epochs=200` the one after 12 epochs answers queries, and what is reported as test
    accuracy is that after 200: a search on short trainings, whose result is trained in full.

    A file is CSV with one row for each architecture. Column `arch` holds the notation of the architecture
    (`space.notation`). Each data set has two columns in percent, NAME-val and NAME-test. A table has one fidelity, so
    the fidelity of a query changes nothing. Score: `accuracy`, a share.

    Args:
        space: The search space.
        table: Path of the CSV file. None: the package's table.
        dataset: NAME, the data set. The package's table has `"cifar10"` and `"cifar100"`.
        epochs: Of the trainings whose test accuracy is reported, 12 or 200. Of the package's table alone.

    Attributes:
        best: Largest validation and test accuracy of the table, in percent.

    Raises:
        InputError: If the package has no such table, or the file cannot be used; the message names line and column.
            Also if architectures of the space are missing, come twice, or belong to another space.

    Reference:
        Dong and Yang, NAS-Bench-201: Extending the scope of reproducible neural architecture search, arXiv:2001.00326.
        Dong et al., NATS-Bench: Benchmarking NAS algorithms for architecture topology and size, arXiv:2009.00437.
    """

    metrics = ("accuracy",)

    def __init__(
        self, space: SearchSpace, table: str | None = None, dataset: str = "cifar10", epochs: int = SHORT
    ) -> None:
        if table is not None and (not isinstance(table, str) or not table):
            raise InputError(f"estimator.table={table!r}: must be the path of a CSV file, or null for the package's")
        self.space, self.dataset = space, dataset
        self.rows = _packaged(space, dataset, epochs) if table is None else _of_file(space, table, dataset, epochs)
        self.best = tuple(max(column) for column in zip(*self.rows.values(), strict=True))

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        return [{"accuracy": self._row(query.architecture)[0] / 100} for query in queries]

    def report(self, architecture: Architecture) -> dict[str, float]:
        """Report what the table knows of an architecture, also its test accuracy.

        Args:
            architecture: An architecture of the space.

        Returns:
            `validation_accuracy` and `test_accuracy`, both shares; `validation_regret` and `test_regret`, the distance
            to the best row in percentage points.
        """
        validation, test = self._row(architecture)
        return {
            "validation_accuracy": validation / 100,
            "test_accuracy": test / 100,
            "validation_regret": self.best[0] - validation,
            "test_regret": self.best[1] - test,
        }

    def _row(self, architecture: Architecture) -> tuple[float, float]:
        return self.rows[architecture.decisions]


def _packaged(space: SearchSpace, dataset: str, epochs: int) -> Rows:
    """The package's table: validation accuracies after the short training, test accuracies after the one asked for."""
    table = published(space.fingerprint)
    if table is None:
        raise InputError(
            f"estimator.table=null: the package has no table of the space {space.name!r}; give the path of a CSV file"
        )
    if type(epochs) is not int or epochs not in (SHORT, LONG):
        raise InputError(f"estimator.epochs={epochs!r:.40}: the package's table has {SHORT} and {LONG}")
    if dataset not in SETS:
        raise unknown("data set (estimator.dataset) in the package's table:", dataset, SETS)
    columns = (table.percent[f"{dataset}-val-{SHORT}"], table.percent[f"{dataset}-test-{epochs}"])
    values = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip((architecture.decisions for architecture in _every(space)), values, strict=True))


def _of_file(space: SearchSpace, table: str, dataset: str, epochs: int) -> Rows:
    """The table of a file, which must be one of this space."""
    if epochs != SHORT:
        raise InputError(f"estimator.epochs={epochs!r:.40}: is for the package's table, and not for {table}")
    given, rows = _read(Path(table), dataset), {}
    for architecture in _every(space):
        if (name := space.notation(architecture)) not in given:
            raise InputError(
                f"estimator.table={table}: no row for {name:.100}: is it a table of the space {space.name!r}?"
            )
        rows[architecture.decisions] = given[name]
    if len(rows) < len(given):
        known = {space.notation(architecture) for architecture in _every(space)}
        foreign = next(name for name in given if name not in known)
        raise InputError(f"{table}: {foreign[:120]!r} is no architecture of the space {space.name!r}")
    return rows


def _every(space: SearchSpace) -> Iterator[Architecture]:
    """All architectures of a space, in the order of their decisions."""
    prefixes: list[tuple[int, ...]] = [()]
    while prefixes:
        prefix = prefixes.pop()
        if len(prefix) == len(space.choices):
            yield Architecture(space.fingerprint, prefix)
        else:
            prefixes.extend((*prefix, k) for k in reversed(space.allowed(prefix)))


def _read(path: Path, dataset: str) -> dict[str, tuple[float, float]]:
    """Validation and test accuracy in percent, by notation."""
    try:
        text = read_given(path, MAX_BYTES)
    except InputError as error:
        raise InputError(f"estimator.table={error}") from None
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = _columns(path, reader.fieldnames or (), dataset)
        rows: dict[str, tuple[float, float]] = {}
        for row in reader:
            if None in row:
                raise InputError(f"{path}, line {reader.line_num}: has more fields than the table has columns")
            name = row[NOTATION]
            if name in rows:
                raise InputError(f"{path}, line {reader.line_num}: {name[:120]!r} comes twice")
            validation, test = (_percent(f"{path}, line {reader.line_num}", c, row[c]) for c in columns)
            rows[name] = validation, test
    except csv.Error as error:
        raise InputError(f"estimator.table={path}: not a CSV file ({str(error)[:80]})") from None
    if not rows:
        raise InputError(f"estimator.table={path}: has no rows")
    for column, values in zip(columns, zip(*rows.values(), strict=True), strict=True):
        if max(values) <= 1:
            raise InputError(f"{path}, column {column!r}: the largest value is {max(values)}; must be percent")
    return rows


def _columns(path: Path, names: Sequence[str], dataset: str) -> tuple[str, str]:
    if NOTATION not in names:
        raise InputError(f"estimator.table={path}: has no column {NOTATION!r}; columns: {', '.join(names)[:200]}")
    doubled = next((name for name in names if list(names).count(name) > 1), None)
    if doubled is not None:
        raise InputError(f"estimator.table={path}: column {doubled!r} comes twice")
    sets = [name.removesuffix("-val") for name in names if name.endswith("-val")]
    sets = [name for name in sets if f"{name}-test" in names]
    if not sets:
        raise InputError(f"estimator.table={path}: has no data set with both columns, NAME-val and NAME-test")
    if dataset not in sets:
        raise unknown(f"data set (estimator.dataset) in {path}:", dataset, sets)
    return f"{dataset}-val", f"{dataset}-test"


def _percent(where: str, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise InputError(f"{where}, column {column!r}: {text!r:.40} must be a number from 0 to 100 (percent)")
    return value
