"""The folder of a run: what it holds, who writes it, and how, so that no file in it is ever half written."""

import fcntl
import json
import os
import resource
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import Diverged, InputError, Lost, is_number, named, one_line
from .clock import worked
from .files import (
    MAX_WEIGHTS,
    append,
    check_folder,
    is_file,
    is_full_disk,
    make_folder,
    names,
    open_lock,
    opened,
    parse_json,
    read_bytes,
    remove_temporary,
    write_bytes,
    write_text,
)
from .held import LOCK, Held, holder
from .settings import CONFIG, NOTHING, differences, parse_settings, read_settings
from .signals import Stopped, saving, stop_of

if TYPE_CHECKING:
    from torch import Tensor, nn

FINISHED = "finished"
NOT_WRITTEN = 5  # exit code: the disk is full or read-only, or the folder is gone
STATUS, RESULT = "status.json", "result.json"
METRICS, TIMINGS = "metrics.jsonl", "timings.jsonl"
SHOWN = 5  # settings that a message names
OF_ANOTHER = 3  # settings of which only one of two runs has any: these are runs of two commands
MAX_ROWS = 1 << 28  # bytes of rows
MAX_HEADER = 100_000_000  # bytes of the header of a safetensors file, as its library has it


class Run:
    """The folder of one run, locked and held open as long as this object lives.

    Files are written next to their target and then renamed. metrics.jsonl holds what the seed determines; timings.jsonl
    holds the time and the memory of each row. status.json holds the state (running, finished, diverged, failed or
    interrupted), the reason and the process. A run that was killed still has the state "running". As a context manager,
    the object records how the run ended.

    If the folder, its lock or a file that the run has left directly in it is removed or replaced, the next write raises
    OSError and changes nothing, and the context manager raises Lost.

    If the folder has the same settings, its run is continued. Without settings, or with `resume=False`, the folder must
    be empty.

    Args:
        path: The folder.
        settings: YAML, kept as config.yaml.
        resume: Whether to continue a run in this folder.
        free: Settings that may differ, by their dotted name or the beginning of it.

    Raises:
        InputError: If the folder cannot be made, holds something other than a run, is in use by another process, or was
            started with other settings, which the message names.
    """

    def __init__(self, path: Path, settings: str = "", resume: bool = True, free: Collection[str] = ()) -> None:
        self.path = path
        try:
            make_folder(path) if holder(path) else path.mkdir(parents=True, exist_ok=True)
            check_folder(path)
            _check_run(path, settings, resume, free)
            lock = open_lock(path / LOCK)
            if not _lock(lock, path):
                process = read_json(path / STATUS).get("process", "another")
                raise InputError(f"out={path}: process {process} writes there now; name another folder")
            self._held = Held(path, lock)
        except OSError as error:
            if holder(path):  # the folder of the run around this one is gone
                raise
            raise InputError(f"out={path}: cannot be used as a folder ({error.strerror})") from None
        _check_run(path, settings, resume, free)  # again, because now nobody else writes
        remove_temporary(path)
        self.started, self.computed = worked(), time.process_time()
        if settings and not is_file(path / CONFIG):
            self.write(CONFIG, settings)
        if cuda := _cuda():
            cuda.reset_peak_memory_stats()

    def __enter__(self) -> "Run":
        self._saving = saving()
        self._saving.__enter__()
        self._status("running" if self.result() is None else FINISHED)  # last: __exit__ records the end
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if stop := stop_of(error):
            stop.where = stop.where or str(self.path)
            error, cause = stop, error
        if error is not None and self._unfinished():
            kinds = {Stopped: "interrupted", KeyboardInterrupt: "interrupted", Diverged: "diverged"}
            name = kinds.get(type(error), "failed")
            try:
                ours = isinstance(error, InputError | Stopped)  # their texts need no class name
                self._status(name, one_line(error) if ours else named(error, 400))
            except (OSError, InputError):  # a full disk, a folder that is gone: the state stays at running
                pass
        self._held.close()
        self._saving.__exit__(None, None, None)
        if isinstance(error, OSError) and not is_full_disk(error) and self._names(error.filename):
            reason = f"{error.filename}: {error.strerror}"
            raise Lost(f"out={self.path}: cannot be written any more ({reason})", NOT_WRITTEN) from error
        if stop and stop is not cause:
            raise stop from cause

    def _unfinished(self) -> bool:
        try:
            return self.result() is None
        except InputError:
            return True

    def _names(self, name: object) -> bool:
        """Whether a file of an error is this folder, or below it."""
        return isinstance(name, str) and (Path(name) == self.path or self._held.folders(Path(name)) is not None)

    def write(self, name: str, text: str) -> Path:
        """Write a whole file of the folder. It has the old content or the new one, never a part.

        Args:
            name: Name of the file in the folder.
            text: Its content.

        Returns:
            The path of the file.
        """
        return write_text(self.path / name, text)

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Continue the run after these rows: metrics.jsonl then holds exactly these, and the clock goes on."""
        timings = read_rows(self.path / TIMINGS)[: len(rows)]
        self.write(METRICS, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        self.write(TIMINGS, "".join(json.dumps(row) + "\n" for row in timings))
        if timings:
            self.started = worked() - _number(timings[-1].get("seconds"))
            self.computed = time.process_time() - _number(timings[-1].get("process_seconds"))

    def record(self, row: Mapping[str, Any], seconds: float | None = None) -> None:
        """Append a row to metrics.jsonl, and its time to timings.jsonl.

        Args:
            row: The row, numbers by name, with `step`.
            seconds: Time of the row since the start of the run; None is now.
        """
        at = self.seconds if seconds is None else seconds
        timing = {"step": row["step"], **self.cost, "seconds": at}
        append(self.path / METRICS, json.dumps(row, allow_nan=False) + "\n")
        append(self.path / TIMINGS, json.dumps(timing) + "\n")

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json. From then on the run counts as finished.

        Args:
            result: What the run found, as plain data for JSON.

        Returns:
            The content of the file: the result with the status and the cost.
        """
        content = {"status": FINISHED, **result, **self.cost}
        self.write(RESULT, json.dumps(content, indent=2) + "\n")
        self._status(FINISHED)
        return content

    def result(self) -> dict[str, Any] | None:
        """Return the content of result.json if the run has finished, else None."""
        return read_result(self.path)

    @property
    def seconds(self) -> float:
        """Seconds of this run, without the work that a kill has lost, the time between, and time stopped by SIGSTOP."""
        return round(worked() - self.started, 3)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Return a context whose seconds do not count as those of the run."""
        start, computed = worked(), time.process_time()
        try:
            yield
        finally:
            self.started += worked() - start
            self.computed += time.process_time() - computed

    @property
    def cost(self) -> dict[str, float]:
        """Time and memory so far: seconds, seconds of the processor in all threads of this process, and bytes."""
        computed = round(time.process_time() - self.computed, 3)
        return {"seconds": self.seconds, "process_seconds": computed, "peak_memory_bytes": peak_memory_bytes()}

    def _status(self, status: str, reason: str = "") -> None:
        process = {"process": os.getpid(), "since": datetime.now().astimezone().isoformat(timespec="seconds")}
        self.write(STATUS, json.dumps({"status": status, "reason": reason, **process}, indent=2) + "\n")


def _number(value: object) -> float:
    """A number from a file; 0 for anything else."""
    return value if is_number(value) else 0.0  # type: ignore[return-value]


def _check_run(path: Path, settings: str, resume: bool, free: Collection[str]) -> None:
    """Raise InputError unless a run with these settings can write here."""
    if all(name.startswith(".") for name in names(path)):
        return
    if not (settings and is_file(path / CONFIG)):
        raise InputError(f"out={path}: the folder is not empty; name a new one")
    differing = differences(read_settings(path / CONFIG), parse_settings(settings), free)
    if differing:
        alone = [name for name, *values in differing if NOTHING in values and "." not in name]
        if len(alone) >= OF_ANOTHER:
            raise InputError(f"out={path}: holds a run of another command or version; name a new folder")
        changed = ", ".join(f"{name}={old} and not {new}" for name, old, new in differing[:SHOWN])
        more = f" (and {len(differing) - SHOWN} more)" if len(differing) > SHOWN else ""
        raise InputError(f"out={path}: was started with {changed}{more}; name a new folder")
    if not resume:
        raise InputError(f"out={path}: holds a run, and resume=false; name a new folder")


def is_locked(path: Path) -> bool:
    """Check whether a process writes to the folder at this path now."""
    with open_lock(path / LOCK) as file:
        return not _lock(file, path)


def _lock(file: BinaryIO, folder: Path) -> bool:
    """Lock a file until it is closed. False if another process has locked it. Without locks on the disk, True."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        print(f"warning: {folder}: this disk has no locks; let no second process write there", file=sys.stderr)
    return True


