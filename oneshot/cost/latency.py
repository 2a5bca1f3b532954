"""Measured latencies of the candidates of a space: the table, its file, and the expected latency."""

import copy
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import fsum
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn

from ..architecture import MAX_BYTES, Architecture, read_document
from ..errors import InputError, check_integer, unknown
from ..runs.files import read_given
from ..spaces.base import SearchSpace
from .counting import ImageShape
from .expected import ExpectedCost, examples, limited, sizes_of
from .limits import Limit, Whole, parse_limit
from .timing import DTYPES, LARGEST, check_timing, device_name, device_named, times

FORMAT = "oneshot/latency"
VERSION = 2
BESIDE = 3  # whole networks of a table that are timed beside a found one
FEWEST = 3  # whole networks, to which a limit fits two numbers
CALLS = 10  # timed together on an accelerator, so that they share one wait

Place = tuple[str, ImageShape, tuple[int, ...]]  # candidate, shape of its input, shape of its output


def latency(
    space: SearchSpace,
    table: str,
    weight: float = 0.1,
    form: str = "additive",
    reference: float | None = None,
    limit: float | str | None = None,
) -> ExpectedCost:
    """The expected latency of the candidates, in ms for a batch.

    With a limit, the latency of a whole network is predicted as `fixed + scale * (sum over its candidates)`. Both
    numbers are fitted to the whole networks of the table, as candidates that are timed alone find other caches.

    Args:
        space: The search space, of the sizes of the final network.
        table: Path of a file that `oneshot latency` has written for this space and these sizes.
        weight: Weight of the cost, as in `ExpectedCost`.
        form: "additive" or "multiplicative".
        reference: Latency in ms that counts as 1. None is 1, for the additive form only.
        limit: The most that the final network may take for a batch, in ms or as "10ms". None: no limit.

    Returns:
        The cost for an architect or for `Priced`.

    Raises:
        InputError: If the file is not a complete table of this space and these sizes, if no network holds the limit,
            and as `ExpectedCost` does.
    """
    if not isinstance(table, str) or not table:
        raise InputError(f"cost.table={table!r}: must be the path of a file that `oneshot latency` wrote")
    read = LatencyTable.read(Path(table), space)
    if limit is None:
        return ExpectedCost(read.medians(space), weight, form, reference)
    value = parse_limit(limit, "latency")
    fixed, scale, error = read.fit(table)
    measured = {"device": read.device, "dtype": read.dtype, "batch": read.batch, "error_of_table": error}
    measured["networks"] = read.networks
    about = {**sizes_of(space), **measured}
    whole = partial(_measured, space, read)
    most = Limit(value, "latency", str(limit), fixed, whole, about)
    return limited(space, scale * read.medians(space), weight, form, most)


def _measured(space: SearchSpace, table: "LatencyTable", architecture: Architecture) -> Whole | None:
    """The latency of a whole network in ms; None on another device than the table's."""
    device = device_named(table.device)
    if device is None:
        return None
    shape: Any = tuple(table.image_shape)
    return time_beside(space.network(architecture), space, table.networks, shape, device, table.dtype, table.batch)


