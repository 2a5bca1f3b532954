"""Limits on the command line: the cost that a search pays, the sizes of the final network, and whether it holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from ..controls import RANDOM
from ..cost import ExpectedCost, Whole, time_beside
from ..cost.latency import as_written
from ..cost.limits import UNITS, said
from ..cost.timing import DTYPES, device_name
from ..data import ImageData
from ..errors import InputError, is_number, one_line, unknown
from ..runs.files import is_file
from ..runs.folder import RESULT, read_result
from ..spaces import SearchSpace
from ..spaces.base import ImageShape
from ..training.outcome import ARCHITECTURE, measured
from . import job
from .composition import inside
from .objects import make, space_for
from .screen import PASSED_ON, SEARCH_ONLY

LIMIT = "limit"  # in the cost's settings, and in the result of a run
FINAL = "final"
DRIFT = 0.1  # a larger one is said
POOR = 0.2  # a larger error of a table is said


def _of_final(config: DictConfig) -> bool:
    """Whether the cost is of the final network: it has a limit or a table of latencies."""
    return isinstance(config.cost, DictConfig) and (config.cost.get(LIMIT) is not None or "table" in config.cost)


def take_final(config: DictConfig) -> None:
    """Set `final` to the sizes that `oneshot retrain` has with these settings, where a cost needs them.

    Args:
        config: The settings of a command that searches.

    Raises:
        InputError: If `final` is given, but is no mapping.
    """
    given = config.get(FINAL)
    if given is not None and not isinstance(given, DictConfig):
        raise InputError(f"final={given!s:.80}: must be a mapping of settings of space, as '{{cells: 20}}'")
    if given is not None or not _of_final(config):
        return
    names = {word: job.names(word) for word in job.overrides()}
    passed = [word for word, name in names.items() if name.split(".")[0] in PASSED_ON["retrain"]]
    trained = inside("retrain", [word for word in passed if names[word] not in SEARCH_ONLY]).space
    with open_dict(config):
        config.final = {key: trained[key] for key in trained if trained[key] != config.space.get(key)}


def cost_for(config: DictConfig, space: SearchSpace, data: ImageData) -> Any:
    """Return the configured cost, or None.

    Args:
        config: The settings of the command.
        space: The search space.
        data: The images.

    Raises:
        InputError: If a setting is out of range, or no network holds the limit.
    """
    if not config.cost:
        return None
    if not _of_final(config):
        return make(config.cost, space=space)
    sizes: Any = OmegaConf.to_container(config.get(FINAL) or OmegaConf.create({}), resolve=True)
    for name in sizes:
        if name not in config.space or name == "_target_":
            raise unknown("name in final", str(name), [str(key) for key in config.space if key != "_target_"])
    final = space_for(config, data, sizes) if sizes else space
    if final.fingerprint != space.fingerprint:
        raise InputError(f"final={sizes!s:.80}: is another space; only sizes may differ")
    cost = make(config.cost, space=final)
    if sizes and isinstance(cost, ExpectedCost) and cost.limit:
        cost.limit.about[FINAL] = sizes
    return cost


def limited(cost: Any) -> ExpectedCost | None:
    """Return a cost if it has a limit, else None.

    Args:
        cost: A cost, or None.
    """
    return cost if isinstance(cost, ExpectedCost) and cost.limit else None


def sizes_given(config: DictConfig) -> list[str]:
    """Return the sizes of `final` that the command line gave, as settings of the next command.

    Args:
        config: The settings of the command.
    """
    given = any(name.partition(".")[0] == FINAL for name in job.given())
    return [f"space.{key}={value}" for key, value in config.final.items()] if given and config.get(FINAL) else []


def limit_of(result: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Read the limit that the result of a run holds.

    Args:
        result: What its result.json holds, perhaps a stranger's, or None.

    Returns:
        The limit with what is known of it; None where there is none, or what it holds cannot be a limit.
    """
    found = (result or {}).get(LIMIT)
    if not isinstance(found, dict) or found.get("quantity") not in UNITS or not is_number(found.get("value")):
        return None
    texts = [key for key in ("device", "dtype") if not isinstance(found.get(key), str)]
    if found["quantity"] == "latency" and (texts or type(found.get("batch")) is not int or found["batch"] < 1):
        return None
    return found if found["value"] > 0 else None


def limit_of_search(architecture: Any) -> dict[str, Any] | None:
    """Return the limit of the search that `architecture=` names: its folder, or a file in it.

    Args:
        architecture: The setting of a retraining.
    """
    path = Path(str(architecture))
    if is_file(path / RESULT):
        return limit_of(read_result(path))
    limit = limit_of(read_result(path.parent)) if is_file(path.parent / RESULT) else None
    if limit is None or path.name == ARCHITECTURE:
        return limit
    return {**limit, "predicted": None, "pressed": False}  # those are of the one that was found


