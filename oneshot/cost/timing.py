"""How long calls take on a device, and which device that was."""

import copy
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from ..errors import InputError, check_integer, unknown

DTYPES = ("float32", "float64", "bfloat16", "float16")
LARGEST = 1 << 20  # images a call
PROCESSORS = Path("/proc/cpuinfo")
Name = TypeVar("Name")


class Latency(NamedTuple):
    """Of one call, in milliseconds: the quartiles over the repeats."""

    first_quartile_ms: float
    median_ms: float
    third_quartile_ms: float


def network_latency(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    device: torch.device,
    dtype: str = "float32",
    batches: Sequence[int] = (1, 64),
    repeats: int = 50,
    warmup: int = 5,
) -> dict[int, Latency]:
    """Forward passes of a copy of the network, evaluation mode, channels-last, for each number of images a call.

    One call at a time, and the device is waited for behind it: on an accelerator the time to launch it counts.
    repeats: at least 2. Raises InputError for an unknown dtype, numbers out of range, and a dtype or a batch that
    the device cannot compute.
    """
    check_timing(dtype, repeats, warmup)
    check_batches(batches)
    like: Any = {"device": device, "dtype": getattr(torch, dtype), "memory_format": torch.channels_last}
    network = copy.deepcopy(network).eval()
    try:
        network.to(**like)
        calls = {n: partial(network, torch.randn(n, *image_shape).to(**like)) for n in batches}
        measured = times(calls, device, repeats, warmup)
    except (NotImplementedError, TypeError) as error:  # what torch raises differs by device
        raise InputError(f"dtype={dtype}: {device.type} cannot compute in it ({str(error)[:80]})") from None
    return {n: Latency(*(round(t, 6) for t in quantiles(values, n=4))) for n, values in measured.items()}


def check_batches(batches: Sequence[int]) -> None:
    """Raise InputError unless these are one or more different numbers of images."""
    if not isinstance(batches, list | tuple) or not batches:
        raise InputError(f"batches={batches!r}: must be a list of numbers of images, as [1,64]")
    for n in batches:
        check_integer("batches", n, 1, LARGEST)
    if len(set(batches)) < len(batches):
        raise InputError(f"batches={list(batches)}: each number once")


def check_timing(dtype: str, repeats: int, warmup: int) -> None:
    """Raise InputError for an unknown dtype and numbers out of range."""
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    check_integer("repeats", repeats, 2, 100_000)
    check_integer("warmup", warmup, 0, 100_000)


def times(
    calls: Mapping[Name, Callable[[], Any]], device: torch.device, repeats: int, warmup: int, together: int = 1
) -> dict[Name, list[float]]:
    """Milliseconds of each call, `repeats` of them, in rounds over all calls: a drift meets all alike.

    together: calls that one wait for the device is shared by. No gradients are kept.
    """
    found: dict[Name, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for n in range(warmup + repeats):
            for name, call in calls.items():
                _wait(device)
                start = time.perf_counter()
                for _ in range(together):
                    call()
                _wait(device)
                if n >= warmup:
                    found[name].append(1e3 * (time.perf_counter() - start) / together)
    return found


def device_name(device: torch.device) -> str:
    """The kind of device and the name of the hardware; on the CPU also the threads that torch computes with."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu: {processor()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{device.type}: {platform.machine()}"


def processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = PROCESSORS.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names and names[0]) or platform.processor() or platform.machine()


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
