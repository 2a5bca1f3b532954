"""Forward and backward passes of a supernet, replayed as CUDA graphs.

A step of a supernet is thousands of small kernels, and a CPU starts them more slowly than a GPU runs them. A graph
starts all of them at once; the numbers are the same.
"""

import logging
import warnings
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributed import is_available, is_initialized

from ..architecture import Gates

say = logging.getLogger(__name__).warning  # shown on the screen
SAME = {None: 1e-3, torch.bfloat16: 2e-2, torch.float16: 1e-2}  # relative difference of rounding, by the autocast
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def capture_graphs(supernet: nn.Module, silent: bool = False) -> None:
    """Replay the forward and backward passes of a supernet in training as CUDA graphs, one for each kind of step.

    Some calls cannot be captured: those on another device, with active candidates, with gates of each cell, with
    weights of their own as in second-order DARTS, with hooks, with cells that are computed again in the backward pass,
    or in one of several processes. They run as before. So does a forward pass whose predecessor still waits for its
    backward pass.

    Args:
        supernet: The supernet, changed in place.
        silent: If false, a warning says once why calls run as before. A capture that fails is always said.
    """
    supernet.forward = _Graphed(supernet, silent)


class _Graphed:
    """The forward of a supernet, replayed from graphs where that is possible."""

    said: ClassVar[set[str]] = set()  # reasons that were printed

    def __init__(self, supernet: nn.Module, silent: bool) -> None:
        self.supernet, self.eager, self.silent = supernet, supernet.forward, silent
        self.setting = "auto" if silent else "true"
        self.first = next(supernet.parameters())
        self.failure = ""  # why a graph could not be captured
        self.modules = list(supernet.modules())
        self.parts: list[tuple[dict[str, Any], str, Any]] = []  # modules and weights when the graphs were captured
        self.graphs: dict[tuple[Any, ...], _Graph] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "graphs": {}, "parts": []}  # a copy of the supernet captures its own

    def __call__(self, x: Tensor, gates: Gates) -> Tensor:
        if not (torch.is_grad_enabled() and self.supernet.training):
            return self.eager(x, gates)
        if reason := self.reason(x, gates):
            if not self.silent and reason not in self.said:
                say(f"trainer.cuda_graph={self.setting}: {reason}; runs without a graph")
                self.said.add(reason)
            return self.eager(x, gates)
        key = self.key(x, gates)
        if key not in self.graphs:
            try:
                self.graphs[key] = _Graph(self.supernet, self.eager, x, gates.weight)
            except RuntimeError as error:  # a space of one's own that waits for the device, say
                self.failure = f"a step cannot be captured ({str(error).splitlines()[0]})"
                self.silent = False
                return self(x, gates)
        graph = self.graphs[key]
        return self.eager(x, gates) if graph.waits else graph(x, gates.weight)

    def key(self, x: Tensor, gates: Gates) -> tuple[Any, ...]:
        """What distinguishes one graph from another: sizes, precision, and which gradients are taken."""
        taken = tuple(part.requires_grad for _, _, part in self.parts if isinstance(part, nn.Parameter))
        return x.shape, x.dtype, gates.weight.requires_grad, taken, _autocast()

    def reason(self, x: Tensor, gates: Gates) -> str:
        """Why this call cannot be replayed; empty if it can."""
        if x.device.type != "cuda":
            return f"the device is {x.device.type}, not CUDA"
        if gates.active is not None or gates.silent is not None:
            return "the architect draws candidates, so steps differ"
        if gates.cells is not None:
            return "the architect measures each cell by gates of its own"
        if next(self.supernet.parameters()) is not self.first:
            return "the weights are not the supernet's own, as in second-order DARTS"
        if getattr(self.supernet, "recompute", False):
            return "space.recompute=true computes cells in the backward pass"
        if is_available() and is_initialized():
            return "several processes share a batch"
        if not self._unchanged():
            return "a module of the supernet has hooks"
        return self.failure

    def _unchanged(self) -> bool:
        """Whether no module has hooks. If a module or a weight was replaced since the capture, graphs are dropped."""
        if not self.parts or not all(inside.get(name) is part for inside, name, part in self.parts):
            self.graphs, self.modules = {}, list(self.supernet.modules())
            inside = [held for module in self.modules for held in (module._modules, module._parameters)]
            self.parts = [(held, name, part) for held in inside for name, part in held.items()]
        return not any(getattr(module, hooks) for module in self.modules[1:] for hooks in HOOKS)


