"""Lists of images with their labels, beside the images: metadata.csv, metadata.jsonl or metadata.parquet.

1. A list has a column `file_name`: the path of an image from the folder of the list, and nothing outside it.
2. No file is listed twice, as it would count twice or have two labels.
3. Images that no list names are left out, which is said.
4. A column of a metadata.csv holds whole numbers, numbers, or true and false if all its values in the training list do;
   else it holds texts, as they are. So does one in which two texts are one whole number, as 01 and 1. An empty field is
   a missing value.
"""

import csv
import io
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import pyarrow
from pyarrow import compute, parquet

from ..errors import InputError, named, one_line
from ..runs.files import given, parse_json, read_given
from .folders import TEST, TRAIN, Tree, check_names, choose, identity, is_list, metadata, split_folders
from .pixels import shown

FILE_NAME, IMAGE = "file_name", "image"  # the column of names, and that of the images which it becomes
KINDS = (pyarrow.int64(), pyarrow.float64(), pyarrow.bool_())  # of a column of a metadata.csv, in this order
MOST_BYTES = 1 << 30  # of a list
Columns = dict[str, pyarrow.Array]


class Listed(NamedTuple):
    """Images with their labels, which were listed.

    Args:
        splits: Rows of `datasets` with a column IMAGE, by the name of the split.
        left_out: What was left out, in words.
        remarks: What else a user should know before a run.
    """

    splits: dict[str, Any]
    left_out: list[str]
    remarks: list[str]


class _Split(NamedTuple):
    """What the lists in a folder say: the rows, images that none of them names, and the folders of those named."""

    rows: Any
    unlisted: list[str]
    places: set[str]


def read_lists(tree: Tree, test_split: str = "") -> Listed:
    """Read the lists in a folder or in its splits. No image is opened.

    Args:
        tree: The folder.
        test_split: Name of the test split: a folder; empty: test, or else validation.

    Raises:
        InputError: If a list cannot be read or has no column of names, a row names no file or one outside the folder of
            the list, a file is listed twice, or a split has no list; also as `choose` and `check_names` of
            `folders.py`.
    """
    splits = split_folders(tree, test_split)
    above = [path for path in metadata(tree) if os.path.dirname(path) == tree.root]
    if splits and above:
        raise InputError(
            f"{shown(above[0])}: lists images of several splits; put such a list into each of "
            f"{', '.join(map(shown, splits))}"
        )
    if not splits and not above:
        check_names(tree)
    train_path, test_path = choose(tree, splits, test_split) if splits else (tree.root, None)
    found = {TRAIN: _read(tree, train_path)}
    if test_path:
        found[test_split or TEST] = _read(tree, test_path, found[TRAIN].rows.features)
    unlisted = [path for split in found.values() for path in split.unlisted]
    unlisted += tree.look(tree.root).images if splits else []
    left_out = [f"split {shown(path)}" for path in splits if path not in (train_path, test_path)]
    if unlisted:
        number = f"{len(unlisted):,} image{'s' if len(unlisted) > 1 else ''}"
        left_out.append(f"{number} that no list names (first: {shown(unlisted[0])})")
    places = {path for split in found.values() for path in split.places}
    remarks = []
    if len({os.path.basename(path) for path in places}) > 1 and not places <= {tree.root, train_path, test_path}:
        name = os.path.basename(metadata(tree)[0])
        remarks = [f"data: labels are those of {name}, and not the names of the {len(places)} folders of the images"]
    return Listed({name: split.rows for name, split in found.items()}, left_out, remarks)


def _read(tree: Tree, folder: str, like: Any = None) -> _Split:
    """Read the lists in a folder.

    Args:
        tree: The whole folder.
        folder: It, or a split.
        like: The columns of the training split, whose types those of a metadata.csv get where they can.
    """
    levels = list(tree.below(folder, tree.above - {identity(folder)}))
    images = [path for level in levels for path in level.images]
    forms = {unicodedata.normalize("NFC", path): path for path in images}  # a list may spell a name in another form
    tables, features, seen = list[pyarrow.Table](), dict[str, Any](), dict[str, None]()
    for path in (path for level in levels for path in level.others if is_list(path)):
        columns, known = _columns(path, like)
        features |= known
        if FILE_NAME not in columns or IMAGE in columns:
            names = ", ".join(one_line(name, 40) for name in columns)
            raise InputError(
                f"{shown(path)}: must have a column {FILE_NAME} and none that is called {IMAGE}; there are: {names}"
            )
        files = []
        for row, name in enumerate(columns.pop(FILE_NAME).to_pylist(), 1):
            file = _path(path, row, name)
            file = forms.get(unicodedata.normalize("NFC", file), file)
            if file in seen:
                raise InputError(
                    f"{shown(file)}: is listed twice (the second time in row {row:,} of {shown(path)}); an image has "
                    "one row, so remove one of them"
                )
            seen[file] = None
            files.append(file)
        tables.append(pyarrow.table({IMAGE: _texts(path, files), **columns}))
    if not tables:
        raise InputError(f"{shown(folder)}: has no list of its images (metadata.csv), as the other split has")
    try:
        rows = datasets.Dataset(pyarrow.concat_tables(tables, promote_options="permissive"))
    except pyarrow.ArrowException as error:
        raise InputError(f"{shown(folder)}: its lists have columns of different types ({named(error)})") from None
    for name, feature in {**features, IMAGE: datasets.Image()}.items():
        rows = rows.cast_column(name, feature)
    return _Split(rows, [path for path in images if path not in seen], {os.path.dirname(path) for path in seen})


