"""The errors for bad input, and the checks that raise them with a uniform message."""

import difflib
import math
from collections.abc import Iterable

MOST_NAMES = 300  # characters of the names that a message lists


class InputError(ValueError):
    """Input from the user that cannot be used. The message is one line: the thing, its value, what is allowed."""


class Diverged(InputError):
    """A number is not finite, so nothing that follows would have a meaning."""


class Lost(Exception):
    """Another process of the run has ended too early.

    Args:
        line: The message, one line.
        code: The exit code of this process.
    """

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.code = code


def printable(text: str) -> str:
    """Put a text on one line, without characters that cannot be shown or written, or that would steer a terminal.

    Args:
        text: The text, perhaps from a stranger's file.

    Returns:
        The line; each such character is a replacement character.
    """
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Replace the characters of a line that cannot be shown or written, or that would steer a terminal.

    Args:
        text: The line.

    Returns:
        The line, of the same length.
    """
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: object, most: int = 400) -> str:
    """Write a text, or the text of an error, on one line of characters that can be shown.

    Args:
        text: The text or the error.
        most: Largest number of characters; the rest is cut off.

    Returns:
        The line.
    """
    return printable(str(text)[: 100 * most])[:most]


def named(error: BaseException, most: int = 200) -> str:
    """Write the class of an error and its text on one line. This is for errors of other packages.

    Args:
        error: The error.
        most: Largest number of characters; the rest is cut off.

    Returns:
        The line, "CLASS: TEXT".
    """
    return one_line(f"{type(error).__name__}: {error}", most)


def is_number(value: object) -> bool:
    """Check whether a value is a finite number that fits a float. A bool is not a number here."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def check_range(name: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False) -> None:
    """Check that a value is a finite number in [low, high], or in (low, high] with `open_low`.

    Args:
        name: Name of the setting, for the message.
        value: Its value.
        low: Lower limit.
        high: Upper limit.
        open_low: Whether the lower limit itself is not allowed.

    Raises:
        InputError: If it is not.
    """
    if is_number(value) and low <= value <= high and not (open_low and value == low):
        return
    above = f"above {low}" if open_low else f"at least {low}"
    allowed = above if high == math.inf else f"{above} and at most {high}"
    raise InputError(f"{name}={value!r}: must be a number, {allowed}")


def check_integer(name: str, value: int, low: int, high: float = math.inf) -> None:
    """Check that a value is a whole number in [low, high].

    Args:
        name: Name of the setting, for the message.
        value: Its value.
        low: Lower limit.
        high: Upper limit.

    Raises:
        InputError: If it is not.
    """
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return
    allowed = f"at least {low}" if high == math.inf else f"from {low} to {high}"
    raise InputError(f"{name}={value!r}: must be a whole number, {allowed}")


def check_boolean(name: str, value: bool) -> None:
    """Check that a value is true or false.

    Args:
        name: Name of the setting, for the message.
        value: Its value.

    Raises:
        InputError: If it is not.
    """
    if not isinstance(value, bool):
        raise InputError(f"{name}={value!r}: must be true or false")


def unknown(kind: str, name: object, known: Iterable[str]) -> InputError:
    """Make the error for a name that does not exist. It has the nearest match and, unless they are many, all names.

    Args:
        kind: What the name should be the name of.
        name: The unknown name.
        known: The known names.

    Returns:
        The error, to be raised.
    """
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    listed = ", ".join(names)
    if len(listed) > MOST_NAMES:
        first = listed[:MOST_NAMES].rpartition(", ")[0]
        listed = "" if near else f"{first}, ... ({len(names)} in all)"
    return InputError(f"unknown {kind} {name!r}{hint or ';'}{f' known: {listed}' if listed else ''}")
