"""What a search or a retraining leaves in its folder, and how it is read again."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from .. import plots
from ..architecture import Architecture, by_name
from ..cost import ExpectedCost, Limit, Whole, count_parameters, network_cost
from ..errors import InputError, is_number, one_line
from ..fitting.controls import controls_of
from ..plots.diagnostics import curves_of
from ..retrain import Retrain
from ..runs.files import parse_json, read_text
from ..runs.folder import METRICS, Run, read_rows, read_weights, write_weights
from ..search import Search
from ..spaces.base import ImageShape, SearchSpace
from ..stopping.base import Stop
from ..tables.published import TABLE, Lookup, lookup_for
from ..techniques.base import named
from ..techniques.composed import taken_apart

ARCHITECTURE, SCORES, DIAGNOSTICS = "architecture.json", "scores.json", "diagnostics.json"
SUPERNET, ARCHITECT, NETWORK = "supernet.safetensors", "architect.safetensors", "network.safetensors"


def write_search(run: Run, search: Search, image_shape: ImageShape) -> dict[str, Any]:
    """Write what a search found. `result.json` comes last and marks the run as finished.

    Args:
        run: The open run.
        search: The search after its fit.
        image_shape: (channels, height, width).

    Returns:
        What `result.json` holds.
    """
    space, found, metric = search.space, search.found, search.metric.name
    run.write(ARCHITECTURE, space.to_json(found))
    run.write(SCORES, json.dumps(search.scores) + "\n")
    write_weights(run.path / SUPERNET, search.supernet)
    write_weights(run.path / ARCHITECT, search.architect)
    kept = search.stopped.kept_epoch if search.stopped else len(search.scores) - 1
    back = [row["step"] for row in search.rows if search.stopped and "valid_loss" in row and row["epoch"] == kept]
    pictures = {
        "cells": partial(plots.cells, space.graphs(found)),
        "scores": partial(plots.heat_maps, search.scores[: kept + 1], space.choices, chosen=found.decisions),
        "curves": partial(plots.curves, search.rows, metric=search.metric.quantity),
    }
    if search.diagnostics.names:
        pictures["diagnostics"] = partial(plots.diagnostics, curves_of(search.rows), kept={"": back})
    if search.diagnostics.details:
        run.write(DIAGNOSTICS, json.dumps(search.diagnostics.details) + "\n")
    for name, figure in pictures.items():
        plots.save(figure, run.path / name)
    return run.finish(
        {
            "architecture": by_name(found, space.choices),
            f"valid_{metric}": search.valid[metric],
            f"found_valid_{metric}": search.found_valid[metric],
            **controls(search),
            "metric": search.metric.quantity._asdict(),
            "classes": list(search.classes),
            **techniques(search),
            **looked_up(search.lookup, found),
            **network_cost(space, found, image_shape),
            **candidates_cost(search),
            **stages(search),
            **stopped(search),
        }
    )


def measured(whole: Whole, value: float) -> dict[str, Any]:
    """Return what `result.json` says of a whole network beside a limit.

    Args:
        whole: Its cost.
        value: The limit.
    """
    return {"whole": whole.value, "drift": whole.drift, "holds": whole.value <= value}


def write_retraining(
    run: Run,
    retrain: Retrain,
    space: SearchSpace | None,
    architecture: Architecture | None,
    image_shape: ImageShape,
    limit: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write what was trained. `result.json` comes last and marks the run as finished.

    Args:
        run: The open run.
        retrain: The retraining after its fit.
        space: The space of the architecture. None: no cells are drawn, and only the parameters of the network as it
            was trained are counted.
        architecture: The architecture that was trained, or None.
        image_shape: (channels, height, width).
        limit: That of the search which found the architecture, as `limit_result` gives it; None: there is none.

    Returns:
        What `result.json` holds.
    """
    write_weights(run.path / NETWORK, retrain.network)
    quantity = retrain.metric.quantity
    plots.save(partial(plots.curves, retrain.rows, metric=quantity), run.path / "curves")
    tested = {
        f"test_{quantity.name}": retrain.tested[quantity.name],
        "metric": quantity._asdict(),
        "classes": list(retrain.classes),
        **stopped(retrain),
    }
    if space is None or architecture is None:
        return run.finish({**tested, "parameters": count_parameters(retrain.network, image_shape)})
    plots.save(partial(plots.cells, space.graphs(architecture)), run.path / "cells")
    decisions = by_name(architecture, space.choices)
    of_classes = retrain.task.name == "classification"  # a table's accuracies mean nothing for other tasks
    lookup = lookup_for(space.fingerprint, retrain.classes, image_shape) if of_classes else None
    found = {**looked_up(lookup, architecture), **network_cost(space, architecture, image_shape)}
    limits = {"limit": dict(limit)} if limit else {}
    return run.finish({"architecture": decisions, **tested, **found, **limits})


