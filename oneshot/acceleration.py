"""torch.compile and CUDA graphs for a network, put in place: parameters, state and calls stay as they are."""

import logging
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from oneshot.architecture import Gates
from oneshot.errors import InputError, check_boolean

VARIANTS = 64  # of one region: sizes, and which gradients a step takes
say = logging.getLogger(__name__).warning  # reaches the screen


def accelerate(net: nn.Module, compile: bool, cuda_graph: bool, twice: bool = False) -> None:
    """What the settings trainer.compile and trainer.cuda_graph ask for. twice: second derivatives will be taken.

    Raises InputError for anything but booleans, and where the network cannot be compiled.
    """
    check_boolean("trainer.compile", compile)
    check_boolean("trainer.cuda_graph", cuda_graph)
    if compile and twice:
        raise InputError("trainer.compile=true: compiled code has no second derivatives, which this architect takes")
    if compile:
        compile_regions(net)
    if cuda_graph:
        capture_graphs(net)


def compile_regions(net: nn.Module, backend: str = "inductor") -> None:
    """Compile the modules of a network whose class has `region = True`: its cells, so those that are alike share code.

    Gates with active candidates, whose every path would be compiled anew, run as before.
    Raises InputError where the network has no such module.
    """
    regions = [module for module in net.modules() if getattr(module, "region", False)]
    if not regions:
        raise InputError("trainer.compile=true: this space has no module with `region = True` to compile")
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, VARIANTS)
    for module in regions:
        module.forward = _compiled(module.forward, backend)


def _compiled(eager: Callable[..., Any], backend: str) -> Callable[..., Any]:
    compiled = torch.compile(eager, dynamic=False, backend=backend)

    def forward(*arguments: Any) -> Any:
        paths = any(isinstance(a, Gates) and a.active is not None for a in arguments)
        return (eager if paths else compiled)(*arguments)

    return forward


def capture_graphs(supernet: nn.Module) -> None:
    """Replay forward and backward of a supernet in training as CUDA graphs, one for each kind of step.

    What cannot be captured says so once and runs as before: another device, gates with active candidates, and
    the passes of second-order DARTS, which bring weights of their own.
    """
    supernet.forward = _Graphed(supernet)


class _Graphed:
    def __init__(self, supernet: nn.Module) -> None:
        self.supernet, self.eager = supernet, supernet.forward
        self.first = next(supernet.parameters())
        self.graphs: dict[tuple[Any, ...], Callable[[Tensor, Tensor], Tensor]] = {}
        self.said: set[str] = set()

    def __call__(self, x: Tensor, gates: Gates) -> Tensor:
        if not (torch.is_grad_enabled() and self.supernet.training):
            return self.eager(x, gates)
        first = next(self.supernet.parameters())
        reason = self._reason(x, gates, first)
        if reason:
            if reason not in self.said:
                say(f"trainer.cuda_graph=true: {reason}; runs without a graph")
            self.said.add(reason)
            return self.eager(x, gates)
        low = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
        key = (x.shape, x.dtype, gates.weight.requires_grad, first.requires_grad, low)
        if key not in self.graphs:
            self.graphs[key] = self._capture(x, gates.weight, low)
        return self.graphs[key](x, gates.weight)

    def _reason(self, x: Tensor, gates: Gates, first: Tensor) -> str:
        """Why this call cannot be captured; empty where it can."""
        if x.device.type != "cuda":
            return f"the device is {x.device.type}, not CUDA"
        if gates.active is not None:
            return "the architect draws candidates, so a step is not always the same"
        return "" if first is self.first else "the weights are not the supernet's own, as in second-order DARTS"

    def _capture(self, x: Tensor, weight: Tensor, low: torch.dtype | None) -> Callable[[Tensor, Tensor], Tensor]:
        sample = (x.clone(), weight.detach().clone().requires_grad_(weight.requires_grad))
        with torch.autocast("cuda", low, enabled=low is not None, cache_enabled=False):
            return cast(Any, torch.cuda.make_graphed_callables(_Positional(self.supernet, self.eager), sample))


class _Positional(nn.Module):
    """The supernet with gates that are a tensor; its parameters are the supernet's."""

    def __init__(self, supernet: nn.Module, forward: Callable[[Tensor, Gates], Tensor]) -> None:
        super().__init__()
        self.supernet, self.compute = supernet, forward

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.compute(x, Gates(weight))