def write_weights(path: Path, module: "nn.Module", root: Path | None = None) -> Path:
    """Write the state of a module as safetensors.

    Args:
        path: The file.
        module: The module.
        root: Folder of the run, if the file is in a folder below it.

    Returns:
        The path.
    """
    from safetensors.torch import save  # not above: this module is imported before torch

    weights, seen = {}, set()
    for name, tensor in module.state_dict().items():
        dense = tensor.contiguous()
        place = dense.untyped_storage().data_ptr()  # one that has several names is written under each
        weights[name] = dense.clone() if place in seen else dense
        seen.add(place)
    return write_bytes(path, save(weights), root)


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON file of a run.

    Args:
        path: The file.

    Returns:
        Its content; empty if there is no such file, or if it does not hold a mapping.

    Raises:
        InputError: If it is a link or another thing that is never opened, or larger than 64 MiB.
    """
    try:
        content = parse_json(read_bytes(path))
    except InputError:
        raise
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read result.json from a folder. Returns None unless the run has finished."""
    content = read_json(folder / RESULT)
    return content if content.get("status") == FINISHED else None


def latest(root: Path, setting: str = "architecture", holds: str = "architecture.json") -> Path:
    """Find the newest finished run of a command.

    Args:
        root: The folder with the command's runs, such as outputs/search.
        setting: Name of the setting that names a run otherwise, for the message.
        holds: A file that the run must have left.

    Returns:
        The folder of the run.

    Raises:
        InputError: If there is none.
    """
    finished = []
    for folder in sorted(path for path in root.glob("*") if path.is_dir()):
        try:
            if read_result(folder) and is_file(folder / holds):
                finished.append(((folder / RESULT).lstat().st_mtime_ns, folder))
        except InputError:  # a folder that holds links or devices is no run of ours
            continue
    if not finished:
        command = root.name.replace("_", "-")
        raise InputError(
            f"{setting}=latest: no finished {root.name} below {root}; run `oneshot {command}` first or give "
            f"{setting}=PATH"
        )
    return max(finished)[1]


