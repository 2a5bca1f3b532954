"""What networks and candidates cost: parameters, multiply-accumulates and measured latency; the expected cost."""

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from oneshot.architecture import Architecture, read_text
from oneshot.errors import InputError, check_integer, check_range, unknown
from oneshot.spaces.base import SearchSpace
from oneshot.timing import LARGEST, check_timing, device_name, times

FORMAT = "oneshot/latency"
VERSION = 1
FORMS = ("additive", "multiplicative")
CALLS = 10  # timed together on an accelerator, so that one wait for it is shared
SMALLEST = 1e-6  # of the reference: the least that a multiplicative cost multiplies with

ImageShape = tuple[int, int, int]
Measure = Callable[[nn.Module, ImageShape], float]
Place = tuple[str, ImageShape, tuple[int, ...]]  # candidate, shape of its input, shape of its output


def network_cost(space: SearchSpace, architecture: Architecture, image_shape: tuple[int, ...]) -> dict[str, int]:
    """`parameters` and `multiply_accumulates` (of one image) of the network as it is used after training.

    Counted on the meta device in evaluation mode, so an auxiliary head does not enter. A multiply-accumulate is
    one multiplication with its addition, as papers count; batch norm, pools and activations are not counted.
    """
    with torch.device("meta"):
        network = space.network(architecture).eval()
        x = torch.empty(1, *image_shape)
    used: dict[int, int] = {}

    def note(module: nn.Module, *_: Any) -> None:
        used.update({id(p): p.numel() for p in module.parameters(recurse=False)})

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    for hook in hooks:
        hook.remove()
    return {"parameters": sum(used.values()), "multiply_accumulates": counter.get_total_flops() // 2}


def count_parameters(module: nn.Module, shape: ImageShape) -> int:
    """Numbers that training moves."""
    return sum(p.numel() for p in module.parameters())


def count_multiply_accumulates(module: nn.Module, shape: ImageShape) -> int:
    """Of one image of this shape, counted as in `network_cost`. module: on the meta device."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def candidate_costs(space: SearchSpace, measure: Measure) -> Tensor:
    """(choices, candidates) of float64: what each candidate costs in all of its places together; zero for none.

    measure: (module on the meta device, its input's image shape) -> cost. Stem, classifier and the convolutions
    of a cell's inputs are no candidates and do not enter.
    """
    table = torch.zeros(space.shape, dtype=torch.float64)
    with torch.device("meta"):
        for choice, candidate, module, shape in space.operations():
            table[choice, candidate] += measure(module, shape)
    return table


class ExpectedCost:
    """The cost that an architect adds to its loss: E[c] = sum p * c over all choices and candidates.

    additive (ProxylessNAS, equation 7, without log): loss + weight * E[c] / reference, reference 1 if None.
    multiplicative (MnasNet's reward as a loss): loss * (E[c] / reference)^weight; a ratio below 1e-6 counts as
    that, since a network of no cost would end the search.
    table: (choices, candidates), non-negative, in any unit, the reference's too. weight: at least 0.
    Raises InputError for another form, a multiplicative one without reference and anything out of range.
    Sources: arXiv:1812.00332, arXiv:1807.11626.
    """

    def __init__(self, table: Tensor, weight: float, form: str = "additive", reference: float | None = None) -> None:
        check_range("cost.weight", weight, 0.0)
        if form not in FORMS:
            raise unknown("cost.form", form, FORMS)
        if reference is None and form == "multiplicative":
            raise InputError("cost.reference: the multiplicative form needs one, the cost that changes nothing")
        if reference is not None:
            check_range("cost.reference", reference, 0.0, open_low=True)
        if not bool(((table >= 0) & table.isfinite()).all()):
            raise InputError("cost.table: every cost must be a finite number, at least 0")
        self.table = self.moved = table.detach()
        self.weight, self.form, self.reference = weight, form, 1.0 if reference is None else reference

    def __call__(self, loss: Tensor, probabilities: Tensor) -> Tensor:
        """loss: scalar; probabilities: (choices, candidates), with the gradient that the cost shall have."""
        ratio = self.expected(probabilities) / self.reference
        if self.form == "multiplicative":
            return loss * ratio.clamp(min=SMALLEST) ** self.weight
        return loss + self.weight * ratio

    def expected(self, probabilities: Tensor) -> Tensor:
        """Scalar, in the table's unit."""
        if self.moved.device != probabilities.device or self.moved.dtype != probabilities.dtype:
            self.moved = self.table.to(probabilities)
        return (probabilities * self.moved).sum()

    def of(self, decisions: Sequence[int]) -> float:
        """The cost of one candidate a choice, in the table's unit."""
        return sum(float(row[k]) for row, k in zip(self.table, decisions, strict=True))


def parameters(
    space: SearchSpace, weight: float, form: str = "additive", reference: float | None = None
) -> ExpectedCost:
    """The expected number of parameters of the candidates."""
    return ExpectedCost(candidate_costs(space, count_parameters), weight, form, reference)


def multiply_accumulates(
    space: SearchSpace, weight: float, form: str = "additive", reference: float | None = None
) -> ExpectedCost:
    """The expected multiply-accumulates of the candidates, for one image."""
    return ExpectedCost(candidate_costs(space, count_multiply_accumulates), weight, form, reference)


def latency(
    space: SearchSpace, table: str, weight: float, form: str = "additive", reference: float | None = None
) -> ExpectedCost:
    """The expected latency of the candidates, in ms. table: a file of scripts/latency.py."""
    if not isinstance(table, str) or not table:
        raise InputError(f"cost.table={table!r}: must be the path of a file of scripts/latency.py")
    read = LatencyTable.read(Path(table), space)
    return ExpectedCost(read.medians(space), weight, form, reference)


@dataclass(frozen=True)
class LatencyTable:
    """Measured latencies and what they were measured on; its JSON file is what `latency` reads.

    rows: choice -> candidate -> {"median_ms", "spread_ms"}, of a batch, summed over the places of the candidate.
    settings, image_shape: sizes of the networks, for the reader: they may be those of the final network.
    """

    space: str  # fingerprint
    device: str
    dtype: str
    batch: int
    image_shape: Sequence[int]
    settings: dict[str, Any]
    versions: dict[str, str]
    rows: dict[str, dict[str, dict[str, float]]]

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=2) + "\n"

    def medians(self, space: SearchSpace) -> Tensor:
        """(choices, candidates) of float64, ms."""
        table = torch.zeros(space.shape, dtype=torch.float64)
        for i, choice in enumerate(space.choices):
            for k, name in enumerate(choice.candidates):
                table[i, k] = self.rows[choice.name][name]["median_ms"]
        return table

    @classmethod
    def read(cls, path: Path, space: SearchSpace) -> "LatencyTable":
        """Raises InputError that names the field when the file is no complete table of this space."""
        where, text = str(path), read_text(path)
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not a complete JSON file ({str(error)[:80]})") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError(f"{where}: field 'format' must be {FORMAT!r}")
        if type(content.get("version")) is not int or content["version"] != VERSION:
            raise InputError(
                f"{where}: field 'version' is {content.get('version')!r:.40}; this version reads {VERSION}"
            )
        if content.get("space") != space.fingerprint:
            raise InputError(
                f"{where}: field 'space' is {content.get('space')!r:.60}, but the configured space is "
                f"{space.fingerprint!r}; scripts/latency.py measures a table for it"
            )
        kinds = {"device": str, "dtype": str, "batch": int, "image_shape": list, "settings": dict, "versions": dict}
        for field, kind in kinds.items():
            if not isinstance(content.get(field), kind):
                raise InputError(f"{where}: field {field!r} must be of type {kind.__name__}")
        check_integer(f"{where}: field 'batch'", content["batch"], 1)
        if not all(isinstance(version, str) for version in content["versions"].values()):
            raise InputError(f"{where}: field 'versions' must map each package to its version")
        rows = _checked_rows(content.get("rows"), space, where)
        if not any(candidate["median_ms"] > 0 for row in rows.values() for candidate in row.values()):
            raise InputError(f"{where}: field 'rows': median_ms is 0 everywhere, so nothing was measured")
        return cls(content["space"], **{field: content[field] for field in kinds}, rows=rows)


def _checked_rows(rows: Any, space: SearchSpace, where: str) -> dict[str, dict[str, dict[str, float]]]:
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
    """A finite number, at least 0 and below a year in ms."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 3e10


def measure_latency(
    space: SearchSpace,
    image_shape: ImageShape,
    device: torch.device,
    dtype: str = "float32",
    batch: int = 64,
    repeats: int = 20,
    warmup: int = 3,
) -> LatencyTable:
    """The latency of every candidate on this device: forward pass of a batch, evaluation mode, channels-last.

    A candidate is measured once for each shape and stride. Its latency is the median of `repeats` (at least 2),
    its spread the difference of their quartiles; both are summed over the places that share the measurement.
    Raises InputError for an unknown dtype and numbers out of range.
    """
    check_timing(dtype, repeats, warmup)
    check_integer("batch", batch, 1, LARGEST)
    places: dict[tuple[int, int], list[Place]] = {}
    modules: dict[Place, nn.Module] = {}
    with device, torch.no_grad():
        for i, k, module, shape in space.operations():
            behind = module.eval()(torch.zeros(1, *shape)).shape[1:]  # tells the stride
            place = (space.choices[i].candidates[k], shape, tuple(behind))
            modules.setdefault(place, module)
            places.setdefault((i, k), []).append(place)
    times = _times(modules, device, getattr(torch, dtype), batch, repeats, warmup)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    for i, choice in enumerate(space.choices):
        rows[choice.name] = {}
        for k, name in enumerate(choice.candidates):
            values = [times[place] for place in places.get((i, k), [])]
            medians, spreads = (round(math.fsum(map(f, values)), 6) for f in (median, _spread))
            rows[choice.name][name] = {"median_ms": medians, "spread_ms": spreads}
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    settings, sizes = space.settings, tuple(image_shape)
    return LatencyTable(space.fingerprint, device_name(device), dtype, batch, sizes, settings, versions, rows)


def _times(
    modules: Mapping[Place, nn.Module], device: torch.device, dtype: torch.dtype, batch: int, repeats: int, warmup: int
) -> dict[Place, list[float]]:
    """Milliseconds of a call, `repeats` of each module."""
    like: Any = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
    inputs = {shape: torch.randn(batch, *shape).to(**like) for _, shape, _ in modules}
    calls = {place: partial(module.to(**like), inputs[place[1]]) for place, module in modules.items()}
    return times(calls, device, repeats, warmup, 1 if device.type == "cpu" else CALLS)


def _spread(values: Sequence[float]) -> float:
    low, _, high = quantiles(values, n=4)
    return high - low
