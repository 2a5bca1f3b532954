"""Files that are among the training images and among the test images: the same bytes in both."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import InputError, unknown
from ..runs.files import given
from .pixels import MOST_BYTES

WARN, REFUSE = "warn", "refuse"
HEAD = 4096  # bytes that are compared first
CHUNK = 1 << 20


def check_choice(choice: str) -> None:
    """Check the value of data.duplicates.

    Args:
        choice: The value.

    Raises:
        InputError: If it is unknown.
    """
    if choice not in (WARN, REFUSE):
        raise unknown("data.duplicates", choice, (WARN, REFUSE))


def same_files(train: Sequence[str], test: Sequence[str]) -> list[tuple[str, str]]:
    """Find the test files that are among the training files.

    Only files of one size are compared, and of those first the first bytes. Empty and unreadable files are left out.

    Args:
        train: Paths of the training files.
        test: Paths of the test files.

    Returns:
        Each such test file with one training file.
    """
    pairs = [([*train], [*test])]
    for key in (_size, _head, _whole):
        pairs = [both for some in pairs for both in _grouped(*some, key)]
    found = {file: first[0] for first, second in pairs for file in second}
    return [(found[file], file) for file in test if file in found]


def _grouped(
    train: Sequence[str], test: Sequence[str], key: Callable[[str], object]
) -> Iterable[tuple[list[str], list[str]]]:
    """The files of both sides that share a key."""
    groups: dict[object, tuple[list[str], list[str]]] = {}
    for side, paths in enumerate((train, test)):
        for path in paths:
            if (value := key(path)) is not None:
                groups.setdefault(value, ([], []))[side].append(path)
    return [group for group in groups.values() if group[0] and group[1]]


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size or None
    except OSError:
        return None


def _head(path: str) -> bytes | None:
    try:
        with given(Path(path), MOST_BYTES) as file:
            return file.read(HEAD)
    except InputError:
        return None


def _whole(path: str) -> bytes | None:
    digest = hashlib.blake2b()
    try:
        with given(Path(path), MOST_BYTES) as file:
            while piece := file.read(CHUNK):
                digest.update(piece)
    except InputError:
        return None
    return digest.digest()


def report(pairs: Sequence[tuple[str, str]], number: int, choice: str) -> list[str]:
    """Say which test images are among the training images.

    Args:
        pairs: Names of a training image and a test image each.
        number: Number of test images.
        choice: `"warn"` or `"refuse"`.

    Returns:
        A line for a user; none if there are no such images.

    Raises:
        InputError: If there are some and they are refused.
    """
    if not pairs:
        return []
    verb = "is" if len(pairs) == 1 else "are"
    text = (
        f"{len(pairs):,} of {number:,} test images {verb} among the training images (such as {' and '.join(pairs[0])})"
    )
    if choice == REFUSE:
        raise InputError(f"data.duplicates=refuse: {text}")
    return [f"data: warning: {text}; the test accuracy is too high then"]