def read_weights(path: Path, most: int = MAX_WEIGHTS, root: Path | None = None) -> dict[str, "Tensor"]:
    """Read the tensors of a safetensors file of a run.

    Args:
        path: The file.
        most: Largest size in bytes.
        root: Folder of the run, if the file is in a folder below it.

    Returns:
        Each tensor by its name.

    Raises:
        InputError: If the file is missing, no regular file, too large, or does not hold tensors.
    """
    from safetensors import SafetensorError  # not above: this module is imported before torch
    from safetensors.torch import load

    try:
        return load(read_bytes(path, most, root))
    except OSError as error:
        raise InputError(f"{path}: cannot be read as weights ({error.strerror})") from None
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as weights ({one_line(error, 80)})") from None


def read_shapes(path: Path, most: int = MAX_WEIGHTS) -> dict[str, tuple[int, ...]]:
    """Read the shapes of the tensors in a safetensors file of a run, without the tensors.

    Args:
        path: The file.
        most: Largest size in bytes.

    Returns:
        The shape of each tensor by its name.

    Raises:
        InputError: As `read_weights`.
    """
    try:
        with opened(path, most) as file:
            size = int.from_bytes(file.read(8), "little")
            header: Any = parse_json(file.read(size)) if size <= MAX_HEADER else None
        return {name: tuple(map(int, of["shape"])) for name, of in header.items() if name != "__metadata__"}
    except OSError as error:
        raise InputError(f"{path}: cannot be read as weights ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: cannot be read as weights (its header is damaged)") from None


def peak_memory_bytes() -> int:
    """Return the largest memory so far in bytes: of the GPU's allocator if it was used, else of the process."""
    cuda = _cuda()
    if cuda and cuda.max_memory_allocated():
        return cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file of JSON lines, up to the first line that is not a row.

    Args:
        path: The file. If there is none, there are no rows.

    Returns:
        The rows.

    Raises:
        InputError: If it is a link or another thing that is never opened, or larger than 256 MiB.
    """
    rows: list[dict[str, Any]] = []
    try:
        for line in read_bytes(path, MAX_ROWS).splitlines():
            row = parse_json(line)
            if not isinstance(row, dict):
                break
            rows.append(row)
    except InputError:
        raise
    except (OSError, ValueError):
        pass
    return rows


def _cuda() -> Any:
    """torch.cuda if this process has imported torch and there is a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None
