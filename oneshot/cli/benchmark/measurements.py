"""Measure a supernet's steps, memory and operations, and compare them with the papers' loops (naive.py)."""

import copy
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from ...architects import Architect
from ...architects.base import Step, frozen
from ...architecture import Gates
from ...data import Augmentation, ImageData, LabelledImages, Splits, digits
from ...errors import InputError, check_integer
from ...fitting.acceleration import accelerate
from ...fitting.updates import Components, architecture_step, joint_step, weight_step
from ...search import Schedule, Search
from ...spaces import NASBench201, SearchSpace
from ..composition import inside
from ..objects import architect_for, make
from .bare import milliseconds_a_checkpoint, milliseconds_an_update
from .naive import naive
from .profiling import Alive, Operations

CLASSES = 10


class Figure(NamedTuple):
    """One measurement.

    Args:
        name: What is measured.
        unit: Its unit.
        ours: The value of this package.
        reference: The value of the reference; None if there is none.
        ratio: reference / ours; None without a reference. Of several processes the median, as `ours` and `reference`.
        low: The lowest ratio of several processes; None of one.
        high: The highest.
    """

    name: str
    unit: str
    ours: float
    reference: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def beside(name: str, unit: str, ours: float, reference: float) -> Figure:
    """Return a measurement with its reference."""
    return Figure(name, unit, ours, reference, reference / ours)


class Pair(NamedTuple):
    """Two calls that do the same work. Each gets the number of the round."""

    ours: Callable[[int], object]
    reference: Callable[[int], object]


