"""What a search shows of its controls: random architectures and the largest one, inside the same supernet."""

from collections.abc import Mapping
from typing import Any

from ..controls import LARGEST, RANDOM
from ..fitting.controls import Controls, controls_of
from ..quantity import Quantity, of_result


def control_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how the found architecture of a search compares with its controls, as labels and texts.

    Args:
        result: What result.json of the search holds.
    """
    controls, quantity = controls_of(result), of_result(result)
    if controls is None:
        return []
    rows = []
    if controls.batches:
        rows.append((f"  the same in {controls.batches} batches, as what follows", quantity.text(controls.found)))
    rows.append(("  better there than (their mean)", _beaten(controls, quantity)))
    if controls.largest is not None:
        rows.append(("  the largest one there", quantity.text(controls.largest)))
    return rows


def _beaten(controls: Controls, quantity: Quantity) -> str:
    values, failed = controls.random, controls.failed
    if not values:
        return f"none of {failed} random ones has a finite value"
    mean = quantity.text(sum(values) / len(values))
    which = "random ones of what the stages left" if controls.left else "random ones"
    more = f"; {failed} more: not finite" if failed else ""
    return f"{controls.beaten(quantity.maximize)} of {len(values)} {which} ({mean}){more}"


def beside(result: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return what the comparison inside a supernet says and does not say, and the control that is to be trained.

    Args:
        result: What result.json of the search holds.

    Returns:
        A line, and `"random"` or `"largest"`; None for a search without controls.
    """
    controls, maximize = controls_of(result), of_result(result).maximize
    if controls is None:
        return None
    beats = {"most random ones": controls.beats_most(maximize), "the largest one": controls.beats_largest(maximize)}
    lost = " or than ".join(name for name, beaten in beats.items() if not beaten)
    which = LARGEST if lost and controls.beats_most(maximize) else RANDOM
    no_proof = "a supernet is no proof, as a search trains most what it prefers"
    said = f"inside its supernet the found network is not better than {lost}" if lost else no_proof
    return f"{said}; this trains {'the' if which == LARGEST else 'a'} {which} network beside it:", which
