"""The one error type that bad input raises, and the checks that word it."""

import difflib
import math
from collections.abc import Iterable


class InputError(ValueError):
    """Input from the user that cannot be used. The message is one line: the thing, its value, what is allowed."""


class Diverged(InputError):
    """A number that is not finite: nothing that follows would mean anything."""


class Lost(Exception):
    """Another process of the run has ended before its time. code: for the exit."""

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


def one_line(text: object, most: int = 400) -> str:
    """A text, or that of an error, on one line, cut to `most` characters."""
    return " ".join(str(text).split())[:most]


def named(error: BaseException, most: int = 200) -> str:
    """The class of an error and its text, on one line: for those of other packages."""
    return one_line(f"{type(error).__name__}: {error}", most)


def is_number(value: object) -> bool:
    """Whether it is a finite number that a float can hold, and no bool."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def check_range(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Raise InputError unless `value` is a finite number in [low, high] (in (low, high] with `open_low`)."""
    if is_number(value) and low <= value <= high and not (open_low and value == low):
        return
    above = f"above {low}" if open_low else f"at least {low}"
    allowed = above if high == math.inf else f"{above} and at most {high}"
    raise InputError(f"{name}={value!r}: must be a number, {allowed}")


def check_integer(name: str, value: int, low: int, high: float = math.inf) -> None:
    """Raise InputError unless `value` is a whole number in [low, high]."""
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return
    allowed = f"at least {low}" if high == math.inf else f"from {low} to {high}"
    raise InputError(f"{name}={value!r}: must be a whole number, {allowed}")


def check_boolean(name: str, value: bool) -> None:
    """Raise InputError unless `value` is true or false."""
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r}: must be true or false")


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """The error for a name that does not exist: lists the known ones and the nearest match."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint or ';'} known: {', '.join(names)}")
