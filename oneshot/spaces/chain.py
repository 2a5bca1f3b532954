"""Chains of layers of variable length, whose hyperparameters depend on the type of the layer."""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple, cast

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..architecture import Architecture, Choice, Gates
from ..errors import InputError, check_integer
from .base import Conditions, Images, ImageShape, SearchSpace, images_of

CONV, POOL, FC, END = TYPES = ("conv", "pool", "fc", "end")
FIRST = TYPES[:-1]  # of the first layer
MAX, AVERAGE = POOLS = ("max", "avg")
NOT = "-"  # the candidate of a hyperparameter that a layer of this type does not have
FIELDS = {CONV: ("filters", "kernel"), POOL: ("pool",), FC: ("units",), END: ()}  # hyperparameters of each type
ORDER = ("type", "filters", "kernel", "pool", "units")  # choices of a layer
WORD = re.compile(r"(\w+)(?:\(([\w,]*)\))?")  # a layer in the notation, as conv(16,3)
CHAIN, INPUT, OUTPUT = "chain", "input", "output"


class Layer(NamedTuple):
    """A layer of an architecture.

    Args:
        type: One of `TYPES`.
        values: Its hyperparameters, as `FIELDS` names them.
    """

    type: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}({','.join(self.values)})" if self.values else self.type


