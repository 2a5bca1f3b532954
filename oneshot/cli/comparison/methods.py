"""The methods of a comparison: architects, strategies, and what no search has found."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import ListConfig

from ...controls import CONTROLS, RANDOM
from ...errors import InputError, unknown
from ..conf import choices

ARCHITECT, STRATEGY, CONTROL = "architect", "strategy", "control"
SUPERNET, PILOTS = "supernet", "pilots"  # folders beside those of methods: supernets of strategies, short searches
GROUPS = {"all": (ARCHITECT, STRATEGY, CONTROL), "architects": (ARCHITECT,), "strategies": (STRATEGY,)}


class Method(NamedTuple):
    """A method of a comparison.

    Args:
        name: As in `methods=`.
        kind: `ARCHITECT`, `STRATEGY` or `CONTROL`.
    """

    name: str
    kind: str


def known(folders: tuple[Path, ...]) -> dict[str, Method]:
    """Return all methods by name: the choices of two groups, and the controls.

    Args:
        folders: The user's folders of settings.

    Raises:
        InputError: If an architect and a strategy have one name, or one has a name that a comparison needs itself.
    """
    architects, strategies = (choices(group, folders) for group in (ARCHITECT, STRATEGY))
    for name, file in {**architects, **strategies}.items():
        if name in (RANDOM, SUPERNET, PILOTS):
            raise InputError(f"{file}: {name} means something else in a comparison; give the file another name")
    for name in architects:
        if name in strategies:
            raise InputError(f"{architects[name]} and {strategies[name]}: have one name; `methods` needs two")
    kinds = {**dict.fromkeys(architects, ARCHITECT), **dict.fromkeys(strategies, STRATEGY)}
    return {name: Method(name, kind) for name, kind in {**kinds, **dict.fromkeys(CONTROLS, CONTROL)}.items()}


def chosen(names: Sequence[str] | str, folders: tuple[Path, ...]) -> list[Method]:
    """Return the methods that `methods` names.

    Args:
        names: Their names, or `all`, `architects` or `strategies`.
        folders: The user's folders of settings.

    Raises:
        InputError: If it is no list, or a name is unknown or comes twice.
    """
    methods = known(folders)
    if isinstance(names, str) and names in GROUPS:
        return [method for method in methods.values() if method.kind in GROUPS[names]]
    if not isinstance(names, ListConfig | list):
        raise InputError(
            f"methods={names!s:.80}: must be a list, as methods=[darts,evolution,random], or {', '.join(GROUPS)}"
        )
    for name in names:
        if name not in methods:
            raise unknown("method", name, methods)
    if not names or len(set(names)) < len(names):
        raise InputError(f"methods={list(names)!s:.80}: must hold at least one, and each once")
    return [methods[name] for name in names]
