"""What executors with workers in other processes share: which worker has which call, and what happens to lost ones."""

import importlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic

from ..errors import InputError
from .base import Executor, Item, Result, WorkerLost
from .calls import pack, packed_function, unpack

MOST_LOSSES = 3  # after so many lost workers the call itself is probably the cause
say = logging.getLogger(__name__).warning  # shown on the screen


@dataclass
class Call(Generic[Item]):
    """A call on its way.

    Args:
        item: The item.
        content: Its bytes (calls.py).
        losses: Number of workers that this call has lost.
    """

    item: Item
    content: bytes
    losses: int = 0


class Remote(Executor):
    """An executor that sends calls as bytes and gets answers as bytes (calls.py)."""

    @abstractmethod
    def start(self, function: bytes, item: bytes) -> Hashable:
        """Send a call to a free worker. There is always one when this method is called.

        Args:
            function: Bytes of the function (calls.py).
            item: Bytes of the item.

        Returns:
            The name by which `wait` will report the call.
        """

    @abstractmethod
    def wait(self) -> list[tuple[Hashable, bytes | WorkerLost]]:
        """Wait until at least one call is over.

        Returns:
            The calls that are over, each with its answer, or with the reason why its worker was lost.
        """

    @abstractmethod
    def cancel(self) -> None:
        """End the calls that are not over, and their workers."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        head, source = packed_function(function), iter(items)
        running: dict[Hashable, Call[Item]] = {}
        try:
            while True:
                for item in islice(source, self.workers - len(running)):
                    call = Call(item, pack(item))
                    running[self.start(head, call.content)] = call
                if not running:
                    return
                for handle, found in self.wait():
                    call = running.pop(handle)
                    if not isinstance(found, WorkerLost):
                        yield call.item, unpack(found)
                        continue
                    call.losses += 1
                    if call.losses < MOST_LOSSES:
                        say(f"warning: {found}; its call starts again on another worker")
                        running[self.start(head, call.content)] = call
                    else:
                        yield call.item, WorkerLost(f"{found}, like {MOST_LOSSES - 1} workers before it")
        finally:
            if running:
                self.cancel()


def needed(package: str) -> Any:
    """Import a package of the extra with the same name. Raises InputError if it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"executor={package}: needs {package}, pip install 'oneshot[{package}]' ({error})") from None
