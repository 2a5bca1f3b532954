"""The choices of groups on a command line: one of each group, and a list of techniques."""

from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

from ..errors import InputError, unknown
from .composition import SEVERAL
from .conf import CONF, choices

NOTHING: tuple[Any, ...] = (None, "none", [])  # of a list: no further choice


def checked(words: Iterable[str]) -> list[str]:
    """Return Hydra's arguments, in which a list of techniques that is `none` or `null` is written as `[]`.

    Hydra itself takes a list for any group, and merges its choices or reads a file of another group.

    Args:
        words: Settings and flags, as Hydra takes them.

    Raises:
        InputError: If a group is not given one choice, or the techniques are no list of different names.
    """
    return [_checked(word) for word in words]


def _checked(word: str) -> str:
    key, equals, _ = word.partition("=")
    group = key.lstrip("+").partition("@")[0]
    if not equals or not group.isidentifier() or not (CONF / group).is_dir():
        return word
    (override,) = OverridesParser.create().parse_overrides([word])
    value: Any = override.value()
    if isinstance(value, ChoiceSweep):  # of a --multirun; each of its values is written as a word of its own
        each = [_checked(f"{key}={text}") for text in override.sweep_string_iterator()]
        return f"{key}={','.join(one.partition('=')[2] for one in each)}"
    if override.is_sweep_override():  # over a pattern of names
        return word
    if group != SEVERAL:
        _check_one(word, group, value)
    elif value in NOTHING:
        return f"{key}=[]"
    else:
        _check_list(word, value if isinstance(value, list) else [value])
    return word


def _check_one(word: str, group: str, value: Any) -> None:
    if isinstance(value, list):
        first = next((name for name in value if isinstance(name, str) and name), "NAME")
        raise InputError(f"{word}: the group takes one choice and no list, as {group}={first}")
    if not isinstance(value, str) or not value:
        raise InputError(f"{word}: must name a choice for {group}; known: {', '.join(choices(group))}")
    _check_name(group, value)


def _check_list(word: str, names: list[Any]) -> None:
    known = ", ".join(choices(SEVERAL))
    for n, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(f"{word}: must be a list of names, as {SEVERAL}=[beta_decay]; known: {known}")
        if name in names[:n]:
            raise InputError(f"{word}: names {name} more than once")
        _check_name(SEVERAL, name)


def _check_name(group: str, name: str) -> None:
    """Raise an error for a path that leaves the folder of the group."""
    if name.startswith("/") or ".." in name.split("/"):
        raise unknown(f"choice for {group}", name, choices(group))
