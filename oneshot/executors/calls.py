"""A call as bytes: what is sent to a worker, how the worker answers, and what comes back.

The bytes are pickles, so they are only for workers of the same user. They are never read from the folder of a run.
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
    """A pickled function, with what is needed to load it elsewhere.

    Args:
        content: The pickle.
        folder: The caller's working folder.
        path: The caller's import path.
    """

    content: bytes
    folder: str
    path: tuple[str, ...]


class Unfit(Exception):
    """The call could not be made, or its result could not be sent. No single item is to blame."""


def pack(thing: Any) -> bytes:
    """Pickle a function or an item.

    Args:
        thing: What is to be sent.

    Returns:
        The pickle.

    Raises:
        InputError: If it cannot be pickled. The message names it.
    """
    try:
        return pickle.dumps(thing)
    except Exception as error:  # the class of the error depends on what is pickled
        raise InputError(f"{thing!r:.80}: cannot be sent to a worker ({named(error)})") from None


def packed_function(function: Callable[..., Any]) -> bytes:
    """Pickle a function with the caller's folder and import path. Each of its calls begins with these bytes."""
    return pickle.dumps(Function(pack(function), os.getcwd(), tuple(sys.path)))


def answer(function: bytes, item: bytes) -> bytes:
    """Make a call in a worker. This function never raises an exception itself.

    Args:
        function: Bytes from `packed_function`.
        item: Bytes from `pack`.

    Returns:
        The pickled result, or the pickled Exception that the call raised.
    """
    try:
        loaded, argument = _load(function), pickle.loads(item)
    except Exception as error:
        return pickle.dumps(Unfit(f"a worker cannot load the function or its item: {named(error)}"))
    try:
        result = loaded(argument)
    except Exception as error:
        return _pickled_error(error)
    try:
        return pickle.dumps(result)
    except Exception as error:
        return pickle.dumps(Unfit(f"a result of type {type(result).__name__} cannot be sent back ({named(error)})"))


def unpack(content: bytes) -> Any:
    """Read what `answer` has returned.

    Args:
        content: The bytes from the worker.

    Returns:
        The result of the call, or the Exception that it raised.

    Raises:
        InputError: If the call could not be made.
    """
    outcome = pickle.loads(content)
    if isinstance(outcome, Unfit):
        raise InputError(str(outcome))
    return outcome


@lru_cache(maxsize=1)  # once for all calls, because loading may build something large
def _load(content: bytes) -> Callable[..., Any]:
    function = Function(*pickle.loads(content))
    os.chdir(function.folder)  # relative file names refer to it
    sys.path.extend(entry for entry in function.path if entry not in sys.path)
    return pickle.loads(function.content)


def _pickled_error(error: Exception) -> bytes:
    """The pickled error with the worker's traceback, or a RuntimeError if the error cannot be pickled and read back."""
    error.add_note(f"in a worker:\n{traceback.format_exc()}")
    try:
        content = pickle.dumps(error)
        pickle.loads(content)
        return content
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
