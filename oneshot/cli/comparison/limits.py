"""A limit in a comparison: all methods keep it, and so do the random and the largest architecture."""

import random
from pathlib import Path

from omegaconf import DictConfig

from ...architecture import Architecture
from ...controls import LARGEST, RANDOM
from ...cost import ExpectedCost, largest_within, sample_within
from ...data import ImageData
from ...errors import InputError
from ...runs.files import make_folder, write_text
from ...spaces import SearchSpace
from .. import job as running
from ..limits import cost_for, limited, take_final

CONTROLS = "controls"  # folder of the architectures that no search has found
LISTS = ("search_settings", "supernet_settings", "strategy_settings", "retrain_settings")


def limit_for(config: DictConfig, space: SearchSpace, data: ImageData) -> ExpectedCost | None:
    """Return the cost of a comparison if it has a limit, else None.

    Args:
        config: The settings of the comparison.
        space: The search space.
        data: The images.

    Raises:
        InputError: If a limit is given for some of the methods alone, or without the cost that it is of.
    """
    for name in LISTS:
        if any(running.names(str(word)).startswith(("cost.limit", "final")) for word in config[name]):
            raise InputError(f"{name}: cost.limit and final are for all methods; give them apart, as cost.limit=100k")
    if config.cost is None or config.cost.get("limit") is None:
        return None
    if "cost" not in running.given():
        raise InputError("cost.limit: needs the cost that it is of, as cost=parameters")
    take_final(config)
    return limited(cost_for(config, space, data))


def control(space: SearchSpace, name: str, seed: int, cost: ExpectedCost | None) -> Architecture:
    """Return an architecture that no search has found.

    Args:
        space: The search space.
        name: `random` or `largest`.
        seed: Seed of a random one.
        cost: A cost with a limit, which it holds; None: there is no limit.
    """
    assert name in (RANDOM, LARGEST)
    if name == LARGEST:
        return space.largest() if cost is None else largest_within(space, cost)
    rng = random.Random(seed)
    return space.sample(rng) if cost is None else sample_within(space, cost, rng)


def write_control(path: Path, space: SearchSpace, name: str, seed: int, cost: ExpectedCost) -> Path:
    """Write the file of an architecture that no search has found.

    Args:
        path: Folder of the comparison.
        space: The search space.
        name: `random` or `largest`.
        seed: Seed of a random one.
        cost: A cost with a limit, which it holds.

    Returns:
        The file.
    """
    folder = make_folder(path / CONTROLS, path)
    file = folder / (f"{name}.json" if name == LARGEST else f"{name}-{seed}.json")
    return write_text(file, space.to_json(control(space, name, seed, cost)), path)