def stopped(module: Search | Retrain) -> dict[str, Any]:
    """Return how far a fit went that ended early, by a stopping rule or by something else such as EarlyStopping.

    Args:
        module: The search or the retraining after its fit.

    Returns:
        `stopped`, with the `epochs` that ended and the `updates`, and the `reason` and the `kept_epoch` of a stopping
        rule; empty if nothing ended the fit early.
    """
    far = {"epochs": module.ended, "updates": module.done}
    if isinstance(module, Search) and module.stopped:
        return {"stopped": {**far, **module.stopped._asdict()}}
    return {"stopped": far} if module.done < module.total else {}


def controls(search: Search) -> dict[str, Any]:
    """Return what the found architecture of a search is compared with.

    Args:
        search: A search whose fit has ended.

    Returns:
        `controls`, as `Controls.to_result` has them, and `control_seconds`, what they took; empty if there are none.
    """
    if search.found_among is None:
        return {}
    found = search.found_among.to_result(search.metric.quantity.maximize)
    return {"controls": found, "control_seconds": search.control_seconds}


def stages(search: Search) -> dict[str, Any]:
    """Return the stages of a search, and the candidates that were left in its last one.

    Args:
        search: A search whose fit has ended.

    Returns:
        `stages`, with the number of the last one that it reached, the epoch after which each ends, and the candidates
        that are left by the name of the choice; empty if it has one stage alone.
    """
    if not search.stages.given:
        return {}
    rows = zip(search.space.choices, search.architect.mask.tolist(), strict=True)
    kept = {
        choice.name: [name for name, there in zip(choice.candidates, row, strict=False) if there]
        for choice, row in rows
    }
    ends = search.stages.borders(search.epochs)
    return {"stages": {"number": search.stages.number + 1, "ends": ends, "kept": kept}}


def score_rows(search: Search) -> list[dict[str, object]]:
    """Return the architect's probabilities over the epochs of a search, as rows of a table.

    Args:
        search: The search; its fit may be under way.

    Returns:
        A row for each epoch, choice and candidate, with the keys `epoch`, `choice`, `candidate` and `probability`.
        Epoch 0 is the start, epoch n the end of the nth.
    """
    return [
        {"epoch": epoch, "choice": choice.name, "candidate": name, "probability": probability}
        for epoch, scores in enumerate(search.scores)
        for choice, row in zip(search.space.choices, scores, strict=True)
        for name, probability in zip(choice.candidates, row, strict=False)
    ]


def looked_up(lookup: Lookup | None, architecture: Architecture) -> dict[str, Any]:
    """Return what the published table of its space says of an architecture.

    Args:
        lookup: Looks it up. None: the package has no table for it.
        architecture: The architecture.

    Returns:
        `table`, which table it is, with accuracies (shares) and ranks by name; empty where the package has no table.
    """
    return {TABLE: lookup.title, **lookup(architecture)} if lookup else {}


def techniques(search: Search) -> dict[str, Any]:
    """Return the names of the techniques of a search, in the order in which they are applied.

    Args:
        search: The search.

    Returns:
        `techniques`; empty if there are none.
    """
    names = [named(part).partition(".")[2] for part in taken_apart(search.architect)[1]]
    if getattr(search.space, "partial_channels", 1) > 1:
        names = ["partial_channels", *names]
    return {"techniques": names} if names else {}