class Chain(SearchSpace):
    """Layers in a row: how many there are, what each is, and what its size is.

    Each layer is a convolution with batch norm and ReLU, a pool of 3x3, or a fully connected layer with ReLU. A
    convolution has a number of filters and a kernel, a pool its kind, a fully connected layer its units. After a fully
    connected layer there are only such layers. The layers at one third and at two thirds of the largest number halve
    the image. A global mean and a linear classifier end the network.

    The weights of a layer are shared: those of all its numbers of filters, kernels and units are parts of one largest
    tensor, the first filters and the middle of the kernel. A mixture of kernels mixes the weights; batch norm follows.
    A mixture of numbers of filters scales the channels. A hyperparameter that a layer does not have is the candidate
    "-", which gates do not mix.

    `sample` draws the number of layers uniformly, then for each layer its type among those that may be there, then its
    hyperparameters. Neighbours of an architecture have another layer at one place, one layer more at the end, or one
    less.

    Args:
        image_shape: As in `DARTSCells`.
        classes: As in `DARTSCells`.
        layers: Largest number of layers; there is at least one.
        filters: Numbers of filters of a convolution.
        kernels: Heights and widths of its kernel, odd.
        units: Numbers of units of a fully connected layer.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Elsken, Metzen and Hutter, Neural Architecture Search: A Survey, JMLR 20(55), 2019, section 2; the layers are
        those of Baker et al., arXiv:1611.02167, in a simpler form.
    """

    name = "chain"

    def __init__(
        self,
        image_shape: ImageShape | Images,
        classes: int | None = None,
        layers: int = 6,
        filters: Sequence[int] = (8, 16, 32),
        kernels: Sequence[int] = (3, 5),
        units: Sequence[int] = (32, 64),
    ) -> None:
        self.image_shape, self.classes = images_of(image_shape, classes)
        check_integer("space.layers", layers, 1, 100)
        for name, sizes in (("filters", filters), ("kernels", kernels), ("units", units)):
            _check_sizes(name, sizes)
        if any(kernel % 2 == 0 for kernel in kernels):
            raise InputError(f"space.kernels={list(kernels)}: must be odd")
        self.layers, self.filters, self.kernels, self.units = layers, tuple(filters), tuple(kernels), tuple(units)
        values: dict[str, Sequence[object]] = {
            "filters": self.filters,
            "kernel": self.kernels,
            "pool": POOLS,
            "units": self.units,
        }
        fields = {name: (*map(str, values[name]), NOT) for name in ORDER[1:]}
        self.choices = tuple(
            Choice(
                f"layer{i + 1}/{name}", fields.get(name, TYPES if i else FIRST), f"layer{i + 1}", int(name in fields)
            )
            for i in range(layers)
            for name in ORDER
        )
        self._fields = fields
        self.settings = {"layers": layers}

    @property
    def halves(self) -> set[int]:
        """The layers that halve the image, from 0."""
        return {self.layers // 3, 2 * self.layers // 3} - {0}

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the candidates that the next choice may take; see `SearchSpace.allowed`."""
        layer, place = divmod(len(prefix), len(ORDER))
        start = layer * len(ORDER)
        if place == 0:
            before = TYPES[prefix[start - len(ORDER)]] if layer else None
            return tuple(TYPES.index(kind) for kind in _after(before))
        name = ORDER[place]
        last = len(self._fields[name]) - 1
        return tuple(range(last)) if name in FIELDS[TYPES[prefix[start]]] else (last,)

    def layers_of(self, architecture: Architecture) -> list[Layer]:
        """Return the layers of an architecture, without those that come after its end.

        Args:
            architecture: An architecture of this space.
        """
        found = []
        for i in range(0, len(self.choices), len(ORDER)):
            kind, *decisions = architecture.decisions[i : i + len(ORDER)]
            if TYPES[kind] == END:
                break
            named = {name: self._fields[name][k] for name, k in zip(ORDER[1:], decisions, strict=True)}
            found.append(Layer(TYPES[kind], tuple(named[name] for name in FIELDS[TYPES[kind]])))
        return found

    def of_layers(self, layers: Sequence[Layer]) -> Architecture:
        """Return the architecture with these layers.

        Args:
            layers: Its layers, without the end.

        Raises:
            InputError: If this space has no such architecture.
        """
        if not 1 <= len(layers) <= self.layers:
            raise InputError(f"architecture: {len(layers)} layers; must be 1 to {self.layers}")
        decisions: list[int] = []
        for layer in (*layers, *[Layer(END)] * (self.layers - len(layers))):
            names = FIELDS.get(layer.type)
            if layer.type == END and len(decisions) < len(layers) * len(ORDER):
                raise InputError(f"architecture: layer {END!r}: must be {', '.join(FIRST[:-1])} or {FIRST[-1]}")
            if names is None or len(names) != len(layer.values):
                raise InputError(
                    f"architecture: layer {str(layer)[:60]!r}: must be like conv(16,3), pool(max) or fc(32)"
                )
            given = dict(zip(names, layer.values, strict=True))
            decisions.append(TYPES.index(layer.type))
            for name in ORDER[1:]:
                if given.get(name, NOT) not in self._fields[name]:
                    known = ", ".join(self._fields[name][:-1])
                    raise InputError(f"architecture: layer {str(layer)[:60]!r}: {name} must be one of {known}")
                decisions.append(self._fields[name].index(given.get(name, NOT)))
        return self.architecture(decisions)

    def _kinds(self, before: str | None) -> Iterator[Layer]:
        """Every layer that may follow a type, but the end."""
        for kind in _after(before):
            values: list[tuple[str, ...]] = [()]
            for name in FIELDS[kind]:
                values = [(*known, value) for known in values for value in self._fields[name][:-1]]
            yield from (Layer(kind, value) for value in values if kind != END)

    def sample(self, rng: random.Random) -> Architecture:
        """Return a random architecture; the class says how it is drawn.

        Args:
            rng: Source of the draws.
        """
        layers: list[Layer] = []
        for _ in range(rng.randint(1, self.layers)):
            kinds = [kind for kind in _after(layers[-1].type if layers else None) if kind != END]
            kind = rng.choice(kinds)
            layers.append(Layer(kind, tuple(rng.choice(self._fields[name][:-1]) for name in FIELDS[kind])))
        return self.of_layers(layers)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield every architecture that differs in one layer, or is one layer longer or shorter at its end."""
        layers = self.layers_of(architecture)
        for i, layer in enumerate(layers):
            for other in self._kinds(layers[i - 1].type if i else None):
                following = layers[i + 1].type if i + 1 < len(layers) else END
                if other != layer and following in _after(other.type):
                    yield self.of_layers([*layers[:i], other, *layers[i + 1 :]])
        if len(layers) < self.layers:
            yield from (self.of_layers([*layers, other]) for other in self._kinds(layers[-1].type))
        if len(layers) > 1:
            yield self.of_layers(layers[:-1])

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return a random neighbour, all with the same probability.

        Args:
            architecture: An architecture of this space.
            rng: Source of the draws.
        """
        return rng.choice(list(self.neighbours(architecture)))

    def supernet(self) -> nn.Module:
        """Return a new supernet: forward(x, gates) -> logits (batch, classes)."""
        return _Supernet(self)

    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> nn.Module:
        """Return the discrete network of an architecture; see `SearchSpace.network`."""
        if architecture.space != self.fingerprint:
            raise InputError(f"architecture of space {architecture.space!r}: this space is {self.fingerprint!r}")
        channels, parts = self.image_shape[0], list[nn.Module]()
        for i, layer in enumerate(self.layers_of(architecture)):
            bank = None if inherit is None else cast(_Supernet, inherit).layers[i]
            stride = 2 if i in self.halves else 1
            if layer.type == CONV:
                filters, kernel = map(int, layer.values)
                parts.append(_convolution(channels, filters, kernel, stride, bank))
                channels = filters
            elif layer.type == POOL:
                parts.append(_Pool(layer.values[0], stride))
            else:
                units = int(layer.values[0])
                parts.append(_dense(channels, units, bank))
                channels = units
        classifier = nn.Linear(channels, self.classes)
        if inherit is not None:
            last = cast(_Supernet, inherit).classifier
            _copy(classifier, last.weight[:, :channels], last.bias)
        return nn.Sequential(*parts, _Mean(), classifier)

    def discretize(self, scores: Tensor) -> Architecture:
        """Return the layers with the largest probabilities: of each its type, then its hyperparameters."""
        if not bool(scores.isfinite().all()):
            raise InputError("scores are not finite: there is nothing to discretize")
        rows = scores.detach().cpu().double().tolist()
        decisions: tuple[int, ...] = ()
        for row in rows:
            decisions += (max(self.allowed(decisions), key=lambda k: (row[k], -k)),)
        return self.architecture(decisions)

    def notation(self, architecture: Architecture) -> str:
        """Return the layers, as conv(16,3)-pool(max)-fc(32)."""
        return "-".join(map(str, self.layers_of(architecture)))

    def from_notation(self, text: str) -> Architecture:
        """Return the architecture of a text as `notation` gives it."""
        layers = []
        for word in text.strip().split("-"):
            found = WORD.fullmatch(word.strip())
            if found is None:
                raise InputError(f"architecture {text[:80]!r}: must be like conv(16,3)-pool(max)-fc(32)")
            layers.append(Layer(found[1], tuple(found[2].split(",")) if found[2] else ()))
        return self.of_layers(layers)

    def graphs(self, architecture: Architecture) -> dict[str, nx.DiGraph]:
        """Return one graph, whose edges are the layers."""
        graph, at = nx.DiGraph(), INPUT
        for i, layer in enumerate(self.layers_of(architecture)):
            graph.add_edge(at, str(i + 1), operation=" ".join((layer.type, *layer.values)))
            at = str(i + 1)
        graph.add_edge(at, OUTPUT, operation="")
        return {CHAIN: graph}

    def ends(self) -> dict[str, tuple[set[str], set[str]]]:
        """Return the input and the output of the chain."""
        return {CHAIN: ({INPUT}, {OUTPUT})}

    def operations(self) -> Iterator[tuple[int, int, nn.Module, tuple[int, int, int]]]:
        """Refuse: the size of a layer depends on several choices and on the layer before it.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "space 'chain': what a layer costs depends on the layer before it, so its candidates cannot be measured "
            "one by one; cost=parameters and cost=multiply_accumulates count them together"
        )

    def joint_operations(self) -> Iterator[tuple[Conditions, nn.Module, ImageShape]]:
        """Yield the layers, each with its channels of the layers before it, and the classifiers."""
        _, height, width = self.image_shape
        for i in range(self.layers):
            stride = 2 if i in self.halves else 1
            for before, channels, flat in self._entering(i):
                shape = (channels, 1, 1) if flat else (channels, height, width)
                if not flat:
                    for f, k in product(range(len(self.filters)), range(len(self.kernels))):
                        own = (self._decided(i, "type", TYPES.index(CONV)), self._decided(i, "filters", f))
                        layer = _convolution(channels, self.filters[f], self.kernels[k], stride, None)
                        yield (*own, self._decided(i, "kernel", k), *before), layer, shape
                for u, units in enumerate(self.units):
                    own = (self._decided(i, "type", TYPES.index(FC)), self._decided(i, "units", u))
                    yield (*own, *before), _dense(channels, units, None), shape
                if i:  # which may end the chain
                    end = self._decided(i, "type", TYPES.index(END))
                    yield (end, *before), _dense(channels, self.classes, None), (channels, 1, 1)
            height, width = -(-height // stride), -(-width // stride)
        for before, channels, _ in self._entering(self.layers):
            yield before, _dense(channels, self.classes, None), (channels, 1, 1)

    def _decided(self, layer: int, name: str, candidate: int) -> tuple[int, int]:
        """A choice of a layer, and its candidate."""
        return layer * len(ORDER) + ORDER.index(name), candidate

    def _entering(self, layer: int) -> Iterator[tuple[Conditions, int, bool]]:
        """What may enter a layer: the decisions before it that matter, channels, and whether it has no height."""
        if layer == 0:
            yield (), self.image_shape[0], False
            return
        for kind, name, sizes in ((CONV, "filters", self.filters), (FC, "units", self.units)):
            for k, size in enumerate(sizes):
                own = (self._decided(layer - 1, "type", TYPES.index(kind)), self._decided(layer - 1, name, k))
                yield own, size, kind == FC
        for before, channels, flat in self._entering(layer - 1):
            if not flat:
                yield (self._decided(layer - 1, "type", TYPES.index(POOL)), *before), channels, False

    def sizes(self) -> Tensor:
        """Return the parameters of each candidate above the smallest of its choice, with all input channels."""
        table, wide = torch.zeros(self.shape, dtype=torch.float64), self.channels
        least = {"filters": min(self.filters), "kernel": min(self.kernels), "units": min(self.units)}
        for i, choice in enumerate(self.choices):
            name = choice.name.partition("/")[2]
            for k, candidate in enumerate(choice.candidates):
                if name == "type":
                    types = {CONV: wide * least["filters"] * least["kernel"] ** 2, FC: wide * least["units"]}
                    table[i, k] = types.get(candidate, 0) + (candidate != END)
                elif candidate != NOT and name == "kernel":
                    table[i, k] = wide * least["filters"] * (int(candidate) ** 2 - least[name] ** 2)
                elif candidate != NOT and name in least:
                    table[i, k] = wide * (int(candidate) - least[name])
        return table

    def parameters(self) -> Tensor:
        """Return `sizes`, as the parameters of a layer depend on the layer before it."""
        return self.sizes()

    def branches(self, supernet: nn.Module) -> Iterator[tuple[int, int, nn.Module]]:
        """Yield the convolution and the fully connected layer of each layer; see `SearchSpace.branches`."""
        for i, layer in enumerate(cast(_Supernet, supernet).layers):
            yield i * len(ORDER), TYPES.index(CONV), layer.conv
            yield i * len(ORDER), TYPES.index(FC), layer.fc

    @property
    def channels(self) -> int:
        """The most channels that a state can have."""
        return max(self.image_shape[0], *self.filters, *self.units)


def _after(before: str | None) -> tuple[str, ...]:
    """The types that may follow a type; None is the beginning."""
    if before is None:
        return FIRST
    return {END: (END,), FC: (FC, END)}.get(before, TYPES)


def _check_sizes(name: str, values: Sequence[int]) -> None:
    if not isinstance(values, Sequence) or isinstance(values, str) or not values or len({*values}) < len(values):
        raise InputError(f"space.{name}={values!s:.80}: must be a list of different numbers")
    for value in values:
        check_integer(f"space.{name}", value, 1, 10_000)


class _Supernet(nn.Module):
    """All chains in one. States have the largest number of channels; those that an architecture lacks are 0."""

    def __init__(self, space: Chain) -> None:
        super().__init__()
        self.channels = space.channels
        self.layers: Sequence[_Mixture] = nn.ModuleList(  # type: ignore[assignment]
            _Mixture(space, i) for i in range(space.layers)
        )
        self.classifier = nn.Linear(space.channels, space.classes)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        x = functional.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))
        for i, layer in enumerate(self.layers):
            x = layer(x, gates.rows(slice(i * len(ORDER), (i + 1) * len(ORDER))))
        logits: Tensor = self.classifier(x.mean(dim=(2, 3)))
        return logits


