"""Images that are among the training images and among the test images: the same bytes in both."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import InputError, unknown
from ..runs.files import given
from .pixels import MOST_BYTES

WARN, REFUSE = "warn", "refuse"
HEAD = 4096  # bytes that are compared first
CHUNK = 1 << 20
Content = bytes | memoryview | str  # of an image file, or its path


def check_choice(choice: str) -> None:
    """Check the value of data.duplicates.

    Args:
        choice: The value.

    Raises:
        InputError: If it is unknown.
    """
    if choice not in (WARN, REFUSE):
        raise unknown("data.duplicates", choice, (WARN, REFUSE))


class Contents(Protocol):
    """Images of a split, whose files or bytes are compared."""

    def sizes(self) -> np.ndarray:
        """Return the bytes that each image takes, int64 (n,); 0 if it is missing."""

    def some(self, chosen: np.ndarray) -> Iterable[Content]:
        """Yield the content or the path of some images.

        Args:
            chosen: Their numbers, ascending.
        """


def same_images(train: Contents, test: Contents) -> list[tuple[int, int]]:
    """Find the test images that are among the training images.

    Only images of one size are compared, and of those first the first bytes. One image at a time is in memory, and of
    each image a few numbers. Empty and unreadable images are left out.

    Args:
        train: The training images.
        test: The test images.

    Returns:
        The number of the first such training image and that of the test image, for each such test image.
    """
    sides = train, test
    keys = [side.sizes().astype(np.uint64) for side in sides]
    kept = [np.arange(len(key)) for key in keys]
    for limit in (HEAD, None):
        kept, keys = _shared(kept, keys)
        keys = [_digests(side.some(some), len(some), limit) for side, some in zip(sides, kept, strict=True)]
    kept, keys = _shared(kept, keys)
    (first, second), (numbers, others) = [[values.tolist() for values in pair] for pair in (keys, kept)]
    found = dict(zip(reversed(first), reversed(numbers), strict=True))
    return [(found[key], number) for key, number in zip(second, others, strict=True)]


def _shared(kept: list[np.ndarray], keys: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The images whose key is not 0 and is one of the other side too, and their keys."""
    common = np.intersect1d(keys[0], keys[1])
    masks = [np.isin(side, common[common > 0]) for side in keys]
    left = [[values[mask] for values, mask in zip(sides, masks, strict=True)] for sides in (kept, keys)]
    return left[0], left[1]


def _digests(contents: Iterable[Content], number: int, limit: int | None) -> np.ndarray:
    """A number for the first bytes of each, or for all: uint64 (number,); 0 if it cannot be read."""
    return np.fromiter((_digest(content, limit) for content in contents), np.uint64, number)


def _digest(content: Content, limit: int | None) -> int:
    digest = hashlib.blake2b(digest_size=8)
    if not isinstance(content, str):
        digest.update(memoryview(content)[:limit])
    else:
        try:
            with given(Path(content), MOST_BYTES) as file:
                while piece := file.read(limit or CHUNK):
                    digest.update(piece)
                    if limit:
                        break
        except InputError:
            return 0
    return int.from_bytes(digest.digest(), "little")


def file_size(path: str) -> int:
    """Return the bytes of a file; 0 if it cannot be read.

    Args:
        path: Its path.
    """
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


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
    return [f"data: warning: {text}; the test result is too good then"]