def candidates_cost(search: Search) -> dict[str, Any]:
    """Return the cost of the candidates that a search's architect paid for, in the cost's own unit.

    Args:
        search: A search whose fit has ended.

    Returns:
        `expected_cost` under the scores, and `discretized_cost` of what was found; with a limit `limit`, as
        `limit_result` gives it; empty if the architect has no expected cost.
    """
    cost = search.architect.cost
    if not isinstance(cost, ExpectedCost):
        return {}
    expected = cost.expected(search.architect.scores()).item()
    found = cost.of(search.space.used(search.found).decisions)
    if cost.limit is None:
        return {"expected_cost": expected, "discretized_cost": found}
    return {"limit": limit_result(cost.limit, search.found, found, search.pressed)}


def limit_result(limit: Limit, found: Architecture, predicted: float, pressed: bool = False) -> dict[str, Any]:
    """Return what `result.json` says of a limit: the prediction, and the whole network as counted or measured here.

    Args:
        limit: The limit.
        found: The architecture that was found.
        predicted: The cost of its network, as the search predicts it.
        pressed: Whether the scores alone gave an architecture over the limit.
    """
    whole = limit.whole(found)
    return {
        **{"text": limit.text, "quantity": limit.quantity, "value": limit.value, "predicted": predicted},
        **({"whole": None, "holds": None} if whole is None else measured(whole, limit.value)),
        **{"pressed": pressed, **limit.about},
    }


def restore(module: Search | Retrain, run: Run, result: Mapping[str, Any], epochs: int) -> None:
    """Give a module what its finished run has left.

    Args:
        module: The new search or retraining.
        run: The open run.
        result: What its `result.json` holds.
        epochs: Epochs of the run.

    Raises:
        InputError: If a file is missing or does not fit.
    """
    name = module.metric.name
    try:
        end = result.get("stopped", {"epochs": epochs, "updates": module.updates_of(epochs)})
        ended, updates = (count_of(end, key) for key in ("epochs", "updates"))
        if isinstance(module, Search):
            if "reason" in end:
                module.ending.decided = Stop(one_line(end["reason"]), count_of(end, "kept_epoch"))
            module.found = module.space.load(run.path / ARCHITECTURE)
            if module.stages.given:
                module.take_up(*_stage_of(result, module.space))
            module.scores = parse_json(read_text(run.path / SCORES))
            module.valid = {name: number_of(result, f"valid_{name}")}
            module.found_valid = {name: number_of(result, f"found_valid_{name}")}
            module.found_among = controls_of(result)
            module.supernet.load_state_dict(read_weights(run.path / SUPERNET))
            module.architect.load_state_dict(read_weights(run.path / ARCHITECT))
        else:
            module.tested = {name: number_of(result, f"test_{name}")}
            module.network.load_state_dict(read_weights(run.path / NETWORK))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{run.path}: is finished, but cannot be read ({one_line(error, 200)})") from None
    module.rows = read_rows(run.path / METRICS)
    if isinstance(module, Search):  # the last loss is in the rows alone
        losses = [row["valid_loss"] for row in module.rows if is_number(row.get("valid_loss"))]
        module.valid |= {"loss": losses[-1]} if losses else {}
    module.done, module.ended = updates, ended


def _stage_of(result: Mapping[str, Any], space: SearchSpace) -> tuple[int, Tensor]:
    """The stage in which a search ended, and its candidates. Raises ValueError if the result does not have them."""
    kept = result["stages"]["kept"]
    rows = [[name in kept[choice.name] for name in choice.candidates] for choice in space.choices]
    width = space.shape[1]
    return count_of(result["stages"], "number") - 1, torch.tensor([row + [False] * (width - len(row)) for row in rows])


def count_of(numbers: Any, name: str) -> int:
    """Return a count that a result holds.

    Args:
        numbers: Numbers by name, as they were read.
        name: Of the count.

    Raises:
        ValueError: If it is missing or is none.
    """
    value = numbers.get(name) if isinstance(numbers, dict) else None
    if type(value) is not int or value < 0:
        raise ValueError(f"{name} is {value!r:.40}")
    return value


def number_of(result: Mapping[str, Any], name: str) -> float:
    """Return a number of a result.

    Args:
        result: What result.json holds.
        name: Of the number.

    Raises:
        ValueError: If it is missing or no number.
    """
    if not is_number(result.get(name)):
        raise ValueError(f"{name} is {result.get(name)!r:.40}")
    return result[name]
