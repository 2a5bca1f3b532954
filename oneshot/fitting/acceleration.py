"""torch.compile and CUDA graphs for a network, applied in place, and memory that the CPU keeps.

Parameters, state and calls of the network stay as they are.
"""

import ctypes
import logging
from collections.abc import Callable
from types import MethodType
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ..architecture import Gates
from ..errors import InputError, check_boolean

VARIANTS = 64  # compiled variants of a region: by size, and by the gradients that a step takes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGEST = 2**31 - 1  # bytes; an int in C
say = logging.getLogger(__name__).warning  # shown on the screen


def accelerate(net: nn.Module, compile: bool, cuda_graph: bool, twice: bool = False) -> None:
    """Apply the settings trainer.compile and trainer.cuda_graph to a network.

    Args:
        net: The network, changed in place.
        compile: Whether to compile its regions.
        cuda_graph: Whether to replay its steps as CUDA graphs.
        twice: Whether second derivatives will be taken.

    Raises:
        InputError: If a setting is not a boolean, or if the network cannot be compiled.
    """
    check_boolean("trainer.compile", compile)
    check_boolean("trainer.cuda_graph", cuda_graph)
    if compile and twice:
        raise InputError("trainer.compile=true: compiled code has no second derivatives; this architect needs them")
    if compile:
        compile_regions(net)
    if cuda_graph:
        capture_graphs(net)


def compile_regions(net: nn.Module, backend: str = "inductor") -> None:
    """Compile the modules of a network whose class has `region = True`. These are its cells; equal ones share code.

    Gates with active candidates run without compilation, because every path would be compiled anew.

    Args:
        net: The network, changed in place.
        backend: Name of a backend of torch.compile.

    Raises:
        InputError: If the network has no such module.
    """
    regions = [module for module in net.modules() if getattr(module, "region", False)]
    if not regions:
        raise InputError("trainer.compile=true: this space marks no module with `region = True`")
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
    for module in regions:
        module.forward = _Compiled(module, backend)


class _Compiled:
    """The forward of a module, compiled at its first call. A copy of the module gets its own code."""

    def __init__(self, module: nn.Module, backend: str) -> None:
        self.module, self.backend = module, backend
        self.compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        eager = type(self.module).forward
        if any(isinstance(a, Gates) and a.active is not None for a in arguments):
            return eager(self.module, *arguments)
        if self.compiled is None:
            self.compiled = torch.compile(MethodType(eager, self.module), dynamic=False, backend=self.backend)
        return self.compiled(*arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "compiled": None}


def capture_graphs(supernet: nn.Module) -> None:
    """Replay the forward and backward passes of a supernet in training as CUDA graphs, one for each kind of step.

    Some calls cannot be captured: those on another device, with active candidates, or with weights of their own as in
    second-order DARTS. They run as before, and a warning says this once.

    Args:
        supernet: The supernet, changed in place.
    """
    supernet.forward = _Graphed(supernet)


class _Graphed:
    """The forward of a supernet, replayed from graphs where that is possible."""

    said: ClassVar[set[str]] = set()  # reasons that were printed

    def __init__(self, supernet: nn.Module) -> None:
        self.supernet, self.eager = supernet, supernet.forward
        self.first = next(supernet.parameters())
        self.graphs: dict[tuple[Any, ...], Callable[[Tensor, Tensor], Tensor]] = {}

    def __call__(self, x: Tensor, gates: Gates) -> Tensor:
        if not (torch.is_grad_enabled() and self.supernet.training):
            return self.eager(x, gates)
        reason = self.reason(x, gates)
        if reason:
            if reason not in self.said:
                say(f"trainer.cuda_graph=true: {reason}; runs without a graph")
            self.said.add(reason)
            return self.eager(x, gates)
        key = self.key(x, gates)
        if key not in self.graphs:
            self.graphs[key] = self._capture(x, gates.weight)
        return self.graphs[key](x, gates.weight)

    def key(self, x: Tensor, gates: Gates) -> tuple[Any, ...]:
        """What distinguishes one graph from another: sizes, precision, and which gradients are taken."""
        return x.shape, x.dtype, gates.weight.requires_grad, self.first.requires_grad, _autocast()

    def reason(self, x: Tensor, gates: Gates) -> str:
        """Why this call cannot be captured; empty if it can."""
        if x.device.type != "cuda":
            return f"the device is {x.device.type}, not CUDA"
        if gates.active is not None:
            return "the architect draws candidates, so steps differ"
        if gates.cells is not None:
            return "the architect measures each cell by gates of its own"
        if next(self.supernet.parameters()) is not self.first:
            return "the weights are not the supernet's own, as in second-order DARTS"
        return ""

    def _capture(self, x: Tensor, weight: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        low = _autocast()
        sample = (x.clone(), weight.detach().clone().requires_grad_(weight.requires_grad))
        with torch.autocast("cuda", low, enabled=low is not None, cache_enabled=False):
            return cast(Any, torch.cuda.make_graphed_callables(_Positional(self.supernet, self.eager), sample))


def _autocast() -> torch.dtype | None:
    return torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None


class _Positional(nn.Module):
    """The supernet with its gates as a tensor. Its parameters are the supernet's."""

    def __init__(self, supernet: nn.Module, forward: Callable[[Tensor, Gates], Tensor]) -> None:
        super().__init__()
        self.supernet, self.compute = supernet, forward

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.compute(x, Gates(weight))


def keep_freed_memory() -> bool:
    """Let the C library keep freed memory for the next allocation (glibc only).

    Otherwise it returns large blocks to the system, and each new activation on the CPU costs page faults: a third of
    the time of a forward pass over batches of 32x32 images. The setting holds for the whole process. It works best
    before the first tensor is made.

    Returns:
        Whether the library accepted the setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(M_TRIM_THRESHOLD, LARGEST)) and any(mallopt(M_MMAP_THRESHOLD, n) for n in (LARGEST, 1 << 25))