def time_beside(
    network: nn.Module,
    space: SearchSpace,
    networks: Sequence[Mapping[str, Any]],
    image_shape: ImageShape,
    device: torch.device,
    dtype: str,
    batch: int,
    repeats: int = 50,
) -> Whole:
    """Time a network in turns with some whole networks of a table, which show whether the device is as fast as then.

    Args:
        network: The network.
        space: The space of the table.
        networks: The table's whole networks, with `notation` and `median_ms`.
        image_shape: (channels, height, width) of an image.
        device: Where to compute.
        dtype: Number format of weights and images.
        batch: Number of images in a call.
        repeats: Number of timed repeats.

    Returns:
        Milliseconds of a call of the network, and the median factor by which the table's networks are slower now.
    """
    ordered = sorted(networks, key=lambda row: row["median_ms"])
    chosen = [ordered[len(ordered) * k // BESIDE] for k in range(BESIDE)] if len(ordered) >= BESIDE else ordered
    others = [space.network(space.from_notation(row["notation"])) for row in chosen]
    like: Any = {"device": device, "dtype": getattr(torch, dtype), "memory_format": torch.channels_last}
    x = torch.randn(batch, *image_shape).to(**like)
    calls = {n: partial(copy.deepcopy(m).eval().to(**like), x) for n, m in enumerate([network, *others])}
    own, *theirs = (median(values) for values in times(calls, device, repeats, 5).values())
    drifts = [now / row["median_ms"] for now, row in zip(theirs, chosen, strict=True)]
    return Whole(own, median(drifts) if drifts else 1.0)


@dataclass(frozen=True)
class LatencyTable:
    """Measured latencies and what they were measured on. `latency` reads its JSON file.

    Args:
        space: Fingerprint of the space.
        device: Kind of device and name of the hardware.
        dtype: Data type of weights and images.
        batch: Number of images in a forward pass.
        image_shape: (channels, height, width) of an image.
        settings: Sizes of the networks. These two must be those of the space that reads the table.
        versions: Version by package.
        networks: Whole networks: `notation`, `median_ms` and `candidates_ms`, the sum over its candidates.
        rows: By choice and candidate: `median_ms` and `spread_ms` for a batch, summed over all places of the candidate.
    """

    space: str
    device: str
    dtype: str
    batch: int
    image_shape: Sequence[int]
    settings: dict[str, Any]
    versions: dict[str, str]
    networks: list[dict[str, Any]]
    rows: dict[str, dict[str, dict[str, float]]]

    def to_json(self) -> str:
        """Return the content of the file that `read` reads."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2) + "\n"

    def medians(self, space: SearchSpace) -> Tensor:
        """Return the median latencies as a table for `ExpectedCost`.

        Args:
            space: The search space of this table.

        Returns:
            Tensor (choices, candidates) of float64, in ms.
        """
        table = torch.zeros(space.shape, dtype=torch.float64)
        for i, choice in enumerate(space.choices):
            for k, name in enumerate(choice.candidates):
                table[i, k] = self.rows[choice.name][name]["median_ms"]
        return table

    def fit(self, where: str) -> tuple[float, float, float]:
        """Fit the latencies of whole networks to the sums over their candidates, by least squares of relative errors.

        Args:
            where: Name of the table, for the message.

        Returns:
            Milliseconds that no choice changes, the factor of the sum over the candidates, and the largest relative
            error of the table's networks.

        Raises:
            InputError: If the table has fewer than 3 networks, or their latency does not grow with the sum.
        """
        if len(self.networks) < FEWEST:
            raise InputError(
                f"cost.table={where}: has {len(self.networks)} whole networks; a limit needs {FEWEST}, as "
                "`oneshot latency networks=6` measures them"
            )
        sums, wholes = ([float(row[key]) for row in self.networks] for key in ("candidates_ms", "median_ms"))
        ratios = [x / y for x, y in zip(sums, wholes, strict=True)]
        scale = fixed = 0.0
        if len({*sums}) > 1:
            parts = torch.tensor([[1 / y, x] for x, y in zip(ratios, wholes, strict=True)], dtype=torch.float64)
            fixed, scale = torch.linalg.lstsq(parts, torch.ones_like(parts[:, :1])).solution[:, 0].tolist()
        if fixed < 0:
            fixed, scale = 0.0, fsum(ratios) / fsum(x * x for x in ratios)
        if scale <= 0:
            raise InputError(
                f"cost.table={where}: its whole networks are not slower with slower candidates, so it predicts "
                "nothing; measure again on a quiet machine, with more repeats"
            )
        predicted = [fixed + scale * x for x in sums]
        return fixed, scale, max(abs(p / y - 1) for p, y in zip(predicted, wholes, strict=True))

    @classmethod
    def read(cls, path: Path, space: SearchSpace) -> "LatencyTable":
        """Read the file of a table.

        Args:
            path: The file.
            space: The search space that it must belong to.

        Returns:
            The table.

        Raises:
            InputError: If the file is not a complete table of this space. The message names the field.
        """
        where = str(path)
        content = read_document(read_given(path, MAX_BYTES), where, FORMAT, VERSION)
        if content.get("space") != space.fingerprint:
            raise InputError(
                f"{where}: field 'space' is {content.get('space')!r:.60}, but the configured space is "
                f"{space.fingerprint!r}; `oneshot latency` measures a table for it"
            )
        kinds = {
            **{"device": str, "dtype": str, "batch": int, "image_shape": list, "settings": dict, "versions": dict},
            "networks": list,
        }
        for field, kind in kinds.items():
            if field not in content:
                raise InputError(f"{where}: field {field!r} is missing")
            if not isinstance(content[field], kind):
                raise InputError(f"{where}: field {field!r} must be of type {kind.__name__}")
        check_integer(f"{where}: field 'batch'", content["batch"], 1)
        if not all(isinstance(version, str) for version in content["versions"].values()):
            raise InputError(f"{where}: field 'versions' must map each package to its version")
        _check_sizes(content, space, where)
        rows = _checked_rows(content.get("rows"), space, where)
        if not any(candidate["median_ms"] > 0 for row in rows.values() for candidate in row.values()):
            raise InputError(f"{where}: field 'rows': median_ms is 0 everywhere, so nothing was measured")
        for network in content["networks"]:
            values = [network.get(key) if isinstance(network, dict) else None for key in ("median_ms", "candidates_ms")]
            if not all(map(_is_time, values)) or not values[0]:
                raise InputError(
                    f"{where}: field 'networks': median_ms={values[0]!r:.40}, candidates_ms={values[1]!r:.40}: must be "
                    "numbers, above 0 and at least 0"
                )
            try:
                space.from_notation(network["notation"])
            except (InputError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{where}: field 'networks': no architecture of this space: {error!s:.80}") from None
        if content["dtype"] not in DTYPES:
            raise InputError(f"{where}: field 'dtype': {unknown('number format', content['dtype'][:40], DTYPES)}")
        return cls(content["space"], **{field: content[field] for field in kinds}, rows=rows)


def _check_sizes(content: Mapping[str, Any], space: SearchSpace, where: str) -> None:
    """Check that a table was measured with networks of these sizes."""
    shape = getattr(space, "image_shape", None)
    own = {**as_written(space.settings), "image_shape": list(shape) if shape else content["image_shape"]}
    theirs = {**content["settings"], "image_shape": content["image_shape"]}
    for name in dict.fromkeys([*own, *theirs]):
        if own.get(name) != theirs.get(name):
            raise InputError(
                f"{where}: was measured with {name}={theirs.get(name)!s:.60}, but the final network has "
                f"{name}={own.get(name)!s:.60}; `oneshot latency` with the settings of the final network measures a "
                "table for it"
            )


def as_written(value: Any) -> Any:
    """Return settings as a file holds them: lists in place of tuples.

    Args:
        value: Settings of a space.
    """
    if isinstance(value, Mapping):
        return {str(key): as_written(item) for key, item in value.items()}
    return [as_written(item) for item in value] if isinstance(value, list | tuple) else value


def _checked_rows(rows: Any, space: SearchSpace, where: str) -> dict[str, dict[str, dict[str, float]]]:
    """The rows of a file, if they have exactly the choices and the candidates of the space."""
    where = f"{where}: field 'rows'"
    if not isinstance(rows, dict):
        raise InputError(f"{where} must map each choice to its candidates")
    names = [choice.name for choice in space.choices]
    for name in rows:
        if name not in names:
            raise InputError(f"{where}: {unknown('choice', name[:60], names)}")
    for choice in space.choices:
        if choice.name not in rows:
            raise InputError(f"{where} lacks the choice {choice.name!r}")
        row = rows[choice.name]
        if not isinstance(row, dict):
            raise InputError(f"{where}, {choice.name!r}: must map each candidate to its latency")
        for name in row:
            if name not in choice.candidates:
                raise InputError(f"{where}, {choice.name!r}: {unknown('candidate', name[:60], choice.candidates)}")
        for name in choice.candidates:
            if not isinstance(row.get(name), dict):
                raise InputError(f"{where}, {choice.name!r} lacks the candidate {name!r}")
            for key in ("median_ms", "spread_ms"):
                if not _is_time(row[name].get(key)):
                    value = repr(row[name].get(key))[:40]
                    raise InputError(f"{where}, {choice.name!r}, {name!r}: {key}={value} must be a number, at least 0")
    return rows


def _is_time(value: Any) -> bool:
    """Whether this is a finite number from 0 to about a year in ms."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 3e10


def measure_latency(
    space: SearchSpace,
    image_shape: ImageShape,
    device: torch.device,
    dtype: str = "float32",
    batch: int = 64,
    repeats: int = 20,
    warmup: int = 3,
    networks: int = 6,
) -> LatencyTable:
    """Measure the latency of every candidate on a device.

    What is timed is the forward pass of a batch in evaluation mode, channels-last. A candidate is measured once for
    each input shape and stride. Its latency is the median over the repeats, and its spread is the difference of their
    quartiles. Both are summed over the places that share the measurement. Whole networks are timed in the same rounds:
    that of the smallest latency by the candidates, that of the largest one, and random ones.

    Args:
        space: The search space, of the sizes of the final network.
        image_shape: (channels, height, width) of an image, for the table's file.
        device: Where to compute.
        dtype: "float32", "float64", "bfloat16" or "float16".
        batch: Number of images in a forward pass.
        repeats: Number of timed repeats, at least 2.
        warmup: Number of repeats before these that are not timed.
        networks: Number of whole networks; 0, or at least 3. A limit needs them.

    Returns:
        The table.

    Raises:
        InputError: If the dtype is unknown or a number is out of range.
    """
    check_timing(dtype, repeats, warmup)
    check_integer("batch", batch, 1, LARGEST)
    check_integer("networks", networks, 0, 1000)
    if 0 < networks < FEWEST:
        raise InputError(f"networks={networks}: must be 0, or at least {FEWEST}")
    places: dict[tuple[int, int], list[Place]] = {}
    modules: dict[Place, nn.Module] = {}
    with device, torch.no_grad():
        for i, k, module, shape in space.operations():
            output = module.eval()(torch.zeros(1, *shape)).shape[1:]  # shows the stride
            place = (space.choices[i].candidates[k], shape, tuple(output))
            modules.setdefault(place, module)
            places.setdefault((i, k), []).append(place)
    chosen = examples(space, networks, space.sizes()) if networks else []
    wholes: dict[Place, nn.Module] = {(str(a.decisions), image_shape, ()): space.network(a).eval() for a in chosen}
    found = _times({**modules, **wholes}, device, getattr(torch, dtype), batch, repeats, warmup)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for i, choice in enumerate(space.choices):
        rows[choice.name] = {}
        for k, name in enumerate(choice.candidates):
            values = [found[place] for place in places.get((i, k), [])]
            medians, spreads = (round(fsum(map(f, values)), 6) for f in (median, _spread))
            rows[choice.name][name] = {"median_ms": medians, "spread_ms": spreads}
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    measured = device_name(device), dtype, batch, tuple(image_shape), space.settings, versions
    table = LatencyTable(space.fingerprint, *measured, [], rows)
    alone = table.medians(space)
    for architecture, place in zip(chosen, wholes, strict=True):
        of_candidates = fsum(float(alone[i, k]) for i, k in enumerate(architecture.decisions))
        whole = {"median_ms": round(median(found[place]), 6), "candidates_ms": round(of_candidates, 6)}
        table.networks.append({"notation": space.notation(architecture), **whole})
    return table


def _times(
    modules: Mapping[Place, nn.Module], device: torch.device, dtype: torch.dtype, batch: int, repeats: int, warmup: int
) -> dict[Place, list[float]]:
    """Milliseconds of a forward pass: `repeats` numbers for each module."""
    like: Any = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
    inputs = {shape: torch.randn(batch, *shape).to(**like) for _, shape, _ in modules}
    calls = {place: partial(module.to(**like), inputs[place[1]]) for place, module in modules.items()}
    return times(calls, device, repeats, warmup, 1 if device.type == "cpu" else CALLS)


def _spread(values: Sequence[float]) -> float:
    low, _, high = quantiles(values, n=4)
    return high - low