class _Mixture(nn.Module):
    """One layer of the supernet: a weighted sum of what it can be."""

    filter_mask: Tensor
    unit_mask: Tensor

    def __init__(self, space: Chain, number: int) -> None:
        super().__init__()
        self.types = TYPES if number else FIRST
        self.stride, self.kernels, wide = 2 if number in space.halves else 1, space.kernels, space.channels
        largest, kernel = max(space.filters), max(space.kernels)
        self.conv = nn.Sequential(
            nn.Conv2d(wide, largest, kernel, self.stride, kernel // 2, bias=False),
            nn.BatchNorm2d(largest, track_running_stats=False),
        )
        self.fc = nn.Linear(wide, max(space.units))
        for name, sizes in (("filter_mask", space.filters), ("unit_mask", space.units)):
            mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
            self.register_buffer(name, mask.to(torch.get_default_dtype()), persistent=False)

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        weight, active, silent = gates.weight, gates.active, gates.silent
        size = [-(-length // self.stride) for length in x.shape[2:]]
        total = torch.zeros((), dtype=x.dtype, device=x.device)
        for k, kind in enumerate(self.types):
            if active is not None and k not in active[0]:
                continue
            quiet = silent is not None and k in silent[0]
            with torch.set_grad_enabled(torch.is_grad_enabled() and not quiet):
                result = self._result(kind, x, gates, size)
            total = total + weight[0, k].to(result.dtype) * (result.detach() if quiet else result)
        return total

    def _result(self, kind: str, x: Tensor, gates: Gates, size: Sequence[int]) -> Tensor:
        if kind == CONV:
            return self._pad(
                self._convolved(x, gates) * self._scale(self.filter_mask, gates, 1)[None, :, None, None], x
            )
        if kind == POOL:
            return sum(  # type: ignore[return-value]
                gates.weight[3, k].to(x.dtype) * _Pool(POOLS[k], self.stride)(x) for k in self._active(gates, 3, 2)
            )
        if kind == FC:
            result = functional.relu(self.fc(x.mean(dim=(2, 3)))) * self._scale(self.unit_mask, gates, 4)
            result = functional.pad(result, (0, x.shape[1] - result.shape[1]))[:, :, None, None]
        else:
            result = x.mean(dim=(2, 3), keepdim=True)
        return result.expand(-1, -1, *size)

    def _convolved(self, x: Tensor, gates: Gates) -> Tensor:
        middle, largest = max(self.kernels) // 2, cast(nn.Conv2d, self.conv[0]).weight
        weight = torch.zeros((), dtype=largest.dtype, device=x.device)
        for k in self._active(gates, 2, len(self.kernels)):
            part = largest[:, :, *[slice(middle - self.kernels[k] // 2, middle + self.kernels[k] // 2 + 1)] * 2]
            edge = middle - self.kernels[k] // 2
            weight = weight + gates.weight[2, k].to(largest.dtype) * functional.pad(part, (edge,) * 4)
        return functional.relu(self.conv[1](functional.conv2d(x, weight, None, self.stride, middle)))

    def _scale(self, masks: Tensor, gates: Gates, row: int) -> Tensor:
        """What the channels are multiplied with: the gates of the sizes that have them."""
        chosen = list(self._active(gates, row, len(masks)))
        return gates.weight[row, chosen].to(masks.dtype) @ masks[chosen]

    @staticmethod
    def _active(gates: Gates, row: int, number: int) -> Iterator[int]:
        """The candidates of a hyperparameter that are computed; "-" is none."""
        chosen = range(number) if gates.active is None else gates.active[row]
        return (k for k in chosen if k < number)

    @staticmethod
    def _pad(result: Tensor, x: Tensor) -> Tensor:
        return functional.pad(result, (0, 0, 0, 0, 0, x.shape[1] - result.shape[1]))


class _Pool(nn.Module):
    """A pool of 3x3."""

    def __init__(self, kind: str, stride: int) -> None:
        super().__init__()
        self.kind, self.stride = kind, stride

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == MAX:
            return functional.max_pool2d(x, 3, self.stride, 1)
        return functional.avg_pool2d(x, 3, self.stride, 1, count_include_pad=False)


class _Mean(nn.Module):
    """The mean over height and width, if they are left."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3)) if x.dim() == 4 else x


def _convolution(channels: int, filters: int, kernel: int, stride: int, bank: _Mixture | None) -> nn.Module:
    layer = nn.Conv2d(channels, filters, kernel, stride, kernel // 2, bias=False)
    norm = nn.BatchNorm2d(filters, track_running_stats=bank is None)
    if bank is not None:
        largest, norms = cast(nn.Conv2d, bank.conv[0]), cast(nn.BatchNorm2d, bank.conv[1])
        edge = (max(bank.kernels) - kernel) // 2
        inside = slice(edge, edge + kernel)
        _copy(layer, largest.weight[:filters, :channels, inside, inside], None)
        _copy(norm, norms.weight[:filters], norms.bias[:filters])
    return nn.Sequential(layer, norm, nn.ReLU())


def _dense(channels: int, units: int, bank: _Mixture | None) -> nn.Module:
    layer = nn.Linear(channels, units)
    if bank is not None:
        _copy(layer, bank.fc.weight[:units, :channels], bank.fc.bias[:units])
    return nn.Sequential(_Mean(), layer, nn.ReLU())


@torch.no_grad()
def _copy(module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Give a module these weights, on their device and in their precision."""
    module.to(weight.device, weight.dtype)
    module.weight.copy_(weight)  # type: ignore[operator]
    if bias is not None:
        module.bias.copy_(bias)  # type: ignore[operator]
