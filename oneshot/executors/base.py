"""The interface of an executor: something that calls a function on many items, on workers of its own."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerLost(RuntimeError):
    """A worker ended without an answer, and so did those that its call was repeated on."""


class Executor(ABC):
    """Calls on workers; as a context it ends them. One `map` at a time.

    workers: calls in flight at most. threads: CPU threads that a call may use, its share of the machine.
    Constructors check their numbers and raise InputError.
    """

    workers: int
    threads: int

    @abstractmethod
    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result | Exception]]:
        """Each item with what function(item) gave or the Exception it raised, as they finish.

        Items are pulled lazily, the next one when a worker is free and what finished before has been handed out, so a
        generator may depend on the results so far. A worker that is lost (its process or its node died) costs its
        unfinished call again, elsewhere, and after some times the call gives a WorkerLost; a call whose answer has
        arrived is never repeated. Where workers are other processes, function, items and results are pickled: the
        function is loaded once a worker, with the caller's working folder and import path. A map that is not read to
        its end ends those that are busy. Raises InputError where something cannot be sent or loaded.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers and what they are doing; a later `map` starts them again."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
