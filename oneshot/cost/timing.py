"""Times of calls on a device, and the name of the device."""

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
from ..runs.files import read_given

DTYPES = ("float32", "float64", "bfloat16", "float16")
LARGEST = 1 << 20  # images in a call
PROCESSORS = Path("/proc/cpuinfo")
Name = TypeVar("Name")


class Latency(NamedTuple):
    """The latency of one call in milliseconds: quartiles over the repeats.

    Args:
        first_quartile_ms: A quarter of the repeats took less.
        median_ms: Half of the repeats took less.
        third_quartile_ms: Three quarters of the repeats took less.
    """

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
    """Measure the forward pass of a network for each batch size: evaluation mode, channels-last.

    A copy of the network is measured. Calls are made one at a time, and each waits for the device. On an accelerator
    the time to launch a call is therefore included.

    Args:
        network: The network.
        image_shape: (channels, height, width) of an image.
        device: Where to compute.
        dtype: "float32", "float64", "bfloat16" or "float16".
        batches: Numbers of images in a forward pass.
        repeats: Number of timed repeats, at least 2.
        warmup: Number of repeats before these that are not timed.

    Returns:
        The latency by the number of images.

    Raises:
        InputError: If the dtype is unknown, a number is out of range, or the device cannot compute in this dtype.
    """
    check_timing(dtype, repeats, warmup)
    check_batches(batches)
    like: Any = {"device": device, "dtype": getattr(torch, dtype), "memory_format": torch.channels_last}
    network = copy.deepcopy(network).eval()
    try:
        network.to(**like)
        calls = {n: partial(network, torch.randn(n, *image_shape).to(**like)) for n in batches}
        measured = times(calls, device, repeats, warmup)
    except (NotImplementedError, TypeError) as error:  # the class of torch's error depends on the device
        raise InputError(f"dtype={dtype}: {device.type} cannot compute with it ({str(error)[:80]})") from None
    return {n: Latency(*(round(t, 6) for t in quantiles(values, n=4))) for n, values in measured.items()}


def check_batches(batches: Sequence[int]) -> None:
    """Raise InputError unless these batches are one or more different numbers of images."""
    if not isinstance(batches, list | tuple) or not batches:
        raise InputError(f"batches={batches!r}: must be a list of numbers of images, such as [1,64]")
    for n in batches:
        check_integer("batches", n, 1, LARGEST)
    if len(set(batches)) < len(batches):
        raise InputError(f"batches={list(batches)}: must name each number once")


def check_timing(dtype: str, repeats: int, warmup: int) -> None:
    """Check the settings of a measurement.

    Args:
        dtype: Name of a data type.
        repeats: Number of timed repeats.
        warmup: Number of repeats that are not timed.

    Raises:
        InputError: If the dtype is unknown or a number is out of range.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES)
    check_integer("repeats", repeats, 2, 100_000)
    check_integer("warmup", warmup, 0, 100_000)


def times(
    calls: Mapping[Name, Callable[[], Any]], device: torch.device, repeats: int, warmup: int, together: int = 1
) -> dict[Name, list[float]]:
    """Time calls in rounds: each round times every call once, so that a slow drift of the machine affects all alike.

    A timed call comes directly after the same call untimed, so that it finds its weights in the caches, as in a program
    that makes one call after the other. No gradients are kept.

    Args:
        calls: The calls by name.
        device: The device that they compute on.
        repeats: Number of timed rounds.
        warmup: Number of rounds before these that are not timed.
        together: Number of repetitions of a call that share one wait for the device.

    Returns:
        By name: milliseconds of one call, `repeats` numbers.
    """
    found: dict[Name, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        for n in range(warmup + repeats):
            for name, call in calls.items():
                call()
                _wait(device)
                start = time.perf_counter()
                for _ in range(together):
                    call()
                _wait(device)
                if n >= warmup:
                    found[name].append(1e3 * (time.perf_counter() - start) / together)
    return found


def device_name(device: torch.device) -> str:
    """Name the kind of device and the hardware; on the CPU also the number of threads that torch uses."""
    if device.type == "cuda":
        return f"cuda: {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"cpu: {processor()}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{device.type}: {platform.machine()}"


def device_named(name: str) -> torch.device | None:
    """Return the device of this machine that `device_name` gives this name; None if it has none.

    Args:
        name: A name, with the number of threads of the CPU.
    """
    here = [torch.device("cpu"), torch.accelerator.current_accelerator(check_available=True)]
    return next((device for device in here if device is not None and device_name(device) == name), None)


def processor() -> str:
    """Name the processor if the system tells, else its architecture."""
    try:
        lines = read_given(PROCESSORS).splitlines()
    except (OSError, ValueError):
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names and names[0]) or platform.processor() or platform.machine()


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
