"""A run's folder: what it holds, and how it is written so that nothing in it is ever half there."""

import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from oneshot.errors import InputError

FINISHED = "finished"


class Run:
    """The folder of one run. Files are written beside their target and renamed; rows are flushed.

    metrics.jsonl holds what the seed determines, timings.jsonl the clock and the memory of each row.
    continues: the folder may hold files of the same run. Raises InputError when it is not empty without that, or
    cannot be made.
    """

    def __init__(self, path: Path, continues: bool = False) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            taken = any(path.iterdir())
        except OSError as error:
            raise InputError(f"out={path}: cannot be used as a folder ({error.strerror})") from None
        if taken and not continues:
            raise InputError(f"out={path}: the folder is not empty; name a new one")
        self.started = time.monotonic()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def write(self, name: str, text: str) -> Path:
        """Write a whole file: it has the old content or the new, never a part."""
        return write_text(self.path / name, text)

    def record(self, row: Mapping[str, Any], seconds: float | None = None) -> None:
        """Append a row to metrics.jsonl, and when it happened (now, or at these seconds) to timings.jsonl."""
        at = self.seconds if seconds is None else seconds
        timing = {"step": row["step"], "seconds": at, "peak_memory_bytes": peak_memory_bytes()}
        self.append("metrics.jsonl", row)
        self.append("timings.jsonl", timing)

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Append one JSON line and flush it."""
        with open(self.path / name, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json: from here on the run counts as finished."""
        cost = {"seconds": self.seconds, "peak_memory_bytes": peak_memory_bytes()}
        content = {"status": FINISHED, **result, **cost}
        self.write("result.json", json.dumps(content, indent=2) + "\n")
        return content

    def result(self) -> dict[str, Any] | None:
        """What result.json holds where the run has finished, else None."""
        return read_result(self.path)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.started, 3)


def write_text(path: Path, text: str) -> Path:
    """Write a text file: it has the old content or the new, never a part."""
    return _replace(path, text.encode())


def _replace(path: Path, content: bytes) -> Path:
    """Write beside the target, sync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return path


def write_weights(path: Path, module: nn.Module) -> Path:
    """The module's state as safetensors."""
    return _replace(path, save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result.json of a finished run, else None."""
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.get("status") == FINISHED else None


def latest(root: Path) -> Path:
    """The newest folder below `root` whose run finished with an architecture. Raises InputError if there is none."""
    finished = []
    for result in root.glob("*/result.json"):
        if read_result(result.parent) and (result.parent / "architecture.json").is_file():
            finished.append((result.stat().st_mtime_ns, result.parent))
    if not finished:
        raise InputError(
            f"architecture=latest: no finished search below {root}; run scripts/search.py first or give "
            "architecture=PATH"
        )
    return max(finished)[1]


def peak_memory_bytes() -> int:
    """Largest memory so far: of the GPU's allocator where it was used in this run, else of the process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
