"""All images of a split: decoded by threads, with every file that cannot be decoded in one message."""

import os
from abc import abstractmethod
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from .duplicates import Content
from .images import LabelledImages
from .pixels import DEEP, DIM, FRAMES, TRANSPARENT, TURNED, Damaged, Decoded, Pixels, decode, decoded, quiet, shown
from .streaming import Source

LISTED = 10  # files that a message names
PIECE = 32  # images that a thread decodes at once
NOTES = {
    TRANSPARENT: "with transparent pixels, put on data.background",
    TURNED: "turned as EXIF says",
    FRAMES: "with several frames, of which the first is taken",
    DEEP: "of more than 8 bits, scaled to 8 by the range of their type",
    DIM: "of those with no level above a sixteenth of that range: nearly black",
}


class Encoded(Source):
    """Images of a split that are not decoded yet, with their classes. It can be pickled.

    Args:
        split: Name of the split, for messages.
        targets: int64 (n,), the class of each.
        options: What an image becomes.
        skip_corrupt: Whether `decode_all` leaves out files that cannot be decoded.
    """

    targets: Tensor

    def __init__(self, split: str, targets: Tensor, options: Pixels, skip_corrupt: bool = False) -> None:
        self.split, self.targets, self.options, self.skip_corrupt = split, targets, options, skip_corrupt

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.targets)

    @abstractmethod
    def content(self, index: int) -> bytes | str:
        """Return the content of an image file or its path.

        Args:
            index: Its number, from 0.
        """

    @abstractmethod
    def name(self, index: int) -> str:
        """Return what messages call an image.

        Args:
            index: Its number, from 0.
        """

    @abstractmethod
    def sizes(self) -> np.ndarray:
        """Return the bytes that the file of each image takes, int64 (n,); 0 if it is missing."""

    @abstractmethod
    def take(self, split: str, chosen: Tensor) -> "Encoded":
        """Return some of the images as another split.

        Args:
            split: Its name.
            chosen: bool (n,).
        """

    def some(self, chosen: np.ndarray) -> Iterator[Content]:
        """Yield the content or the path of some images.

        Args:
            chosen: Their numbers, ascending.
        """
        return map(self.content, chosen.tolist())

    def contents(self) -> Iterator[bytes | str]:
        """Yield the content or the path of each image in turn."""
        return map(self.content, range(len(self)))

    def read(self, index: int) -> np.ndarray:
        """Decode one image.

        Args:
            index: Its number, from 0.

        Returns:
            uint8 (height, width, channels).

        Raises:
            InputError: If it cannot be decoded; the message names the file.
        """
        content = self.content(index)
        return decode(content, self.options, shown(content) if isinstance(content, str) else self.name(index))

    def decode_all(self) -> tuple[LabelledImages, list[str]]:
        """Decode all images.

        Returns:
            The images, and lines on what was done to them.

        Raises:
            InputError: If some cannot be decoded, or have another size than the first. The message names up to LISTED
                of them and says how many there are.
        """
        pixels, found = np.empty((0, 0, 0, 0), np.uint8), Counter[str]()
        taken: list[int] = []
        failed: list[InputError] = []
        for index, image in enumerate(self._each()):
            if isinstance(image, InputError):
                failed.append(image)
                continue
            if not taken:
                pixels = np.empty((len(self), *image.pixels.shape), np.uint8)
            if image.pixels.shape != pixels.shape[1:]:
                raise InputError(self._sizes(taken[0], pixels.shape, index, image.pixels.shape))
            pixels[len(taken)] = image.pixels
            taken.append(index)
            found.update(image.notes)
        self._check(failed)
        lines = [f"data: {self.split}: {count:,} images {NOTES[note]}" for note, count in sorted(found.items())]
        if failed:
            lines.append(
                f"data: {self.split}: left out {len(failed):,} files that cannot be decoded (first: {failed[0]})"
            )
        images = torch.from_numpy(pixels[: len(taken)])
        return LabelledImages(images, self.targets[torch.tensor(taken, dtype=torch.int64)]), lines

    def _check(self, failed: Sequence[InputError]) -> None:
        """Raise for images that cannot be used, unless they are left out."""
        unclear = [error for error in failed if not isinstance(error, Damaged)]
        wrong = unclear if self.skip_corrupt else failed
        if len(failed) == len(self):
            wrong = failed  # nothing would be left
        if not wrong:
            return
        listed = "; ".join(str(error) for error in wrong[:LISTED])
        more = f"; and {len(wrong) - LISTED:,} more" if len(wrong) > LISTED else ""
        few = len(wrong) < len(self) and not self.skip_corrupt and not unclear
        hint = " (data.skip_corrupt=true leaves them out)" if few else ""
        raise InputError(f"{len(wrong):,} of {len(self):,} {self.split} images cannot be used{hint}: {listed}{more}")

    def _sizes(self, first: int, shape: Sequence[int], index: int, other: Sequence[int]) -> str:
        return (
            f"{self.name(index)}: has {other[1]}x{other[0]} pixels, and {self.name(first)} has {shape[2]}x{shape[1]}; "
            "data.image_size=N gives all one size"
        )

    def _each(self) -> Iterator[Decoded | InputError]:
        """Decode all in order. Pillow does not hold Python's lock while it decodes, so threads share the work."""
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        pieces = _pieces(self.contents())
        waiting: deque[Future[list[Decoded | InputError]]] = deque()
        with quiet(), ThreadPoolExecutor(workers) as pool:
            try:
                for start, piece in pieces:
                    waiting.append(pool.submit(self._piece, start, piece))
                    if len(waiting) > 2 * workers:  # so that few files are in memory at a time
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _piece(self, start: int, piece: Sequence[bytes | str]) -> list[Decoded | InputError]:
        found: list[Decoded | InputError] = []
        for index, content in enumerate(piece, start):
            try:
                name = shown(content) if isinstance(content, str) else self.name(index)
                found.append(decoded(content, self.options, name))
            except InputError as error:
                found.append(error)
        return found


def _pieces(contents: Iterable[bytes | str]) -> Iterator[tuple[int, list[bytes | str]]]:
    iterator, start = iter(contents), 0
    while piece := list(islice(iterator, PIECE)):
        yield start, piece
        start += len(piece)
