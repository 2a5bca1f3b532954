"""The interface of an executor: it calls a function on many items, with workers of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerLost(RuntimeError):
    """A worker ended without an answer, and so did the workers on which its call was repeated."""


class Executor(ABC):
    """Calls a function on workers. As a context manager it ends them. Only one `map` may run at a time.

    Constructors check their numbers and raise InputError.

    Attributes:
        workers: Largest number of calls at the same time.
        threads: CPU threads that a call may use, its share of the machine.
    """

    workers: int
    threads: int

    @abstractmethod
    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Call the function on each item and yield the results as they finish.

        Items are taken lazily: the next one when a worker is free and all finished results have been handed out. A
        generator of items may therefore depend on the results so far.

        If a worker is lost (its process or its node has died), only its unfinished call is made again, on another
        worker. After some losses the call gives a WorkerLost. A call whose answer has arrived is never repeated.

        If workers are other processes, function, items and results are pickled. A worker loads the function once, with
        the caller's working folder and import path. If the caller stops reading early, calls that still run are ended.

        Args:
            function: What is called with each item.
            items: The items.

        Yields:
            Each item with what function(item) returned, or with the Exception that it raised.

        Raises:
            InputError: If something cannot be sent to a worker or cannot be loaded there.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers and their calls. A later `map` starts them again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