class Benchmark:
    """All measurements of one configuration. Both sides start from the same weights and take the same batches.

    Args:
        config: The settings of `oneshot benchmark`.
        device: Where to compute.

    Raises:
        InputError: If a setting is out of range.
    """

    def __init__(self, config: DictConfig, device: torch.device) -> None:
        for name, low in (("size", 8), ("batch", 2), ("rounds", 1), ("warmup", 0)):
            check_integer(name, config[name], low, 10_000)
        if not isinstance(config.architects, ListConfig) or not config.architects:
            raise InputError(f"architects={config.architects}: must be a list of at least one architect")
        if config.trainer.precision == "64-true":
            raise InputError("trainer.precision=64-true: must be auto, 32-true or bf16-mixed here")
        self.config, self.device = config, device
        self.space = self.space_with()
        self.weight_part, self.architecture_part = enlarged_digits(config.size, config.batch).split()
        self.weight_part.to(device)
        self.architecture_part.to(device)
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported()
        self.low = config.trainer.precision == "bf16-mixed" or (config.trainer.precision == "auto" and on_gpu)

    def space_with(self, **settings: Any) -> SearchSpace:
        """Return the configured space with these settings changed."""
        shape = (3, self.config.size, self.config.size)
        space = self.config.space.copy()
        space.update(settings)
        return make(space, image_shape=shape, classes=CLASSES)

    def figures(self, console: Console) -> Iterator[Figure]:
        """Yield all measurements. The console shows what is measured."""
        update_ms = 0.0
        for name in self.config.architects:
            with console.status(f"steps of {name}"):
                figures = list(self.steps(name))
            yield from figures
            steps = [figure.ours for figure in figures if figure.name.endswith(" step")]
            update_ms = update_ms or statistics.mean(steps)
        for what, measure in (
            ("memory and operations", self.memory_and_operations),
            ("plans", self.plans),
            ("recomputation", self.recomputation),
            ("one path", self.single_path),
            ("NAS-Bench-201", self.small_cells),
        ):
            with console.status(what):
                yield from measure()
        with console.status("batches, Lightning, checkpoints"):
            yield from self.around(update_ms)

    def steps(self, name: str) -> Iterator[Figure]:
        """Yield the milliseconds of an architect's steps, the memory of the larger one, and the images per second."""
        settings = inside("search", [f"architect={name}"])
        schedule: Schedule = make(settings.schedule)
        k = settings.space.get("partial_channels", 1)  # set by a technique
        torch.manual_seed(self.config.seed)
        supernet = (self.space if k == 1 else self.space_with(partial_channels=k)).supernet().to(self.device)
        ours, reference = self.parts(settings, self.ours(supernet)), self.parts(settings, naive(supernet))
        kinds = ["weight", "architecture"] if ours.moving else ["weight"]
        kinds = ["joint"] if schedule.joint else kinds
        times = self.interleaved(
            {k: Pair(self.update(ours, k, self.autocast), self.update(reference, k)) for k in kinds}
        )
        for kind, pair in times.items():
            yield beside(f"{name}: {kind} step", "ms", *pair)
        totals = [sum(pair[side] for pair in times.values()) for side in (0, 1)]
        if len(kinds) > 1:
            yield beside(f"{name}: both steps", "ms", *totals)
        memory = [
            max(self.peak(self.update(parts, kind, precision)) for kind in kinds)
            for parts, precision in ((ours, self.autocast), (reference, nullcontext))
        ]
        yield beside(f"{name}: memory", "MB", *(value / 1e6 for value in memory))
        images = 1000 * self.config.batch * len(kinds)
        yield Figure(f"{name}: images", "1/s", images / totals[0], images / totals[1])

    def supernet(self) -> nn.Module:
        """Return a supernet of the configured space, with the weights of the seed."""
        torch.manual_seed(self.config.seed)
        return self.space.supernet().to(self.device)

    def ours(self, supernet: nn.Module) -> nn.Module:
        """Return a copy of the supernet as a search computes it."""
        net = copy.deepcopy(supernet).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        accelerate(net, self.config.trainer.compile, self.config.trainer.cuda_graph)
        return net

    def parts(self, settings: DictConfig, supernet: nn.Module) -> Components:
        """Return what an update needs, from the settings of a search and a supernet."""
        torch.manual_seed(self.config.seed)
        criterion = make(settings.criterion)
        architect: Architect = architect_for(settings, self.space, criterion).to(self.device)
        moving = [architect.optimizer(architect.parameters())] if architect.optimizer else []
        weights = make(settings.weights.optimizer)(supernet.parameters())
        return Components(supernet, architect, criterion, weights, moving, settings.weights.gradient_clip)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of the configured precision."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.low else nullcontext()

    def update(
        self, parts: Components, kind: str, precision: Callable[[], AbstractContextManager[object]] = nullcontext
    ) -> Callable[[int], object]:
        """Return a call that makes one step with the batches and draws of a round.

        Args:
            parts: What an update needs.
            kind: "weight", "architecture" or "joint".
            precision: Returns the context of the step.
        """

        def run(n: int) -> None:
            step = Step(self.config.seed, n, self.config.warmup + self.config.rounds)
            train, valid = self.weight_part.batch(0, n), self.architecture_part.batch(0, n)
            with precision():
                if kind == "architecture":
                    architecture_step(parts, train, valid, step)
                elif kind == "joint":
                    joint_step(parts, train, step)
                else:
                    weight_step(parts, train, step, valid)

        return run

    def interleaved(self, pairs: Mapping[str, Pair]) -> dict[str, tuple[float, float]]:
        """Return the median milliseconds of each pair. A round makes every call once, in turn."""
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in pairs}
        for n in range(self.config.warmup + self.config.rounds):
            for name, pair in pairs.items():
                times[name].append((self.milliseconds(pair.ours, n), self.milliseconds(pair.reference, n)))
        return {name: medians(rows[self.config.warmup :]) for name, rows in times.items()}

    def milliseconds(self, call: Callable[[int], object], n: int) -> float:
        """Return the milliseconds of one call in round n."""
        self.wait()
        start = time.perf_counter()
        call(n)
        self.wait()
        return 1000 * (time.perf_counter() - start)

    def wait(self) -> None:
        """Wait until the device has finished."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)

    def memory_and_operations(self) -> Iterator[Figure]:
        """Yield the memory of both steps with all candidates, and the operations of a forward and backward pass."""
        supernet, (x, y) = self.supernet(), self.weight_part.batch(0, 0)
        ours, reference = self.ours(supernet), naive(supernet)
        weight = self.uniform()

        def loss(net: nn.Module, gate: bool) -> Callable[[], Tensor]:
            def compute() -> Tensor:
                with self.autocast() if net is not reference else nullcontext():
                    return functional.cross_entropy(net(x, Gates(weight.clone().requires_grad_(gate))), y)

            return compute

        def backward(compute: Callable[[], Tensor]) -> Callable[[int], object]:
            return lambda _: compute().backward()

        for kind, gate in (("weight", False), ("architecture", True)):
            theirs = self.peak(backward(loss(reference, gate)))
            with frozen(ours) if gate else nullcontext():
                mine = self.peak(backward(loss(ours, gate)))
            yield beside(f"memory, {kind} step", "MB", mine / 1e6, theirs / 1e6)
        theirs = operations(loss(reference, False))
        for plan in self.executions:
            net = self.space_with(execution=plan).supernet().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            yield beside(f"operations, {plan}", "calls", operations(loss(net, False)), theirs)

    def plans(self) -> Iterator[Figure]:
        """Yield the time of a weight step with edges one by one, against edges grouped."""
        if len(self.executions) < 2:
            return
        steps, optimizer = [], make(inside("search", []).weights.optimizer)
        for plan in ("edges", "grouped"):
            torch.manual_seed(self.config.seed)
            net = self.ours(self.space_with(execution=plan).supernet().to(self.device))
            steps.append(self.plain_step(net, optimizer(net.parameters()), Gates(self.uniform())))
        yield beside("edges, the reference grouped", "ms", *self.interleaved({"": Pair(*steps)})[""])

    def recomputation(self) -> Iterator[Figure]:
        """Yield time and memory of a weight step that computes cells again, against one that keeps all of them."""
        if "recompute" not in self.config.space:
            return
        steps, optimizer = [], make(inside("search", []).weights.optimizer)
        for recompute in (True, False):
            torch.manual_seed(self.config.seed)
            net = self.ours(self.space_with(recompute=recompute).supernet().to(self.device))
            steps.append(self.plain_step(net, optimizer(net.parameters()), Gates(self.uniform())))
        yield beside("cells recomputed, the reference not", "ms", *self.interleaved({"": Pair(*steps)})[""])
        yield beside("cells recomputed: memory", "MB", *(self.peak(step) / 1e6 for step in steps))

    @property
    def executions(self) -> tuple[str, ...]:
        """How the space can be computed on this device."""
        known = ("grouped", "edges") if self.device.type == "cpu" else ("edges",)
        return known if "execution" in self.config.space else ()

    def uniform(self) -> Tensor:
        """Return equal gates for all allowed candidates, (choices, candidates)."""
        return (self.space.mask / self.space.mask.sum(1, keepdim=True)).to(self.device)

    def peak(self, step: Callable[[int], object]) -> int:
        """Return the most bytes that a step takes at a time: on the CPU those of tensors, on a GPU all of them."""
        if self.device.type != "cuda":
            with Alive() as alive:
                step(0)
            return alive.peak
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step(0)
        return torch.cuda.max_memory_allocated() - before

    def single_path(self) -> Iterator[Figure]:
        """Yield the time of a weight step of drawn paths, against steps of their discrete networks."""
        supernet, optimizer = self.ours(self.supernet()), make(inside("search", []).weights.optimizer)
        path_optimizer, times = optimizer(supernet.parameters()), []
        for n in range(self.config.rounds):
            found = self.space.sample(random.Random(n))
            network = self.space.network(found, inherit=supernet)
            network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            gates = Gates(self.space.one_hot(found).to(self.device), tuple((k,) for k in found.decisions))
            path = self.plain_step(supernet, path_optimizer, gates)
            discrete = self.plain_step(network, optimizer(network.parameters()))
            times.append(self.interleaved({"path": Pair(path, discrete)})["path"])
        yield beside("path, against its network", "ms", *medians(times))

    def plain_step(self, net: nn.Module, optimizer: torch.optim.Optimizer, *gates: Gates) -> Callable[[int], object]:
        """Return a call that makes one weight step with the batch of a round."""

        def run(n: int) -> None:
            x, y = self.weight_part.batch(0, n)
            with self.autocast():
                loss = functional.cross_entropy(net(x, *gates), y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()

        return run

    def small_cells(self) -> Iterator[Figure]:
        """Yield the time of both gradients, of weights and of gates, in NAS-Bench-201 cells."""
        torch.manual_seed(self.config.seed)
        cells = max(1, self.config.space.get("cells", 3) // 3)
        space = NASBench201(
            (3, self.config.size, self.config.size), CLASSES, cells, self.config.space.get("channels", 16)
        )
        supernet = space.supernet().to(self.device)
        ours, reference = self.ours(supernet), naive(supernet)
        weight = torch.full(space.shape, 0.2, device=self.device)

        def both(net: nn.Module) -> Callable[[int], object]:
            def run(n: int) -> None:
                x, y = self.weight_part.batch(0, n)
                for gate in (False, True):
                    freeze = frozen(net) if gate and net is ours else nullcontext()
                    with freeze, self.autocast() if net is ours else nullcontext():
                        loss = functional.cross_entropy(net(x, Gates(weight.clone().requires_grad_(gate))), y)
                    loss.backward()

            return run

        times = self.interleaved({"": Pair(both(ours), both(reference))})
        yield beside("NAS-Bench-201: both steps", "ms", *times[""])

    def around(self, update_ms: float) -> Iterator[Figure]:
        """Yield what an update takes outside the supernet.

        Lightning, logging and progress bar take the same time for a supernet of any size. They are measured with a tiny
        one, where their share is large.

        Args:
            update_ms: Mean milliseconds of an update of the first architect, for comparison.
        """
        batch = statistics.median(self.milliseconds(lambda n: self.weight_part.batch(0, n), n) for n in range(20))
        yield Figure("augmented batch", "ms", batch)
        yield Figure("augmented batch, of an update", "%", 100 * batch / update_ms)
        fit, bare = medians([milliseconds_an_update(self.device) for _ in range(self.config.rounds)])
        yield beside("tiny update, against a bare loop", "ms", fit, bare)
        yield Figure("Lightning, logs, bar, of an update", "%", 100 * (fit - bare) / update_ms)
        settings = inside("search", ["architect=darts"])
        criterion = make(settings.criterion)
        architect = architect_for(settings, self.space, criterion)
        data = enlarged_digits(self.config.size, self.config.batch)
        save = milliseconds_a_checkpoint(Search(self.space, architect, data, criterion=criterion).to(self.device))
        yield Figure("checkpoint", "ms", save)
        yield Figure("checkpoint each 50 updates, of an update", "%", 100 * save / (50 * update_ms))


def medians(rows: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the median of each column."""
    ours, reference = zip(*rows, strict=True)
    return statistics.median(ours), statistics.median(reference)


def operations(compute: Callable[[], Tensor]) -> int:
    """Return the number of operations of a forward and backward pass."""
    with Operations() as counter:
        compute().backward()
    return counter.total


def enlarged_digits(size: int, batch: int) -> ImageData:
    """Return the digits as colour images of size x size pixels, augmented like CIFAR-10.

    Args:
        size: Height and width in pixels.
        batch: Images per step.
    """
    small = digits(batch_size=batch).splits

    def enlarge(read: Callable[[], Any]) -> Callable[[], LabelledImages]:
        def images() -> LabelledImages:
            pixels, labels = read()
            large = functional.interpolate(pixels.permute(0, 3, 1, 2), size=(size, size)).permute(0, 2, 3, 1)
            return LabelledImages(large.expand(-1, -1, -1, 3).contiguous(), labels)

        return images

    splits = Splits(small.classes, enlarge(small.train), enlarge(small.test))
    return ImageData(splits, batch, Augmentation((0.5,) * 3, (0.25,) * 3, pad=4, flip=True, cutout=size // 2))
