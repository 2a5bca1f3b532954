"""Any model of the user's own as a space: an `nn.Module` with the placeholders `Mixed`, `Inputs` and `Repeat`."""

import copy
import importlib
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, cast

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import UninitializedParameter

from ..architecture import Architecture, Choice, Gates
from ..errors import InputError, unknown
from .base import Images, ImageShape, SearchSpace, images_of, is_dense
from .flow import INPUT, OUTPUT, traced
from .placeholders import Inputs, Mixed, Placeholder, Repeat

EXAMPLE = "oneshot.spaces.examples.ResNet"
TRIED = 2  # architectures whose networks are compared with the supernet when a space is made
SAME = 1e-4  # largest relative difference between their results, in float32


class Member(NamedTuple):
    """A placeholder name of a model.

    Args:
        placeholders: The placeholders of this name, which share their decisions; by their path in the model.
        rows: Their rows of the space's choices.
    """

    placeholders: Mapping[str, Placeholder]
    rows: slice

    @property
    def first(self) -> Placeholder:
        """The first of them."""
        return next(iter(self.placeholders.values()))


class ModelSpace(SearchSpace):
    """The architectures of a model with placeholders: one for each way to decide them.

    The model is an ordinary `nn.Module` that makes its placeholders in `__init__` and calls them in `forward`. It is
    built anew for each supernet and each network. In the supernet every placeholder mixes all that it can be, and batch
    norms have no running statistics, as in the other spaces. In a network there are no placeholders left: each is
    replaced by what was decided.

    When the space is made, the model is built and run once, which finds how its placeholders are connected, and what
    does not work is refused: a placeholder that is not called, candidates whose results differ in shape, a network that
    computes something else than the supernet with the same decisions.

    Args:
        model: Makes the model: a class or a function, or its dotted name; by default an example. Of its arguments it
            gets `image_shape`, `classes` and `channels` (of an image), if it has arguments of these names, and those in
            `arguments`.
        image_shape: A data set with `image_shape` and `classes`, or the shape (channels, height, width). Not given with
            an example.
        classes: Number of logits; not given with a data set. With an example it is taken from the result.
        example: One input of the model, (1, ...), in place of `image_shape`.
        arguments: More arguments of the model.
        dense: Whether there are logits for each pixel, as for segmentation; None is what a data set needs.

    Raises:
        InputError: If the model cannot be built, has no placeholder, or does not work as one.
    """

    name = "model"
    trusted = False  # of a model of this package, which needs no checks: it is run with one architecture alone

    def __init__(
        self,
        model: Callable[..., nn.Module] | str = EXAMPLE,
        image_shape: ImageShape | Images | None = None,
        classes: int | None = None,
        example: Tensor | None = None,
        arguments: Mapping[str, Any] | None = None,
        dense: bool | None = None,
    ) -> None:
        self.model = _found(model) if isinstance(model, str) else model
        if not callable(self.model) or isinstance(self.model, nn.Module):
            raise InputError(f"space.model={model!r:.80}: must be a class or function that makes a model, or its name")
        if (image_shape is None) == (example is None):
            raise InputError("ModelSpace: give either an image shape with classes, a data set, or an example")
        self.dense = False if image_shape is None else is_dense(image_shape, dense)
        self.arguments = dict(arguments or {})
        self._writes: dict[str, set[int]] = {}  # of each placeholder, modules that write into their inputs
        self.classes: int | None = classes
        if image_shape is not None:
            shape, self.classes = images_of(image_shape, classes)
        else:
            assert example is not None
            if not isinstance(example, Tensor) or example.dim() < 2 or len(example) != 1:
                raise InputError("ModelSpace: example must be a tensor of one input, (1, ...)")
            shape = tuple(example.shape[1:])  # type: ignore[assignment]
        self.image_shape: tuple[int, ...] = shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._look(torch.rand(2, *shape) if example is None else example.expand(2, *shape))

    def _look(self, x: Tensor) -> None:
        """Find the placeholders and how they are connected, and check that the model works."""
        net = self._built()
        members = members_of(net)
        self.choices: tuple[Choice, ...] = tuple(c for m in members.values() for c in m.first.own_choices)
        self._members = members
        self._rows = [(m.first, m.rows.start) for m in members.values() for _ in m.first.own_choices]
        self.settings = {"model": f"{self.model.__module__}.{getattr(self.model, '__qualname__', '')}"}
        supernet = _Supernet(without_running_statistics(net), members)
        gates = Gates(self.mask / self.mask.sum(1, keepdim=True))
        if self.trusted:
            some = self.sample(random.Random(0))
            gates = Gates(self.one_hot(some), tuple((k,) for k in some.decisions))
        self.calls, logits = traced(supernet, net, x, gates)
        placed = {path: placeholder for m in members.values() for path, placeholder in m.placeholders.items()}
        self._writes = {path: p.writes for path, p in placed.items() if isinstance(p, Mixed | Repeat)}
        called = {call.path for call in self.calls if call.name}
        for name, member in members.items():
            for path in member.placeholders:
                if path not in called:
                    raise InputError(f"placeholder {name!r}: the model never calls it in evaluation ({path})")
        if not isinstance(logits, Tensor) or logits.dim() != (4 if self.dense else 2) or len(logits) != len(x):
            shown = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise InputError(f"model: gives {shown} for {len(x)} inputs; must be logits (inputs, classes)")
        if self.classes is not None and logits.shape[1] != self.classes:
            raise InputError(f"model: gives {logits.shape[1]} logits; the data has {self.classes} classes")
        self.classes = logits.shape[1]
        if not self.trusted:
            self._train(supernet, x[:1].expand(3, *x.shape[1:]), gates)
            rng = random.Random(0)
            for _ in range(TRIED):
                self._compare(supernet, self.sample(rng), x)
        net.to("meta")  # what the space keeps of it are its placeholders, without their weights

    def _train(self, supernet: nn.Module, x: Tensor, gates: Gates) -> None:
        """Check that a pass with gradients in training works, with another number of inputs."""
        try:
            logits = supernet.train()(x, gates)
            if not isinstance(logits, Tensor) or len(logits) != len(x):
                raise InputError(f"gives {type(logits).__name__}, must give logits (inputs, classes) in training too")
            logits.sum().backward()
        except Exception as error:
            reason = str(error) if isinstance(error, InputError) else _reason(error)
            raise InputError(f"model: a first pass in training fails: {reason}") from error
        supernet.zero_grad()

    def _compare(self, supernet: nn.Module, architecture: Architecture, x: Tensor) -> None:
        """Check that a network computes what the supernet does with the same decisions."""
        gates = Gates(self.one_hot(architecture), tuple((k,) for k in architecture.decisions))
        network = self.network(architecture, inherit=supernet)
        results = []
        for net, more in ((supernet, (gates,)), (supernet, (gates,)), (network, ())):  # twice: what it kept shows
            torch.manual_seed(0)
            with torch.no_grad():
                results.append(net.eval()(x, *more))
        _, mixed, alone = results
        if not torch.allclose(mixed, alone, rtol=SAME, atol=SAME * float(alone.abs().max())):
            raise InputError(
                f"model: the network of {self.notation(architecture)} computes something else than the supernet with "
                "these decisions; does the model keep something between two calls, or write into a tensor in place?"
            )

    def _built(self) -> nn.Module:
        known: dict[str, Any] = {"image_shape": self.image_shape, "channels": self.image_shape[0]}
        known |= {} if self.classes is None else {"classes": self.classes}
        try:
            takes = inspect.signature(self.model).parameters
        except (TypeError, ValueError):
            takes = {}  # type: ignore[assignment]
        given = {name: value for name, value in known.items() if name in takes and name not in self.arguments}
        device = torch.get_default_device()  # meta where only sizes count, which not every model can be built on
        try:
            with torch.random.fork_rng(devices=[], enabled=device.type == "meta"), torch.device("cpu"):
                net = self.model(**given, **self.arguments)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"model: cannot be built: {_reason(error)}") from error
        if not isinstance(net, nn.Module):
            raise InputError(f"model: {self.model!r:.80} gives {type(net).__name__}, must give a torch.nn.Module")
        if any(isinstance(p, UninitializedParameter) for p in net.parameters()):
            raise InputError("model: has lazy modules, whose weights have no shape yet; give their sizes")
        for path, writes in self._writes.items():
            cast(Mixed, net.get_submodule(path)).writes = writes
        return net if device.type == "cpu" else net.to(device)

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the candidates that the next choice may take; see `SearchSpace.allowed`."""
        placeholder, start = self._rows[len(prefix)]
        return placeholder.allowed(prefix[start:])

    def supernet(self) -> nn.Module:
        """Return a new supernet: forward(x, gates) -> logits (batch, classes)."""
        net = without_running_statistics(self._built())
        return _Supernet(net, members_of(net))

    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> nn.Module:
        """Return the discrete network of an architecture; see `SearchSpace.network`."""
        if architecture.space != self.fingerprint:
            raise InputError(f"architecture of space {architecture.space!r}: this space is {self.fingerprint!r}")
        net = self._built() if inherit is None else inherit.net
        put: dict[int, nn.Module] = {}
        for member in members_of(net).values():  # type: ignore[arg-type]
            for placeholder in member.placeholders.values():
                put[id(placeholder)] = placeholder.decided(architecture.decisions[member.rows])
        if inherit is not None:
            copies: dict[int, Any] = {}
            for key, module in put.items():  # first, so that what was not decided is not copied
                copies[key] = copy.deepcopy(module, copies)
            return copy.deepcopy(net, copies)  # type: ignore[return-value]
        if id(net) in put:
            return put[id(net)]
        for module in list(net.modules()):  # type: ignore[union-attr]
            for name, child in module._modules.items():
                if id(child) in put:
                    module._modules[name] = put[id(child)]
        return net  # type: ignore[return-value]

    def discretize(self, scores: Tensor) -> Architecture:
        """Return the decisions with the largest probabilities. Of equal ones the earlier one wins.

        `Inputs` with keep=k takes the k inputs with the largest probability of yes; with keep=None those whose
        probability of yes is above that of no, or else the best one.
        """
        if not bool(scores.isfinite().all()):
            raise InputError("scores are not finite: there is nothing to discretize")
        table = scores.detach().cpu().double().masked_fill(~self.decidable, -1.0)
        decisions: tuple[int, ...] = ()
        for member in self._members.values():
            decisions += member.first.best(table[member.rows])
        return self.architecture(decisions)

    def notation(self, architecture: Architecture) -> str:
        """Return NAME=CANDIDATE for each choice."""
        named = zip(self.choices, architecture.decisions, strict=True)
        return " ".join(f"{choice.name}={choice.candidates[k]}" for choice, k in named)

    def from_notation(self, text: str) -> Architecture:
        """Return the architecture of a text as `notation` gives it: NAME=CANDIDATE for each choice."""
        given = dict(word.partition("=")[::2] for word in text.split())
        names = [choice.name for choice in self.choices]
        for name in given:
            if name not in names:
                raise unknown("choice", name[:60], names)
        if missing := [name for name in names if name not in given]:
            raise InputError(f"architecture {text[:80]!r}: says nothing of {', '.join(missing)}")
        return super().from_notation("|".join(given[name] for name in names))

    def graphs(self, architecture: Architecture) -> dict[str, nx.DiGraph]:
        """Return one graph. Its nodes are the calls of placeholders, and sums and concatenations of their results.

        The edge into a call has what its placeholder became.
        """
        graph = nx.DiGraph()
        graph.add_node(INPUT)
        for call in self.calls:
            if not call.name:
                graph.add_edges_from(((s, call.node) for s in sorted(set().union(*call.sources))), operation="")
                continue
            placeholder, rows = self._members[call.name].first, self._members[call.name].rows
            decisions = architecture.decisions[rows]
            label, sources = "", sorted(set().union(*call.sources))
            if isinstance(placeholder, Inputs):
                sources = sorted(set().union(*(call.sources[i] for i in placeholder.taken(decisions))))
            elif isinstance(placeholder, Repeat):
                depth = placeholder.depths[decisions[0]]
                label = "1 block" if depth == 1 else f"{depth} blocks"
            else:
                label = self.choices[rows.start].candidates[decisions[0]]
            for source in sources or [INPUT]:
                graph.add_edge(source, call.node, operation=label)
        for source in sorted(self.calls.ends) or [INPUT]:
            graph.add_edge(source, OUTPUT, operation="")
        return {"model": graph}

    def ends(self) -> dict[str, tuple[set[str], set[str]]]:
        """Return the input and the output of the model."""
        return {"model": ({INPUT}, {OUTPUT})}

    def operations(self) -> Iterator[tuple[int, int, nn.Module, tuple[int, int, int]]]:
        """Yield every candidate at every call of its placeholder; see `SearchSpace.operations`.

        The weights of one that is called several times come once.
        """
        device = torch.get_default_device()
        members = {path: p for m in members_of(self._built()).values() for path, p in m.placeholders.items()}
        seen: set[str] = set()
        for call in self.calls:
            if not call.name or isinstance(members[call.path], Inputs):
                continue  # sums cost nothing
            placeholder, start = members[call.path], self._members[call.name].rows.start
            if len(call.shapes) != 1 or call.shapes[0] is None:
                raise InputError(
                    f"placeholder {call.name!r} takes {len(call.shapes)} inputs that are not one tensor, so its "
                    "candidates have no size of their own"
                )
            for k in range(len(placeholder.own_choices[0].candidates)):
                module = copy.deepcopy(placeholder.decided((k,))).to(device, torch.get_default_dtype())
                yield start, k, _Again(module) if call.path in seen else module, call.shapes[0]  # type: ignore[misc]
            seen.add(call.path)

    def sizes(self) -> Tensor:
        """Return how large each candidate is; see `SearchSpace.sizes`. An input more counts half a parameter."""
        return super().sizes() + self._more_inputs()

    def parameters(self) -> Tensor:
        """Return the parameters of each candidate; see `SearchSpace.parameters`. An input more counts half of one."""
        table = self._more_inputs()
        for member in self._members.values():
            for placeholder in member.placeholders.values():  # those of one name are decided together
                for k in range(0 if isinstance(placeholder, Inputs) else len(placeholder.own_choices[0].candidates)):
                    table[member.rows.start, k] += sum(p.numel() for p in placeholder.decided((k,)).parameters())
        return table

    def _more_inputs(self) -> Tensor:
        """1/2 for each `yes` of an `Inputs`, whose sum has no size, so that the largest architecture has all."""
        table = torch.zeros(self.shape, dtype=torch.float64)
        for member in self._members.values():
            if isinstance(member.first, Inputs) and member.first.keep != 1:
                table[member.rows, 1] = 0.5
        return table

    def branches(self, supernet: nn.Module) -> Iterator[tuple[int, int, nn.Module]]:
        """Yield every candidate of every `Mixed`; see `SearchSpace.branches`.

        Raises:
            InputError: If the model has a `Repeat`, whose depths share their weights.
        """
        members = members_of(supernet.net)  # type: ignore[arg-type]
        for name, member in members.items():
            for placeholder in member.placeholders.values():
                if isinstance(placeholder, Repeat):
                    raise InputError(
                        f"space {self.name!r} does not say where its supernet has its candidates (`branches`): the "
                        f"depths of placeholder {name!r} share their weights"
                    )
                if isinstance(placeholder, Mixed):
                    yield from ((member.rows.start, k, module) for k, module in enumerate(placeholder.candidates))


class _Supernet(nn.Module):
    """The model with its placeholders, and the gates of each pass."""

    def __init__(self, net: nn.Module, members: Mapping[str, Member]) -> None:
        super().__init__()
        self.net = net
        self.rows = {path: member.rows for member in members.values() for path in member.placeholders}

    def forward(self, x: Tensor, gates: Gates) -> Any:
        placeholders = [(self.net.get_submodule(path), rows) for path, rows in self.rows.items()]
        for placeholder, rows in placeholders:
            placeholder.gates = gates.rows(rows)  # type: ignore[assignment]
        try:
            return self.net(x)
        finally:
            for placeholder, _ in placeholders:
                placeholder.gates = None  # type: ignore[assignment]


class _Again(nn.Module):
    """A module at a second call: its computation, without its weights, which count once."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.again = module

    def forward(self, *inputs: Any) -> Any:
        return self.again(*inputs)

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield nothing."""
        return iter(())


def members_of(net: nn.Module) -> dict[str, Member]:
    """Return the placeholders of a model by their names, in the order of `net.modules()`.

    Raises:
        InputError: If there is none, two of one name have other candidates, or one is inside another.
    """
    groups: dict[str, dict[str, Placeholder]] = {}
    inside: set[int] = set()
    for path, module in net.named_modules():
        if not isinstance(module, Placeholder):
            continue
        if id(module) in inside:
            raise InputError(f"placeholder {module.name!r} is inside another placeholder ({path}): that cannot be")
        inside |= {id(m) for m in module.modules() if m is not module}
        same = groups.setdefault(module.name, {})
        first = next(iter(same.values()), module)
        if first.own_choices != module.own_choices or type(first) is not type(module):
            raise InputError(f"placeholder {module.name!r}: two of this name have different candidates")
        same[path] = module
    if not groups:
        raise InputError("model: has no placeholder (Mixed, Inputs or Repeat) in its __init__, so nothing to search")
    members, start = {}, 0
    for name, same in groups.items():
        end = start + len(next(iter(same.values())).own_choices)
        members[name] = Member(same, slice(start, end))
        start = end
    return members


def without_running_statistics(net: nn.Module) -> nn.Module:
    """Let every batch norm of a model use the statistics of the batch, in evaluation too.

    Args:
        net: The model, changed in place.
    """
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return net


def _found(name: str) -> Any:
    """What has a dotted name."""
    module, dot, attribute = name.rpartition(".")
    try:
        if not dot:
            raise ValueError("no module")
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # the module may do anything
        reason = f"cannot be imported, must be like MODULE.CLASS ({_reason(error)})"
        raise InputError(f"space.model={name}: {reason}") from None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
