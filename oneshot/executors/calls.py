"""A call as bytes: what travels to a worker, how the worker answers it, and what comes back.

Pickles, so for workers of the same user alone: they are never read from a folder that a run was given.
"""

import os
import pickle
import sys
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import InputError, named


class Function(NamedTuple):
    """A pickled function, and what is needed to load it elsewhere: the caller's working folder and import path."""

    content: bytes
    folder: str
    path: tuple[str, ...]


class Unfit(Exception):
    """The call could not be made, or its result not sent: a fault of the caller's and of no single item."""


def pack(thing: Any) -> bytes:
    """Pickle a function or an item. Raises InputError that names what cannot be."""
    try:
        return pickle.dumps(thing)
    except Exception as error:  # what pickling raises depends on the thing
        raise InputError(f"{thing!r:.80}: cannot be sent to a worker ({named(error)})") from None


def packed_function(function: Callable[..., Any]) -> bytes:
    """The function with where it was; each of its calls begins with this."""
    return pickle.dumps(Function(pack(function), os.getcwd(), tuple(sys.path)))


def answer(function: bytes, item: bytes) -> bytes:
    """In a worker: the pickled result of the call, or the Exception that it raised; never raises one itself."""
    try:
        loaded, argument = _load(function), pickle.loads(item)
    except Exception as error:
        return pickle.dumps(Unfit(f"a worker cannot load what it shall call: {named(error)}"))
    try:
        result = loaded(argument)
    except Exception as error:
        return _pickled_error(error)
    try:
        return pickle.dumps(result)
    except Exception as error:
        return pickle.dumps(Unfit(f"a result of type {type(result).__name__} cannot be sent back ({named(error)})"))


def unpack(content: bytes) -> Any:
    """What `answer` has pickled. Raises InputError where the call could not be made."""
    outcome = pickle.loads(content)
    if isinstance(outcome, Unfit):
        raise InputError(str(outcome))
    return outcome


@lru_cache(maxsize=1)  # once a worker, however many calls: what it builds when it is loaded may be large
def _load(content: bytes) -> Callable[..., Any]:
    function = Function(*pickle.loads(content))
    os.chdir(function.folder)  # for names of files that are relative to it
    sys.path.extend(entry for entry in function.path if entry not in sys.path)
    return pickle.loads(function.content)


def _pickled_error(error: Exception) -> bytes:
    """The error with the worker's trace; as a RuntimeError where it cannot be sent, or not be made again there."""
    error.add_note(f"in a worker:\n{traceback.format_exc()}")
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
        return content
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
