"""Where decoded images are held: how much memory is free, and what fits into it."""

import os
from pathlib import Path

import torch

from ..errors import InputError, check_integer, unknown
from ..runs.files import read_given

RESIDENCES = ("auto", "device", "host", "stream")
AUTO = "auto"
SHARE = 4  # a decoded set may take this part of the free memory
MOST_WORKERS = 256
ENOUGH_WORKERS = 8  # by default; with more of them one process cannot take the batches as fast as they come
MEMINFO = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")  # of version 2, as containers have it


def check_residence(residence: str, workers: int | str) -> None:
    """Check the settings data.residence and data.workers.

    Args:
        residence: `"auto"`, `"device"`, `"host"` or `"stream"`.
        workers: `"auto"`, or a number of processes.

    Raises:
        InputError: If one of them is anything else.
    """
    if residence not in RESIDENCES:
        raise unknown("data.residence", residence, RESIDENCES)
    if isinstance(workers, str):
        if workers != AUTO:
            raise InputError(f"data.workers={workers!r}: must be auto or a whole number from 0 to {MOST_WORKERS}")
    else:
        check_integer("data.workers", workers, 0, MOST_WORKERS)


def worker_number(workers: int | str) -> int:
    """Return the number of processes that decode.

    Args:
        workers: A number; or `"auto"`, one for each CPU core but one that this process may use, from 1 to 8.
    """
    if not isinstance(workers, str):
        return workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(ENOUGH_WORKERS, cores - 1))


def fits(size: int, device: torch.device) -> bool:
    """Check whether a decoded set takes at most a quarter of the free memory of a device.

    Args:
        size: Bytes of the set.
        device: The device.
    """
    return SHARE * size <= free_memory(device)


def free_memory(device: torch.device) -> int:
    """Return the free memory of a device, in bytes. For a CPU: what the system and a container's limit leave.

    Args:
        device: The device. One that does not say what is free (mps) counts as the host.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_free_of_system(), _free_of_container())


def _free_of_system() -> int:
    for line in (_text(MEMINFO) or "").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return 1024 * int(value.split()[0])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free_of_container() -> int:
    most, used = (_text(CGROUP / name) for name in ("memory.max", "memory.current"))
    if most is None or used is None or not most.strip().isdigit():  # "max" is no limit
        return 1 << 62
    return max(0, int(most) - int(used))


def _text(path: Path) -> str | None:
    try:
        return read_given(path)
    except (OSError, InputError):
        return None
