"""A text as tokens on the training device, for language models that read characters."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..draws import generator
from ..errors import InputError, check_integer, check_range
from ..runs.files import read_given
from ..tasks import LanguageModelling, Metric, Task
from .images import Batch

MOST_BYTES = 1 << 28
SPLIT_SEED = 0


class Vocabulary(NamedTuple):
    """What the logits of a language model stand for.

    Args:
        classes: The characters, sorted.
    """

    classes: tuple[str, ...]


class TextPart:
    """A stretch of a text. A training batch is a pure function of (seed, stream, step).

    A pass cuts the stretch into windows of `length` characters, with an offset of its own, and takes them in an order
    of its own. The target of each character is the next one.

    Args:
        name: Name of the part: its stream of draws, and what messages call it.
        tokens: int64 (characters,).
        batch_size: Windows of a training batch.
        length: Characters of a window.
        metric: Measures what a network makes of it.

    Raises:
        InputError: If the part is shorter than a batch.
    """

    def __init__(self, name: str, tokens: Tensor, batch_size: int, length: int, metric: Metric) -> None:
        self.name, self.tokens, self.batch_size, self.length, self.metric = name, tokens, batch_size, length, metric
        if self.batches < 1:
            raise InputError(
                f"data.batch_size={batch_size}, data.length={length}: the {name} part has {len(tokens)} characters; a "
                f"batch needs {(batch_size + 1) * length}"
            )

    def __len__(self) -> int:
        """Return the number of windows of an evaluation."""
        return (len(self.tokens) - 1) // self.length

    @property
    def batches(self) -> int:
        """Number of full batches of one pass. The offset of a pass may cost a window."""
        return max(0, (len(self.tokens) - self.length) // self.length) // self.batch_size

    def batch(self, seed: int, step: int) -> Batch:
        """Return a training batch: x and y, int64 (batch, length).

        Args:
            seed: Seed of the run.
            step: Number of the batch, from 0.
        """
        epoch, position = divmod(step, self.batches)
        draws = generator(seed, f"{self.name}/order", epoch)
        offset = int(torch.randint(self.length, (1,), generator=draws))
        windows = (len(self.tokens) - 1 - offset) // self.length
        chosen = torch.randperm(windows, generator=draws)[position * self.batch_size :][: self.batch_size]
        return self._windows(offset + chosen * self.length)

    def first(self) -> Batch:
        """Return two windows, to try things on."""
        return self._windows(torch.arange(2) * self.length)

    def passes(self, batch_size: int = 512) -> Iterator[Batch]:
        """Yield every window once, in the order of the text. What is left at the end is no window.

        Args:
            batch_size: Largest number of windows in a batch; all have nearly one size.
        """
        starts = torch.arange(len(self)) * self.length
        for chosen in starts.tensor_split(math.ceil(len(self) / batch_size)):
            yield self._windows(chosen)

    def to(self, device: torch.device) -> None:
        """Move the tokens to a device; batches are then made there."""
        self.tokens = self.tokens.to(device)

    def _windows(self, starts: Tensor) -> Batch:
        places = starts[:, None] + torch.arange(self.length + 1)
        windows = self.tokens[places.to(self.tokens.device)]
        return Batch(windows[:, :-1], windows[:, 1:])


class Text:
    """A text in stretches: weight part, architecture part, and the end of the text as the test.

    Args:
        source: A text file in UTF-8, of at most 256 MiB.
        batch_size: Windows of a step.
        length: Characters of a window, at least 1.
        architecture_fraction: Share of the training text that moves the architecture; it is the end of that text.
        test_fraction: Share of the text that is held out for the test; it is the end of the text.
        train_size: Use the first so many characters for training; 0 for all.
        task: What is learned; None is the next character.

    Attributes:
        classes: Number of different characters.
        splits: Its `classes` are the characters.

    Raises:
        InputError: If the file cannot be read as text, a setting is out of range, or the task is no language modelling.
    """

    def __init__(
        self,
        source: str | Path,
        batch_size: int = 64,
        length: int = 128,
        architecture_fraction: float = 0.5,
        test_fraction: float = 0.1,
        train_size: int = 0,
        task: Task | None = None,
    ) -> None:
        check_integer("data.batch_size", batch_size, 2)
        check_integer("data.length", length, 1)
        check_integer("data.train_size", train_size, 0)
        check_range("data.architecture_fraction", architecture_fraction, 0.0, 0.95, open_low=True)
        check_range("data.test_fraction", test_fraction, 0.0, 0.95, open_low=True)
        self.task = task or LanguageModelling()
        if not isinstance(self.task, LanguageModelling):
            raise InputError(f"task={self.task.name}: a text is for language_modelling")
        self.batch_size, self.length, self.architecture_fraction = batch_size, length, architecture_fraction
        text = read_given(Path(source).expanduser(), MOST_BYTES)
        characters = sorted(set(text))
        if len(characters) < 2:
            raise InputError(
                f"data.source={source}: holds {len(characters)} different characters; at least 2 are needed"
            )
        self.splits, self.classes = Vocabulary(tuple(characters)), len(characters)
        index = {character: n for n, character in enumerate(characters)}
        tokens = torch.tensor([index[character] for character in text])
        held_out = round(test_fraction * len(tokens))
        self._training, self._test = tokens[: len(tokens) - held_out], tokens[len(tokens) - held_out :]
        if train_size > len(self._training):
            raise InputError(f"data.train_size={train_size}: there are {len(self._training)} characters for training")
        if train_size:
            self._training = self._training[:train_size]
        self.measure(None)

    def measure(self, name: str | None) -> None:
        """Choose the metric that decides. Parts that were taken before keep theirs.

        Args:
            name: One of the task's metrics; None is the task's own choice.

        Raises:
            InputError: If the task has no such metric.
        """
        self.metric = self.task.metric(self.classes, name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """A text has none: a space of images refuses it by this error."""
        raise InputError(
            "the data is a text, which has no images: it needs a space of sequences or a network of your own"
        )

    def split(self) -> tuple[TextPart, TextPart]:
        """Return the weight part and the architecture part of the training text."""
        first = len(self._training) - round(self.architecture_fraction * len(self._training))
        return self._part("weight", self._training[:first]), self._part("architecture", self._training[first:])

    def train(self) -> TextPart:
        """Return all training text, for a retraining."""
        return self._part("train", self._training)

    def test(self) -> TextPart:
        """Return the test text. Only the end of a retraining reads it."""
        return self._part("test", self._test, 1)

    def _part(self, name: str, tokens: Tensor, batch_size: int = 0) -> TextPart:
        return TextPart(name, tokens, batch_size or self.batch_size, self.length, self.metric)