class _Graph:
    """One kind of step, captured. Its results are copies, so that the next replay does not change them.

    The first replay is compared with a step without a graph.

    Args:
        supernet: The supernet.
        forward: What is captured: (images, gates) -> logits, with the weights of the supernet.
        x: Images of the right size, type and device.
        weight: Gates, likewise.

    Raises:
        RuntimeError: If the step cannot be captured, or gives other numbers.
    """

    def __init__(
        self, supernet: nn.Module, forward: Callable[[Tensor, Gates], Tensor], x: Tensor, weight: Tensor
    ) -> None:
        self.moving = {name: p for name, p in supernet.named_parameters() if p.requires_grad}
        self.latest: Callable[[], _Pass | None] = lambda: None  # the last replay, as long as autograd remembers it
        low, net = _autocast(), _Positional(supernet, forward)

        def compute(x: Tensor, weight: Tensor, *moving: Tensor) -> Tensor:
            own = dict(zip((f"supernet.{name}" for name in self.moving), moving, strict=True))
            return torch.func.functional_call(net, own, (x, weight))

        # The captured step has leaves of its own: so its stream is none of the business of the real ones
        leaves = (p.detach().requires_grad_() for p in self.moving.values())
        sample = (x.clone(), weight.detach().clone().requires_grad_(weight.requires_grad), *leaves)
        with (
            torch.random.fork_rng([x.device]),
            torch.autocast("cuda", low, enabled=low is not None, cache_enabled=False),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "Attempting to run cuBLAS")  # a thread's first time on a device
            warnings.filterwarnings("ignore", "The AccumulateGrad node's stream")  # that of torch's trial runs
            self.replay = cast(Any, torch.cuda.make_graphed_callables(compute, sample))
            self._compare(forward, x, weight)

    def _compare(self, forward: Callable[[Tensor, Gates], Tensor], x: Tensor, weight: Tensor) -> None:
        """Compare logits and gradients with those without a graph; what is drawn inside is drawn alike."""
        moving = [weight] * weight.requires_grad + list(self.moving.values())
        results = []
        for compute in (self, lambda x, weight: forward(x, Gates(weight))):
            torch.manual_seed(0)
            logits = compute(x, weight)
            gradients = torch.autograd.grad(logits, moving, torch.ones_like(logits)) if moving else ()
            results.append(torch.cat([tensor.detach().flatten().double() for tensor in (logits, *gradients)]))
        ours, expected = results
        if not (ours - expected).norm() <= SAME[_autocast()] * expected.norm():
            raise RuntimeError("its numbers are not those of a step without a graph")

    @property
    def waits(self) -> bool:
        """Whether the last replay may still get its backward pass, which another replay would spoil."""
        latest = self.latest()
        return latest is not None and not latest.done

    def __call__(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the logits of these images with these gates."""
        now = _Pass()
        moving = _GradientsCopied.apply(weight, *self.moving.values())
        self.latest = weakref.ref(now)
        return _Copied.apply(self.replay(x, *moving), self, now)


class _Pass:
    """A replay that autograd remembers, until it forgets it."""

    done = False  # whether it has had a backward pass


class _Copied(torch.autograd.Function):
    """A copy of the logits, which goes back only as long as its graph has not been replayed again."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, graph: _Graph, now: _Pass) -> Tensor:
        ctx.graph, ctx.now = graph, now
        return logits.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.graph.latest() is not ctx.now:
            raise RuntimeError("a second backward pass after the next forward pass; use trainer.cuda_graph=false")
        ctx.now.done = True
        return gradient, None, None


class _GradientsCopied(torch.autograd.Function):
    """Tensors as they are, and copies of their gradients: those of a graph are its own memory."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        needed = [g for g, needs in zip(gradients, ctx.needs_input_grad, strict=True) if needs]
        copies = iter(torch._foreach_mul(needed, 1.0))
        return tuple(next(copies) if needs else None for needs in ctx.needs_input_grad)


class _Positional(nn.Module):
    """The supernet with its gates as a tensor. Its parameters are the supernet's."""

    def __init__(self, supernet: nn.Module, forward: Callable[[Tensor, Gates], Tensor]) -> None:
        super().__init__()
        self.supernet, self.compute = supernet, forward

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.compute(x, Gates(weight))


def _autocast() -> torch.dtype | None:
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
