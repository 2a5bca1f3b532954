"""The interface of a search space, and what follows from its choices alone: written once for every space."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self, runtime_checkable

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from ..architecture import MAX_BYTES, Architecture, Choice, fingerprint, from_json, to_json
from ..distributed.collectives import for_each_example
from ..errors import InputError, check_boolean, check_integer, unknown
from ..runs.files import read_given
from .layout import dense_gradient

NONE = "none"
UNIFORM_TRIES = 100_000
TRIES = 1_000  # of a draw by scores
ImageShape = tuple[int, int, int]
Conditions = tuple[tuple[int, int], ...]  # choices and candidates


@runtime_checkable
class Images(Protocol):
    """A data set as a space sees it."""

    @property
    def image_shape(self) -> ImageShape:
        """(channels, height, width) of an image."""

    @property
    def classes(self) -> int:
        """Number of logits: of classes, of labels, or of numbers in a regression."""


class SearchSpace(ABC):
    """A set of architectures: its choices, the rule that makes them valid, its supernet and its networks.

    Sizes of the network (cells, channels, image shape, classes) are arguments of a concrete space and do not enter
    its fingerprint. A subclass sets these attributes: `name`; `choices`, where the members of a group are consecutive;
    `settings`, sizes for the reader of an architecture file; `concatenated`, the nodes that a cell's output
    concatenates, for pictures; `kinds`, the kind of each cell of the supernet, where it takes `Gates.cells`.
    """

    name: str
    choices: tuple[Choice, ...]
    settings: dict[str, Any]
    concatenated: tuple[str, ...] = ()
    published: Mapping[str, str] = MappingProxyType({})  # notations of architectures from papers, by their names
    kept_edges: int | None = None  # edges that an architecture keeps of each group; None: all may be there
    kinds: tuple[str, ...] = ()  # cells of one kind share their gates

    @abstractmethod
    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the candidates that the next choice may take.

        Args:
            prefix: The decisions of the choices before it.

        Returns:
            Indices of candidates; never empty.
        """

    @abstractmethod
    def supernet(self) -> nn.Module:
        """Return a new supernet: forward(x, gates) -> logits (batch, classes). Weights from the global generator."""

    @abstractmethod
    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> nn.Module:
        """Return the discrete network: forward(x) -> logits (batch, classes), with nothing unused in it.

        It is built to be trained from scratch. With an auxiliary head, forward in training mode returns
        (logits, auxiliary logits).

        Args:
            architecture: An architecture of this space.
            inherit: A supernet of this space. The network then has its weights and its kind of batch norm and no
                auxiliary head, so that it computes what the supernet computes with one-hot gates.

        Raises:
            InputError: If the architecture is of another space.
        """

    @abstractmethod
    def discretize(self, scores: Tensor) -> Architecture:
        """Turn probabilities into an architecture, by the space's own rule.

        Args:
            scores: Probabilities (choices, candidates).
        """

    def used(self, architecture: Architecture) -> Architecture:
        """Return the same network without decisions that have no effect. A space with such decisions overrides this.

        Args:
            architecture: An architecture of this space.
        """
        return architecture

    def notation(self, architecture: Architecture) -> str:
        """Return one line in the field's notation. A space that has a published one overrides this.

        Args:
            architecture: An architecture of this space.
        """
        return "|".join(c.candidates[i] for c, i in zip(self.choices, architecture.decisions, strict=True))

    def from_notation(self, text: str) -> Architecture:
        """Return the architecture of a text that `notation` gives. A space with another notation overrides both.

        Args:
            text: The text. It is parsed, never evaluated.

        Raises:
            InputError: If it is no notation of an architecture of this space.
        """
        names = text.strip().split("|")
        if len(names) != len(self.choices):
            raise InputError(
                f"architecture {text[:80]!r}: {len(names)} candidates; must be one for each of {len(self.choices)} "
                "choices"
            )
        decisions = []
        for choice, name in zip(self.choices, names, strict=True):
            if name not in choice.candidates:
                raise unknown(f"candidate of {choice.name!r}", name[:60], choice.candidates)
            decisions.append(choice.candidates.index(name))
        return self.architecture(decisions)

    def operations(self) -> Iterator[tuple[int, int, nn.Module, tuple[int, int, int]]]:
        """Yield every place of a candidate in the networks. The cost of the candidates is computed from this.

        A candidate whose choice is shared by several cells comes once a cell. One that is zero does not come.

        Yields:
            Index of the choice, index of the candidate, module, and its input's shape (channels, height, width).

        Raises:
            InputError: If the space does not give the places, so that a search cannot have a cost.
        """
        raise InputError(
            f"space {self.name!r} does not say where its candidates are (`operations`), so they have no size"
        )

    def joint_operations(self) -> Iterator[tuple[Conditions, nn.Module, ImageShape]]:
        """Yield every part of the networks whose size decisions make, also where several make it together.

        A part is there in an architecture that has all the decisions of its conditions. A space whose parts depend on
        several decisions, as on the channels of the layer before, overrides this; then it need not have `operations`.

        Yields:
            Pairs of a choice and a candidate, module, and its input's shape (channels, height, width).

        Raises:
            InputError: If the space does not give them.
        """
        for choice, candidate, module, shape in self.operations():
            yield ((choice, candidate),), module, shape

    def resized(self, depth: float = 1.0, partial_channels: int | None = None) -> Self:
        """Return the same choices with other sizes of the supernet, as the stages of a search need them.

        A space with such sizes overrides this.

        Args:
            depth: Cells, as a multiple of those of this space.
            partial_channels: k of partial channels. None: that of this space.

        Raises:
            InputError: If the space does not have these sizes.
        """
        if (depth, partial_channels) == (1.0, None):
            return self
        raise InputError(
            f"stages: space {self.name!r} has no other sizes; depth must be 1 and partial_channels left out"
        )

    def sizes(self) -> Tensor:
        """Return how large each candidate is, by which an architecture is the largest or the smallest of a space.

        It is the parameters plus the multiply-accumulates for one image, summed over the places of the candidate in the
        networks. A space whose candidates cannot be counted apart overrides this with numbers of the same order.

        Returns:
            Tensor (choices, candidates) of float64, at least 0.

        Raises:
            InputError: If the space does not give the places of its candidates.
        """
        table = torch.zeros(self.shape, dtype=torch.float64)
        with torch.device("meta"), torch.no_grad():
            for choice, candidate, module, shape in self.operations():
                with FlopCounterMode(display=False) as counter:
                    module.eval()(torch.empty(1, *shape))
                products = counter.get_total_flops() // 2  # torch counts a multiply-accumulate as two
                table[choice, candidate] += sum(p.numel() for p in module.parameters()) + products
        return table

    def branches(self, supernet: nn.Module) -> Iterator[tuple[int, int, nn.Module]]:
        """Yield every candidate in a supernet, so that it can be trained or measured on its own.

        A candidate whose choice is shared by several cells comes once a cell. One without a module does not come. The
        order is always the same, and no weight belongs to two of them.

        Args:
            supernet: A supernet of this space.

        Yields:
            Index of the choice, index of the candidate, module.

        Raises:
            InputError: If the space does not give them.
        """
        raise InputError(f"space {self.name!r} does not say where its supernet has its candidates (`branches`)")

    def inherit(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Give a network the weights of another one of this space, wherever name and shape agree (Real et al.).

        A space in which the same part can have other names or shapes overrides this.

        Args:
            network: The network, which is changed.
            weights: The state of the other one.

        Reference:
            Real et al., Large-scale evolution of image classifiers, arXiv:1703.01041.
        """
        own = network.state_dict()
        shared = {name: w for name, w in weights.items() if name in own and own[name].shape == w.shape}
        network.load_state_dict({**own, **shared})

    @cached_property
    def fingerprint(self) -> str:
        """Name and hash of the choices; sizes of the network do not enter."""
        return fingerprint(self.name, self.choices)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Shape (choices, candidates) of gates and scores, with the largest number of candidates of a choice."""
        return len(self.choices), max(len(c.candidates) for c in self.choices)

    @cached_property
    def mask(self) -> Tensor:
        """Which candidates gates mix, as bool (choices, candidates). All that there are, but for `Choice.unmixed`."""
        return self._first([len(c.mixed) for c in self.choices])

    @cached_property
    def decidable(self) -> Tensor:
        """Which candidates an architecture may have, as bool (choices, candidates): `mask`, and those of no mixture."""
        return self._first([len(c.candidates) for c in self.choices])

    @cached_property
    def selectable(self) -> Tensor:
        """Which candidates can be an operation of an architecture: `decidable`, without a `none` for absent edges.

        Where an architecture keeps some edges of a group, `none` means that an edge is absent, and no discretization
        selects it for one that is there.
        """
        if self.kept_edges is None:
            return self.decidable
        named = [[name == NONE for name in c.candidates] + [False] * self.shape[1] for c in self.choices]
        return self.decidable & ~torch.tensor([row[: self.shape[1]] for row in named])

    def possible(self, kept: Tensor) -> Tensor:
        """Return which candidates an architecture may have if a search has left out some.

        Those of no mixture always: absent edges, hyperparameters that a layer does not have.

        Args:
            kept: The candidates that are left, (choices, candidates) of bool.
        """
        return kept.cpu() | self.decidable & ~(self.selectable & self.mask)

    def _first(self, sizes: list[int]) -> Tensor:
        """True for so many of the first candidates of each choice."""
        return torch.arange(self.shape[1]) < torch.tensor(sizes)[:, None]

    def is_valid(self, decisions: Sequence[int]) -> bool:
        """Return whether every decision is allowed after the ones before it."""
        decisions = tuple(decisions)
        if len(decisions) != len(self.choices):
            return False
        return all(d in self.allowed(decisions[:i]) for i, d in enumerate(decisions))

    def architecture(self, decisions: Sequence[int]) -> Architecture:
        """Return the architecture with these decisions.

        Args:
            decisions: The index of a candidate for each choice.

        Raises:
            InputError: If they are too many, too few or not allowed; the message names the first one.
        """
        decisions = tuple(decisions)
        if len(decisions) != len(self.choices):
            raise InputError(f"decisions: {len(decisions)} given; the space has {len(self.choices)} choices")
        for i, (choice, decision) in enumerate(zip(self.choices, decisions, strict=True)):
            allowed = self.allowed(decisions[:i])
            if decision not in allowed:
                legal = ", ".join(choice.candidates[k] for k in allowed)
                chosen = choice.candidates[decision] if 0 <= decision < len(choice.candidates) else decision
                raise InputError(f"choice {choice.name!r}: {chosen!r} is not allowed here; allowed: {legal}")
        return Architecture(self.fingerprint, decisions)

    def sample(self, rng: random.Random) -> Architecture:
        """Return a random architecture, uniform over the valid ones.

        Decisions are drawn and rejected group by group. Choosing uniformly among `allowed`, one choice after the
        other, would favour early edges. It is the fallback where a group accepts fewer than one draw in 100,000.

        Args:
            rng: Source of the draws.
        """
        decisions: tuple[int, ...] = ()
        for group in self._groups:
            for _ in range(UNIFORM_TRIES):
                drawn = self._draw(decisions, group, rng)
                if drawn is not None:
                    break
            else:
                drawn = decisions
                for _ in group:
                    drawn += (rng.choice(self.allowed(drawn)),)
            decisions = drawn
        return Architecture(self.fingerprint, decisions)

    def sample_by(self, scores: Sequence[Sequence[float]], rng: random.Random) -> Architecture:
        """Return a random architecture: a valid one with a probability that is proportional to its product of scores.

        Decisions are drawn by their scores and rejected group by group. A group that accepts none of 1,000 draws is
        enumerated, which gives the same distribution. Where gates do not mix a candidate, it has no score and counts
        as 1: then the product is that of the others.

        Args:
            scores: (choices, candidates), at least 0.
            rng: Source of the draws.
        """
        decisions: tuple[int, ...] = ()
        scores = [[*row[: len(c.mixed)], *[1.0] * c.unmixed] for c, row in zip(self.choices, scores, strict=True)]
        for group in self._groups:
            rows = scores[len(decisions) : len(decisions) + len(group)]
            for _ in range(TRIES):
                drawn = self._draw(decisions, group, rng, rows)
                if drawn is not None:
                    break
            else:
                options = list(self._options(decisions, len(group)))
                products = [prod(row[k] for row, k in zip(rows, o[-len(group) :], strict=True)) for o in options]
                drawn = rng.choices(options, products if any(products) else None)[0]
            decisions = drawn
        return Architecture(self.fingerprint, decisions)

    def largest(self, table: Tensor | None = None, left: Tensor | None = None) -> Architecture:
        """Return the valid architecture with the largest sum over a table. Groups are searched one after the other.

        Of equal ones that wins whose first choice has the larger entry, then the earlier candidate; then the second
        choice decides, and so on.

        Args:
            table: (choices, candidates), at least 0; for example the cost of each candidate. None: the parameters of
                each candidate, over its places in the networks. Stem, classifier and inputs of cells do not count.
            left: The candidates that it may have, (choices, candidates) of bool. None: all.

        Raises:
            InputError: Without a table, if the space does not give the places of its candidates.
        """
        table = self.parameters() if table is None else table
        if left is not None:  # one candidate that is left counts more than all parameters
            table = (table + float(table.sum()) + 1) * left
        rows = table.tolist()
        decisions: tuple[int, ...] = ()
        for group in self._groups:
            decisions = self._largest(rows, decisions, len(decisions) + len(group))
        return Architecture(self.fingerprint, decisions)

    def smallest(self, table: Tensor, left: Tensor | None = None) -> Architecture:
        """Return the valid architecture with the smallest sum over a table, of those with the fewest absent edges.

        A network of absent edges costs least, but has no path to train. Of equal ones that wins whose first choice has
        the smaller entry, then the earlier candidate; `none` comes last. Then the second choice decides, and so on.

        Args:
            table: (choices, candidates), at least 0; for example the cost of each candidate.
            left: The candidates that it may have, (choices, candidates) of bool. None: all.
        """
        rows = (float(table.sum()) + 1 - table) * self.mask  # one edge more counts more than all costs
        for row, choice in zip(rows, self.choices, strict=True):
            if NONE in choice.candidates:
                row[choice.candidates.index(NONE)] = 0
        return self.largest(rows, left)

    def parameters(self) -> Tensor:
        """Return the parameters of each candidate, summed over its places, (choices, candidates) of float64.

        Raises:
            InputError: If the space does not give the places of its candidates.
        """
        table = torch.zeros(self.shape, dtype=torch.float64)
        with torch.device("meta"):
            for choice, candidate, module, _ in self.operations():
                table[choice, candidate] += sum(p.numel() for p in module.parameters())
        return table

    def _largest(self, rows: list[list[float]], prefix: tuple[int, ...], end: int) -> tuple[int, ...]:
        """The best valid decisions up to `end` that begin with the prefix, by branch and bound."""
        above = [sum(max(row) for row in rows[i:end]) for i in range(end + 1)]  # what the choices from i can add
        best, found = -1.0, prefix
        open_: list[tuple[float, tuple[int, ...]]] = [(0.0, prefix)]
        while open_:
            value, decisions = open_.pop()
            i = len(decisions)
            if value + above[i] <= best:
                continue
            if i == end:
                best, found = value, decisions
                continue
            order = sorted(self.allowed(decisions), key=lambda k: (rows[i][k], -k))
            open_ += [(value + rows[i][k], (*decisions, k)) for k in order]
        return found

    def _options(self, prefix: tuple[int, ...], choices: int) -> Iterator[tuple[int, ...]]:
        """Every valid continuation of the prefix by so many choices."""
        if not choices:
            yield prefix
            return
        for k in self.allowed(prefix):
            yield from self._options((*prefix, k), choices - 1)

    @cached_property
    def _groups(self) -> list[list[int]]:
        """The numbers of candidates of the choices, group by group."""
        groups = groupby(self.choices, key=lambda choice: choice.group)
        return [[len(choice.candidates) for choice in members] for _, members in groups]

    def _draw(
        self,
        decisions: tuple[int, ...],
        group: list[int],
        rng: random.Random,
        scores: Sequence[Sequence[float]] | None = None,
    ) -> tuple[int, ...] | None:
        """One independent draw for every choice of the group, or None at the first that is not allowed."""
        for i, candidates in enumerate(group):
            if scores is None:
                decision = rng.randrange(candidates)
            else:
                (decision,) = rng.choices(range(candidates), scores[i][:candidates])
            if decision not in self.allowed(decisions):
                return None
            decisions += (decision,)
        return decisions

    def _changes(self, decisions: tuple[int, ...], i: int, k: int) -> list[tuple[int, ...]]:
        """The valid decisions in which choice i becomes k: that change alone, else with one more in its group."""
        changed = decisions[:i] + (k,) + decisions[i + 1 :]
        if self.is_valid(changed):
            return [changed]
        pairs = []
        for j, other in enumerate(self.choices):
            if j == i or other.group != self.choices[i].group:
                continue
            for m in range(len(other.candidates)):
                pair = changed[:j] + (m,) + changed[j + 1 :]
                if m != decisions[j] and self.is_valid(pair):
                    pairs.append(pair)
        return pairs

    def mutate(self, architecture: Architecture, rng: random.Random) -> Architecture:
        """Return a random neighbour: one choice changed, or two of one group where one alone is not allowed.

        Args:
            architecture: An architecture of this space.
            rng: Source of the draws.

        Raises:
            InputError: If the space has a single architecture.
        """
        moves = [(i, k) for i, c in enumerate(self.choices) for k in range(len(c.candidates))]
        moves = [(i, k) for i, k in moves if k != architecture.decisions[i]]
        rng.shuffle(moves)
        for i, k in moves:
            options = self._changes(architecture.decisions, i, k)
            if options:
                return Architecture(self.fingerprint, rng.choice(options))
        raise InputError(f"space {self.name!r} has a single architecture: nothing to mutate")

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield every architecture that `mutate` can return, once."""
        seen = {architecture.decisions}
        for i, choice in enumerate(self.choices):
            for k in range(len(choice.candidates)):
                if k == architecture.decisions[i]:
                    continue
                for decisions in self._changes(architecture.decisions, i, k):
                    if decisions not in seen:
                        seen.add(decisions)
                        yield Architecture(self.fingerprint, decisions)

    def one_hot(self, architecture: Architecture) -> Tensor:
        """Return the architecture as a table (choices, candidates): 1 for what was decided, else 0."""
        encoding = torch.zeros(self.shape)
        encoding[torch.arange(len(self.choices)), torch.tensor(architecture.decisions)] = 1
        return encoding

    def graphs(self, architecture: Architecture) -> dict[str, nx.DiGraph]:
        """Return the graph of each cell, for pictures and graph kernels.

        A space whose choices have other names than "cell/source->target" overrides this and `ends`.

        Args:
            architecture: An architecture of this space.

        Returns:
            Graphs by the name of the cell. An edge has the name of its candidate as `operation`; where the candidate
            is `none` there is no edge. The edges of a concatenation have "".
        """
        graphs: dict[str, nx.DiGraph] = {}
        for choice, decision in zip(self.choices, architecture.decisions, strict=True):
            cell, edge = choice.name.split("/")
            source, target = edge.split("->")
            graph = graphs.setdefault(cell, nx.DiGraph())
            graph.add_nodes_from([source, target])
            if choice.candidates[decision] != NONE:
                graph.add_edge(source, target, operation=choice.candidates[decision])
        for graph in graphs.values():
            graph.add_edges_from(((node, "c_{k}") for node in self.concatenated), operation="")
        return graphs

    def ends(self) -> dict[str, tuple[set[str], set[str]]]:
        """Find the inputs and the outputs of each cell: nodes that nothing can enter, and nodes that nothing can leave.

        Returns:
            By the name of the cell: its inputs and its outputs, nodes of `graphs`.
        """
        edges: dict[str, list[tuple[str, str]]] = {}
        for choice in self.choices:
            cell, edge = choice.name.split("/")
            source, target = edge.split("->")
            edges.setdefault(cell, [(node, "c_{k}") for node in self.concatenated]).append((source, target))
        found = {}
        for cell, pairs in edges.items():
            sources, targets = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
            found[cell] = sources - targets, targets - sources
        return found

    def to_json(self, architecture: Architecture) -> str:
        """Return the text of the architecture's file."""
        return to_json(architecture, self.choices, self.settings, self.notation(architecture))

    def load(self, path: Path) -> Architecture:
        """Read an architecture file.

        Args:
            path: The file.

        Raises:
            InputError: If it does not fit this space; the message names the field.
        """
        architecture = from_json(read_given(path, MAX_BYTES), self.fingerprint, self.choices, str(path))
        try:
            return self.architecture(architecture.decisions)
        except InputError as error:
            raise InputError(f"{path}: field 'decisions': {error}") from None


def check_partial(partial_channels: int, channels: int) -> None:
    """Check the number of parts that the channels of a supernet's states are divided into.

    Args:
        partial_channels: The number.
        channels: Channels of the first cell.

    Raises:
        InputError: If it does not divide the channels.
    """
    check_integer("space.partial_channels", partial_channels, 1)
    if channels % partial_channels:
        raise InputError(
            f"space.partial_channels={partial_channels}: must divide the channels of the first cell, "
            f"space.channels={channels}"
        )


def deeper(cells: int, depth: float, least: int) -> int:
    """Return a multiple of a number of cells.

    Args:
        cells: The number.
        depth: The factor.
        least: The smallest number that the space allows.

    Raises:
        InputError: If the multiple is below it.
    """
    found = round(cells * depth)
    if found < least:
        raise InputError(f"stages: depth={depth} of space.cells={cells} is {found} cells; must be at least {least}")
    return found


def check_whole(partial_channels: int) -> None:
    """Check that a network can inherit the weights of a supernet.

    Args:
        partial_channels: That of the supernet.

    Raises:
        InputError: If its candidates see a part of the channels only.
    """
    if partial_channels > 1:
        raise InputError(
            f"space.partial_channels={partial_channels}: no network can inherit weights of a part of the channels; "
            "with space.partial_channels=1 it can"
        )


def images_of(image_shape: ImageShape | Images, classes: int | None) -> tuple[ImageShape, int]:
    """Return image shape and number of classes, as a space's constructor takes them.

    Args:
        image_shape: A data set with `image_shape` and `classes`, or (channels, height, width).
        classes: Number of logits; None with a data set.

    Raises:
        InputError: If one is missing, given twice or out of range.
    """
    if isinstance(image_shape, list | tuple):
        if classes is None:
            raise InputError("classes: must be given with an image shape; a data set takes the place of both")
    elif not isinstance(image_shape, Images):
        raise InputError(f"image_shape={image_shape!r:.80}: must be a data set or (channels, height, width)")
    elif classes is not None:
        raise InputError(f"classes={classes}: must not be given with a data set, which has {image_shape.classes}")
    else:
        classes, image_shape = image_shape.classes, image_shape.image_shape
    if len(image_shape) != 3:
        raise InputError(f"image_shape={image_shape!r:.80}: must be a data set or (channels, height, width)")
    for name, value in zip(("channels", "height", "width"), image_shape, strict=True):
        check_integer(f"image_shape: {name}", value, 1)
    check_integer("classes", classes, 1)
    channels, height, width = image_shape
    return (channels, height, width), classes


def is_dense(image_shape: ImageShape | Images, dense: bool | None) -> bool:
    """Return whether a space's networks give logits for each pixel.

    Args:
        image_shape: As a space's constructor takes it.
        dense: What was asked for; None is what the data set needs, and without one logits of an image.

    Raises:
        InputError: If a data set needs the other one.
    """
    task: Any = getattr(image_shape, "task", None)
    needed = None if task is None else bool(task.dense)
    if dense is not None:
        check_boolean("space.dense", dense)
    if task is not None and dense is not None and dense != needed:
        raise InputError(f"space.dense={dense}: the task {task.name!r} of the data needs {needed}")
    return bool(needed if dense is None else dense)


def check_halves(space: str, image_shape: ImageShape) -> None:
    """Check that height and width can be halved twice. The single row of a signal is not halved.

    Args:
        space: Name of the space, for the message.
        image_shape: (channels, height, width).

    Raises:
        InputError: If they cannot.
    """
    channels, height, width = image_shape
    if height != 1 and height % 4 or width % 4 or min(height, width) < 1:
        raise InputError(
            f"image shape {channels}x{height}x{width}: the space {space!r} halves it twice, so height and "
            "width must be divisible by 4, or the height 1 (data.image_size=N resizes)"
        )


def halved(side: int) -> int:
    """Return half of a height or width; a single row stays one.

    Args:
        side: Pixels, 1 or an even number.
    """
    return -(-side // 2)


class ImageHead(nn.Linear):
    """Logits of an image: the mean over its pixels, and a linear layer.

    Args:
        channels: Channels of the features.
        classes: Number of logits.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) for features (batch, channels, height, width)."""
        return super().forward(dense_gradient(x).mean(dim=(2, 3)))


class PixelHead(nn.Module):
    """Logits of each pixel: a 1x1 convolution, and bilinear interpolation to the size of the images.

    Args:
        channels: Channels of the features.
        classes: Number of logits of a pixel.
        size: Height and width of the images, in pixels.
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.convolution, self.size = nn.Conv2d(channels, classes, 1), size

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, height of the images, width) for features (batch, channels, height, width)."""
        return functional.interpolate(self.convolution(x), self.size, mode="bilinear", align_corners=False)


def head(channels: int, classes: int, image_shape: ImageShape, dense: bool) -> nn.Module:
    """Return the last layers of a network.

    Args:
        channels: Channels of the features.
        classes: Number of logits.
        image_shape: (channels, height, width) of an image.
        dense: Whether there are logits for each pixel.
    """
    return PixelHead(channels, classes, image_shape[1:]) if dense else ImageHead(channels, classes)


class DropPath(nn.Module):
    """Drop path: in training, whole samples of a branch become zero, and the others are divided by 1 - rate.

    The rate is 0 until `set_drop_path`. It is a tensor, so that code compiled for one rate serves all.

    Reference:
        Larsson, Maire and Shakhnarovich, FractalNet: Ultra-Deep Neural Networks without Residuals, arXiv:1605.07648.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drops = False
        self.register_buffer("rate", torch.zeros(()), persistent=False)
        self.rate: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Return x (batch, channels, height, width), with samples dropped in training."""
        if not self.training or not self.drops:
            return x
        draws = for_each_example(lambda number: torch.rand(number, 1, 1, 1, device=x.device), x.shape[0])
        keep = draws >= self.rate
        return x * keep.to(x.dtype) / (1 - self.rate)


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Give every drop path of a network this rate.

    Args:
        network: Any module.
        rate: Probability that a path is dropped, below 1.
    """
    for module in network.modules():
        if isinstance(module, DropPath):
            module.drops = rate > 0
            module.rate.fill_(rate)
