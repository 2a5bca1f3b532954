"""Calls in this process, one after the other."""

import os
from collections.abc import Callable, Iterable, Iterator

from .base import Executor, Item, Result


class Inline(Executor):
    """Runs calls in this process. Nothing is pickled, and no worker can be lost."""

    def __init__(self) -> None:
        self.workers, self.threads = 1, os.cpu_count() or 1

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        for item in items:
            yield item, _outcome(function, item)

    def close(self) -> None:
        pass


def _outcome(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return function(item)
    except Exception as error:  # the caller decides what it means
        return error
