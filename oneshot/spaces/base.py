"""The interface of a search space, and what follows from its choices alone: written once for every space."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import networkx as nx
import torch
from torch import Tensor, nn

from ..architecture import Architecture, Choice, fingerprint, from_json, read_text, to_json
from ..distributed.collectives import for_each_example
from ..errors import InputError

NONE = "none"
UNIFORM_TRIES = 100_000


class SearchSpace(ABC):
    """A set of architectures: its choices, the rule that makes them valid, its supernet and its networks.

    Sizes of the network (cells, channels, image shape, classes) are arguments of a concrete space and do
    not enter its fingerprint. The members of a group are consecutive in `choices`.
    """

    name: str
    choices: tuple[Choice, ...]
    settings: dict[str, Any]  # sizes, for the reader of an architecture file
    concatenated: tuple[str, ...] = ()  # the nodes whose concatenation is a cell's output, for the graph view

    @abstractmethod
    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """The candidates that choice number len(prefix) may take after these decisions; never empty."""

    @abstractmethod
    def supernet(self) -> nn.Module:
        """A new supernet: forward(x, gates) -> logits (batch, classes). Weights from the global generator."""

    @abstractmethod
    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> nn.Module:
        """The discrete network: forward(x) -> logits (batch, classes), with nothing unused in it.

        Built to be trained from scratch; there, with an auxiliary head, forward in training mode returns
        (logits, auxiliary logits). With `inherit`, a supernet of this space: its weights and its kind of
        batch norm, no auxiliary head, so that it computes what the supernet does with one-hot gates.
        """

    @abstractmethod
    def discretize(self, scores: Tensor) -> Architecture:
        """The space's own rule from probabilities (choices, candidates) to an architecture."""

    def used(self, architecture: Architecture) -> Architecture:
        """The same network, written without what it leaves out; a space that leaves something out overrides this."""
        return architecture

    def notation(self, architecture: Architecture) -> str:
        """One line in the field's notation. A space that has a published one overrides this."""
        return "|".join(c.candidates[i] for c, i in zip(self.choices, architecture.decisions, strict=True))

    def operations(self) -> Iterator[tuple[int, int, nn.Module, tuple[int, int, int]]]:
        """Every place of a candidate in the networks: choice, candidate, module, its input's image shape.

        A candidate whose choice is shared by several cells comes once a cell; one that is zero does not come.
        What candidates cost follows from this; a space that gives no places has no cost to search by.
        """
        raise InputError(f"space {self.name!r} does not say where its candidates stand, so they have no cost")

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.name, self.choices)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """(choices, candidates): the shape of gates and scores; the largest number of candidates counts."""
        return len(self.choices), max(len(c.candidates) for c in self.choices)

    @cached_property
    def mask(self) -> Tensor:
        """(choices, candidates) of bool: which entries of gates and scores are candidates."""
        width = torch.arange(self.shape[1])
        return torch.stack([width < len(c.candidates) for c in self.choices])

    def is_valid(self, decisions: Sequence[int]) -> bool:
        """Whether every decision is allowed after the ones before it."""
        decisions = tuple(decisions)
        if len(decisions) != len(self.choices):
            return False
        return all(d in self.allowed(decisions[:i]) for i, d in enumerate(decisions))

    def architecture(self, decisions: Sequence[int]) -> Architecture:
        """The architecture with these decisions. Raises InputError that names the first one not allowed."""
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
        """A random architecture, uniform over the valid ones (drawn and rejected group by group).

        Choosing uniformly among `allowed` one choice after the other would favour early edges. Where a
        group accepts fewer than one draw in 100,000, that is the fallback.
        """
        decisions: tuple[int, ...] = ()
        for _, members in groupby(self.choices, key=lambda choice: choice.group):
            group = list(members)
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

    def _draw(self, decisions: tuple[int, ...], group: list[Choice], rng: random.Random) -> tuple[int, ...] | None:
        """One independent draw for every choice of the group, or None at the first that is not allowed."""
        for choice in group:
            decision = rng.randrange(len(choice.candidates))
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
        """A random neighbour: one choice changed, or two of one group where one alone is not allowed."""
        moves = [(i, k) for i, c in enumerate(self.choices) for k in range(len(c.candidates))]
        moves = [(i, k) for i, k in moves if k != architecture.decisions[i]]
        rng.shuffle(moves)
        for i, k in moves:
            options = self._changes(architecture.decisions, i, k)
            if options:
                return Architecture(self.fingerprint, rng.choice(options))
        raise InputError(f"space {self.name!r} has a single architecture: nothing to mutate")

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Every architecture that `mutate` can return, once."""
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
        """(choices, candidates): 1 where the architecture decides so, else 0."""
        encoding = torch.zeros(self.shape)
        encoding[torch.arange(len(self.choices)), torch.tensor(architecture.decisions)] = 1
        return encoding

    def graphs(self, architecture: Architecture) -> dict[str, nx.DiGraph]:
        """One graph a cell; edges carry `operation` and are absent where it is none."""
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

    def to_json(self, architecture: Architecture) -> str:
        """The text of the architecture's file."""
        return to_json(architecture, self.choices, self.settings, self.notation(architecture))

    def load(self, path: Path) -> Architecture:
        """Read an architecture file. Raises InputError that names the field when it does not fit this space."""
        architecture = from_json(read_text(path), self.fingerprint, self.choices, str(path))
        try:
            return self.architecture(architecture.decisions)
        except InputError as error:
            raise InputError(f"{path}: field 'decisions': {error}") from None


def check_halves(space: str, image_shape: tuple[int, int, int]) -> None:
    """Raise InputError unless height and width can be halved twice."""
    channels, height, width = image_shape
    if height % 4 or width % 4 or min(height, width) < 4:
        raise InputError(
            f"image shape {channels}x{height}x{width}: the space {space!r} halves it twice, so height and "
            "width must be divisible by 4 (data.image_size=N resizes)"
        )


class DropPath(nn.Module):
    """Zero whole samples of a branch in training, and scale the others by 1 / (1 - rate), which is scheduled.

    The rate is a tensor, so that code compiled for one rate serves all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.drops = False
        self.register_buffer("rate", torch.zeros(()), persistent=False)
        self.rate: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.drops:
            return x
        draws = for_each_example(lambda number: torch.rand(number, 1, 1, 1, device=x.device), x.shape[0])
        keep = draws >= self.rate
        return x * keep.to(x.dtype) / (1 - self.rate)


def set_drop_path(network: nn.Module, rate: float) -> None:
    """Give every drop path of a network this rate."""
    for module in network.modules():
        if isinstance(module, DropPath):
            module.drops = rate > 0
            module.rate.fill_(rate)
