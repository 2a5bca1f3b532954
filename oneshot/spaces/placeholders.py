"""Placeholders: the parts of a user's model that a search decides. `ModelSpace` makes a space of them."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ..architecture import Choice, Gates
from ..errors import InputError, check_integer

YES = ("no", "yes")  # candidates of a choice that takes an input or does not


class Placeholder(nn.Module):
    """A part of a model with one or several choices. Placeholders of one name share their decision.

    Args:
        name: Name of the choice, or beginning of the names of the choices.

    Raises:
        InputError: If it is no text that can be a name.
    """

    gates: Gates | None = None  # the rows of this placeholder, while a supernet runs

    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str) or not name or any(c.isspace() or c in "/=," for c in name):
            raise InputError(f"placeholder {name!r}: its name must be a text without spaces, '/', '=' and ','")
        self.name = name

    @property
    @abstractmethod
    def own_choices(self) -> tuple[Choice, ...]:
        """The choices, all of one group."""

    @abstractmethod
    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the candidates of the next choice.

        Args:
            prefix: The decisions of this placeholder's choices before it.
        """

    @abstractmethod
    def decided(self, decisions: tuple[int, ...]) -> nn.Module:
        """Return what stands here in the network of an architecture: parts of this placeholder, not copies.

        Args:
            decisions: The decisions of this placeholder's choices.
        """

    def best(self, scores: Tensor) -> tuple[int, ...]:
        """Return the decisions with the largest scores.

        Args:
            scores: (choices, candidates) of this placeholder.
        """
        return tuple(scores[:, : len(self.own_choices[0].candidates)].argmax(dim=1).tolist())

    def now(self) -> Gates:
        """Return the gates of the pass that runs.

        Raises:
            InputError: If none does.
        """
        if self.gates is None:
            raise InputError(
                f"placeholder {self.name!r} is undecided: give the model to ModelSpace, make every placeholder in the "
                "model's __init__, and call none in a backward pass (as gradient checkpointing does)"
            )
        return self.gates


class Mixed(Placeholder):
    """One of several modules. In a supernet their results are summed, each times its gate.

    All take the same inputs, tensors or others. Their results have the same shapes, and may be tensors or tuples, lists
    and dicts of tensors. A candidate that writes into its inputs gets copies of them.

    Args:
        name: Name of the choice.
        candidates: Modules by name.

    Raises:
        InputError: If there is no candidate, or one is no module.
    """

    def __init__(self, name: str, candidates: Mapping[str, nn.Module]) -> None:
        super().__init__(name)
        if not isinstance(candidates, Mapping | nn.ModuleDict) or not candidates:
            raise InputError(f"placeholder {name!r}: its candidates must be modules by name, at least one")
        for key, module in candidates.items():
            if not str(key) or any(c.isspace() or c in "|=" for c in str(key)):
                raise InputError(f"placeholder {name!r}: candidate {key!r}: no spaces, '|' or '=' in its name")
            if not isinstance(module, nn.Module):
                raise InputError(f"placeholder {name!r}: candidate {key!r} is no torch.nn.Module")
        self.keys = tuple(map(str, candidates))
        self.candidates = nn.ModuleList(candidates.values())
        self.writes: set[int] = set()  # candidates that write into their inputs

    @property
    def own_choices(self) -> tuple[Choice, ...]:
        """One choice."""
        return (Choice(self.name, self.keys, self.name),)

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return all candidates."""
        return tuple(range(len(self.keys)))

    def decided(self, decisions: tuple[int, ...]) -> nn.Module:
        """Return the candidate; one that writes into its inputs gets copies, as in the supernet."""
        candidate = self.candidates[decisions[0]]
        return _OnCopies(candidate) if decisions[0] in self.writes else candidate

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the sum of what the active candidates give, each times its gate; what is no tensor as it is."""
        gates = self.now()
        active = range(len(self.keys)) if gates.active is None else gates.active[0]
        silent = () if gates.silent is None else gates.silent[0]
        total: Any = None
        for k in active:
            own, own_named = tree_map(_copied, (inputs, named)) if k in self.writes else (inputs, named)
            with torch.set_grad_enabled(torch.is_grad_enabled() and k not in silent):
                found = self.candidates[k](*own, **own_named)
            total = _added(total, found, gates.weight[0, k])
        return total


