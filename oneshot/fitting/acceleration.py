"""The settings trainer.compile and trainer.cuda_graph, applied to a network in place, and memory that the CPU keeps.

Parameters, state and calls of the network stay as they are.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import nn

from ..architecture import Gates
from ..errors import InputError, check_boolean
from .graphs import capture_graphs

VARIANTS = 64  # compiled variants of a region: by size, and by the gradients that a step takes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
LARGEST = 2**31 - 1  # bytes; an int in C
AUTO = "auto"


def accelerate(net: nn.Module, compile: bool, cuda_graph: bool | str, twice: bool = False) -> None:
    """Apply the settings trainer.compile and trainer.cuda_graph to a network.

    Args:
        net: The network, changed in place.
        compile: Whether to compile its regions.
        cuda_graph: Whether to replay its steps as CUDA graphs; `"auto"`: on a GPU, where that is possible.
        twice: Whether second derivatives will be taken.

    Raises:
        InputError: If a setting is not one of these, the network cannot be compiled, or second derivatives are needed.
    """
    check_boolean("trainer.compile", compile)
    if not (isinstance(cuda_graph, bool) or cuda_graph == AUTO):
        raise InputError(f"trainer.cuda_graph={cuda_graph!r}: must be auto, true or false")
    for name, value, code in (("compile", compile, "compiled code"), ("cuda_graph", cuda_graph is True, "a graph")):
        if value and twice:
            raise InputError(f"trainer.{name}=true: {code} has no second derivatives; this architect needs them")
    if compile:
        compile_regions(net)
    if cuda_graph is True or cuda_graph == AUTO and torch.cuda.is_available() and not (twice or compile):
        capture_graphs(net, silent=cuda_graph == AUTO)


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


@contextmanager
def eager(net: nn.Module) -> Iterator[None]:
    """Let a network run without compiled code and CUDA graphs inside, which have no second derivatives.

    Args:
        net: The network. Afterwards it is accelerated as before.
    """
    found: list[tuple[nn.Module, Any]] = [(module, vars(module).get("forward")) for module in net.modules()]
    changed = [(module, forward) for module, forward in found if hasattr(forward, "eager")]  # the one from before
    for module, forward in changed:
        module.forward = forward.eager
    try:
        yield
    finally:
        for module, forward in changed:
            module.forward = forward


class _Compiled:
    """The forward of a module, compiled at its first call. A copy of the module gets its own code."""

    def __init__(self, module: nn.Module, backend: str) -> None:
        self.module, self.backend = module, backend
        self.compiled: Callable[..., Any] | None = None

    @property
    def eager(self) -> Callable[..., Any]:
        """The forward without compilation."""
        return MethodType(type(self.module).forward, self.module)

    def __call__(self, *arguments: Any) -> Any:
        if any(isinstance(a, Gates) and a.active is not None for a in arguments):
            return self.eager(*arguments)
        if self.compiled is None:
            self.compiled = torch.compile(self.eager, dynamic=False, backend=self.backend)
        return self.compiled(*arguments)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "compiled": None}


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