def control_within(architecture: Any) -> str | None:
    """Return the file of a random architecture that holds the limit of a search; None if it has none, or it is that.

    Args:
        architecture: The setting of a retraining, the folder of the search.
    """
    file = Path(str(architecture)) / f"{RANDOM}.json"
    return str(file) if is_file(file) else None


def counted(limit: Mapping[str, Any], cost: Mapping[str, int], space: SearchSpace) -> dict[str, Any]:
    """Return a limit with what the network that is trained has, where that is counted.

    Args:
        limit: Of the search.
        cost: Parameters and multiply-accumulates of the network.
        space: The space of the network, of its sizes.
    """
    new = {**limit, FINAL: None, "whole": None, "holds": None}
    if not _of_sizes(limit, space):
        new["predicted"] = None
    if limit["quantity"] == "latency":  # which evaluate measures
        return new
    return new | measured(Whole(cost[limit["quantity"]]), limit["value"])


def checked(
    limit: Mapping[str, Any],
    cost: Mapping[str, int],
    network: nn.Module,
    space: SearchSpace,
    image_shape: ImageShape,
    device: torch.device,
) -> dict[str, Any]:
    """Return a limit with what is counted or measured of the trained network.

    Args:
        limit: Of the run.
        cost: Parameters and multiply-accumulates.
        network: The network.
        space: Its space.
        image_shape: (channels, height, width) of an image.
        device: Where it may be timed. On another one than the limit's it is not.
    """
    new = counted(limit, cost, space)
    if limit["quantity"] != "latency" or device_name(device) != limit["device"] or limit["dtype"] not in DTYPES:
        return new
    of_table = limit.get("networks") if _of_sizes(limit, space) else None
    networks = [row for row in of_table if _is_network(row, space)] if isinstance(of_table, list) else []
    whole = time_beside(network, space, networks, image_shape, device, limit["dtype"], limit["batch"])
    return new | measured(whole, limit["value"])


def _of_sizes(limit: Mapping[str, Any], space: SearchSpace) -> bool:
    """Whether a limit was for networks of the sizes of this space."""
    own = {"sizes": as_written(space.settings), "image_shape": list(getattr(space, "image_shape", ()))}
    return all(limit.get(name) == value for name, value in own.items())


def _is_network(row: Any, space: SearchSpace) -> bool:
    """Whether a row, perhaps a stranger's, is a timed network of this space."""
    if not isinstance(row, dict) or not isinstance(row.get("notation"), str) or not is_number(row.get("median_ms")):
        return False
    try:
        space.from_notation(row["notation"])
    except InputError:
        return False
    return row["median_ms"] > 0


def limit_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what a result says of its limit, in lines.

    Args:
        result: What result.json holds.
    """
    limit = limit_of(result)
    if limit is None:
        return []
    quantity = limit["quantity"]
    head = f"limit of {said(limit['value'], quantity)}"
    if quantity == "latency":
        head += f" for a batch of {limit['batch']} ({one_line(limit['device'])}, {one_line(limit['dtype'])})"
    sizes: Any = limit.get(FINAL) if isinstance(limit.get(FINAL), dict) else {}
    network = " ".join(["the network", *(["with"] if sizes else []), *(one_line(f"{k}={v}") for k, v in sizes.items())])
    whole: Any = limit.get("whole")
    predicted: Any = limit.get("predicted")
    drift: Any = limit.get("drift")
    lines = []
    if is_number(whole):
        verdict = "holds" if whole <= limit["value"] else "does not hold"
        off = f"; predicted {said(predicted, quantity)}" if is_number(predicted) and quantity == "latency" else ""
        lines.append(f"{head}: {verdict}: {network} has {said(whole, quantity)}{off}")
        if is_number(drift) and abs(drift - 1) > DRIFT:
            lines.append(
                f"warning: other networks of the table take {drift:.2f} times what they took when it was measured, so "
                f"this machine is {'slower' if drift > 1 else 'faster'} now; measure both where nothing else runs"
            )
    elif is_number(predicted):
        lines.append(f"{head}: {network} has {said(predicted, quantity)}, as predicted; it was not measured here")
    else:
        lines.append(f"{head}: `oneshot evaluate` measures whether the network holds it")
    error: Any = limit.get("error_of_table")
    if is_number(error) and error > POOR:
        lines.append(
            f"warning: the table predicts its own networks with errors of up to {100 * error:.0f} %; measure again"
        )
    if limit.get("all_hold") is True:
        lines.append("every network of this space holds this limit, so it changes nothing")
    if limit.get("pressed") is True:
        lines.append("what the search preferred was over the limit; this is what it prefers within it")
    return lines