class _OnCopies(nn.Module):
    """A module that may write into its inputs, on copies of them."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **named: Any) -> Any:
        own, own_named = tree_map(_copied, (inputs, named))
        return self.module(*own, **own_named)


class Repeat(Placeholder):
    """The first of a row of modules: how many is decided. In a supernet the results at each depth are mixed.

    The modules before a depth run once for all depths. Each takes what the one before gives, a tensor whose shape does
    not change from one depth to another.

    Args:
        name: Name of the choice.
        blocks: The modules, from first to last.
        depths: Numbers of modules to choose from, ascending up to all of them; 0: none of them. None: 1, 2, ... all.

    Raises:
        InputError: If there are no blocks, or depths do not ascend to the number of the blocks.
    """

    def __init__(self, name: str, blocks: Sequence[nn.Module], depths: Sequence[int] | None = None) -> None:
        super().__init__(name)
        blocks = list(blocks) if isinstance(blocks, Iterable) else []
        if not blocks or not all(isinstance(block, nn.Module) for block in blocks):
            raise InputError(f"placeholder {name!r}: its blocks must be a list of torch.nn.Modules, at least one")
        if depths is not None and not isinstance(depths, list | tuple | range):
            raise InputError(f"placeholder {name!r}: depths={depths!r:.40} must be a list of numbers")
        depths = list(range(1, len(blocks) + 1)) if depths is None else list(depths)
        for depth in depths:
            check_integer(f"placeholder {name!r}: depth", depth, 0, len(blocks))
        if not depths or sorted(set(depths)) != depths or depths[-1] != len(blocks):
            raise InputError(
                f"placeholder {name!r}: depths={depths} must ascend and end with the number of blocks, {len(blocks)}"
            )
        self.depths, self.blocks = tuple(depths), nn.ModuleList(blocks)
        self.writes: set[int] = set()  # blocks that write into their inputs

    @property
    def own_choices(self) -> tuple[Choice, ...]:
        """One choice, whose candidates are the depths."""
        return (Choice(self.name, tuple(map(str, self.depths)), self.name),)

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return all depths."""
        return tuple(range(len(self.depths)))

    def decided(self, decisions: tuple[int, ...]) -> nn.Module:
        """Return the first blocks in a row."""
        blocks = enumerate(self.blocks[: self.depths[decisions[0]]])
        return nn.Sequential(*(_OnCopies(block) if i in self.writes else block for i, block in blocks))

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the results at the active depths, each times its gate."""
        gates = self.now()
        active = range(len(self.depths)) if gates.active is None else gates.active[0]
        silent = () if gates.silent is None else gates.silent[0]
        wanted = {self.depths[k]: k for k in active}
        total: Any = None
        for depth in range(max(wanted) + 1):
            if depth:
                x = self.blocks[depth - 1](x.clone() if depth - 1 in self.writes else x)
            if depth in wanted:
                k = wanted[depth]
                total = _added(total, x.detach() if k in silent else x, gates.weight[0, k])
        return cast(Tensor, total)


class Inputs(Placeholder):
    """Some of several tensors of one shape, summed.

    With keep=1 it is one choice, whose candidates are the positions 0, 1, ... Otherwise each input is a choice of its
    own, `NAME/0`, `NAME/1`, ..., with the candidates no and yes.

    Args:
        name: Name of the choice, or beginning of the names.
        number: How many inputs there are.
        keep: How many are taken; None: any number of them, at least one.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(self, name: str, number: int, keep: int | None = 1) -> None:
        super().__init__(name)
        check_integer(f"placeholder {name!r}: number", number, 1, 64)
        if keep is not None:
            check_integer(f"placeholder {name!r}: keep", keep, 1, number)
        self.number, self.keep = number, keep

    @property
    def own_choices(self) -> tuple[Choice, ...]:
        """One choice, or one for each input."""
        if self.keep == 1:
            return (Choice(self.name, tuple(map(str, range(self.number))), self.name),)
        return tuple(Choice(f"{self.name}/{i}", YES, self.name) for i in range(self.number))

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the candidates with which exactly `keep` inputs, or at least one, can still be taken."""
        if self.keep == 1:
            return tuple(range(self.number))
        taken, left = sum(prefix), self.number - len(prefix)
        if self.keep is None:
            return (1,) if not taken and left == 1 else (0, 1)
        if taken == self.keep:
            return (0,)
        return (1,) if self.keep - taken == left else (0, 1)

    def best(self, scores: Tensor) -> tuple[int, ...]:
        """Return the decisions with the largest scores: those with the largest score of yes."""
        if self.keep == 1:
            return super().best(scores)
        yes = scores[:, 1].tolist()
        order = sorted(range(self.number), key=lambda i: -yes[i])
        if self.keep is None:
            taken = {i for i in order if scores[i, 1] > scores[i, 0]} or {order[0]}
        else:
            taken = set(order[: self.keep])
        return tuple(int(i in taken) for i in range(self.number))

    def taken(self, decisions: tuple[int, ...]) -> tuple[int, ...]:
        """Return the positions of the inputs that are taken.

        Args:
            decisions: The decisions of this placeholder's choices.
        """
        return decisions if self.keep == 1 else tuple(i for i, yes in enumerate(decisions) if yes)

    def decided(self, decisions: tuple[int, ...]) -> nn.Module:
        """Return a module that sums the inputs that are taken."""
        return _Taken(self.name, self.number, self.taken(decisions))

    def forward(self, *inputs: Any) -> Tensor:
        """Return the sum of the inputs, each times its gate. They are given as one list or one after the other."""
        tensors = tensors_of(self.name, self.number, inputs)
        gates = self.now()
        total: Any = None
        for i, x in enumerate(tensors):
            row, k = (0, i) if self.keep == 1 else (i, 1)
            if gates.active is None or k in gates.active[row]:
                hushed = gates.silent is not None and k in gates.silent[row]
                total = _added(total, x.detach() if hushed else x, gates.weight[row, k])
        return cast(Tensor, torch.zeros_like(tensors[0]) if total is None else total)


class _Taken(nn.Module):
    """The sum of some of several tensors."""

    def __init__(self, name: str, number: int, taken: tuple[int, ...]) -> None:
        super().__init__()
        self.name, self.number, self.taken = name, number, taken

    def forward(self, *inputs: Any) -> Tensor:
        tensors = tensors_of(self.name, self.number, inputs)
        first, *others = (tensors[i] for i in self.taken)
        for x in others:
            first = first + x
        return first


def tensors_of(name: str, number: int, inputs: tuple[Any, ...]) -> Sequence[Tensor]:
    """Return the tensors that `Inputs` is called with.

    Args:
        name: Its name.
        number: How many it takes.
        inputs: What it is called with: the tensors, or a list of them.

    Raises:
        InputError: If they are not as many, or have different shapes.
    """
    tensors = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else inputs
    if len(tensors) != number:
        raise InputError(f"placeholder {name!r}: called with {len(tensors)} inputs; it has number={number}")
    shapes = {tuple(x.shape) for x in tensors}
    if len(shapes) > 1:
        raise InputError(f"placeholder {name!r}: inputs of different shapes, {' and '.join(map(str, sorted(shapes)))}")
    return tensors


def _copied(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


def _added(total: Any, found: Any, gate: Tensor) -> Any:
    """The total with another result times its gate, tensor by tensor; what is no tensor stays as it is."""

    def product(y: Any) -> Any:
        return y * gate.to(y.dtype) if isinstance(y, Tensor) else y

    if total is None:
        return tree_map(product, found)
    return tree_map(lambda t, y: t + product(y) if isinstance(y, Tensor) else y, total, found)