def _path(path: str, row: int, name: object) -> str:
    """The path of the image that a row of a list names."""
    if not isinstance(name, str) or not name:
        raise InputError(f"{shown(path)}: row {row:,} has no {FILE_NAME}")
    inside = os.path.normpath(name)
    if os.path.isabs(inside) or inside.split(os.sep)[0] in ("..", "."):
        raise InputError(
            f"{shown(path)}: row {row:,} names {one_line(name, 100)!r}, which is not in the folder of this list"
        )
    return os.path.join(os.path.dirname(path), inside)


def _columns(path: str, like: Any) -> tuple[Columns, dict[str, Any]]:
    """The columns of a list, and those that bring the names of their classes."""
    if path.lower().endswith(".csv"):
        return {name: _typed(name, _texts(path, values), like) for name, values in _fields(path).items()}, {}
    if path.lower().endswith(".jsonl"):
        return _objects(path), {}
    with given(Path(path), MOST_BYTES) as file:
        try:
            table = parquet.read_table(file)
            features = datasets.Features.from_arrow_schema(table.schema)
        except (pyarrow.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{shown(path)}: is no parquet file that can be read ({named(error)})") from None
    columns = {name: table.column(name).combine_chunks() for name in table.column_names}
    return columns, {name: kind for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)}


def _fields(path: str) -> dict[str, list[str | None]]:
    """The fields of a metadata.csv by column; None where one is empty."""
    text = read_given(Path(path), MOST_BYTES).removeprefix("\ufeff")
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline="")) if line]
    except csv.Error as error:
        raise InputError(f"{shown(path)}: cannot be read as a table ({one_line(error, 80)})") from None
    if len(lines) < 2:
        raise InputError(f"{shown(path)}: has no rows")
    head, *rows = lines
    if len(set(head)) < len(head):
        raise InputError(f"{shown(path)}: two columns have one name; there are: {one_line(', '.join(head), 200)}")
    for number, row in enumerate(rows, 1):
        if len(row) != len(head):
            raise InputError(f"{shown(path)}: row {number:,} has {len(row)} fields, its first line has {len(head)}")
    return {name: [row[k] or None for row in rows] for k, name in enumerate(head)}


def _typed(name: str, texts: pyarrow.Array, like: Any) -> pyarrow.Array:
    """A column of a metadata.csv in the first of KINDS that all its values are, or in that of the training split."""
    kinds: Sequence[pyarrow.DataType] = KINDS
    if like is not None:
        kinds = [like[name].pa_type] if name in like and isinstance(like[name], datasets.Value) else []
    if name == FILE_NAME or texts.null_count == len(texts):
        return texts
    for kind in kinds:
        try:
            found = compute.cast(compute.utf8_trim_whitespace(texts), kind)
        except pyarrow.ArrowInvalid:
            continue
        merged = compute.count_distinct(found).as_py() < compute.count_distinct(texts).as_py()
        return texts if merged and kind == KINDS[0] and like is None else found
    return texts


def _objects(path: str) -> Columns:
    """The columns of a metadata.jsonl."""
    rows = []
    for number, line in enumerate(read_given(Path(path), MOST_BYTES).removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise InputError(f"{shown(path)}: line {number:,} is not JSON ({one_line(error, 80)})") from None
        if not isinstance(row, dict):
            raise InputError(f"{shown(path)}: line {number:,} is {one_line(repr(row), 40)}; must be {{COLUMN: VALUE}}")
        rows.append(row)
    if not rows:
        raise InputError(f"{shown(path)}: has no rows")
    columns = {}
    for name in {name: None for row in rows for name in row}:
        try:
            columns[name] = pyarrow.array([row.get(name) for row in rows])
        except (pyarrow.ArrowException, OverflowError, UnicodeEncodeError) as error:
            raise InputError(
                f"{shown(path)}: column {one_line(name, 40)!r} holds values of different types ({named(error, 80)})"
            ) from None
    return columns


def _texts(path: str, values: Sequence[str | None]) -> pyarrow.Array:
    try:
        return pyarrow.array(values, pyarrow.string())
    except UnicodeEncodeError:
        raise InputError(f"{shown(path)}: the path of this list is not UTF-8; rename its folders") from None
