"""A run's folder: what it holds, who writes it, and how, so that nothing in it is ever half there."""

import errno
import fcntl
import json
import os
import resource
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import yaml

from ..errors import Diverged, InputError, is_number, named, one_line
from .signals import Stopped, stop_of

if TYPE_CHECKING:
    from torch import nn

FINISHED = "finished"
CONFIG, STATUS, RESULT, LOCK = "config.yaml", "status.json", "result.json", ".lock"
METRICS, TIMINGS = "metrics.jsonl", "timings.jsonl"
SHOWN = 5  # settings that differ
MAX_BYTES = 1 << 26  # of a file of ours that is read whole
MAX_SETTINGS = 1 << 18


class Run:
    """The folder of one run, locked while this object lives. Files are written beside their target and renamed.

    metrics.jsonl holds what the seed determines, timings.jsonl the clock and the memory of each row; status.json says
    running, finished, diverged, failed or interrupted, why, and which process it is or was (a run that was killed says
    running). As a context it notes how it ended.
    settings: YAML, kept as config.yaml. A folder with the same settings is taken up; without settings, or with
    resume=False, the folder must be empty. free: settings that may differ, by their name or a first part of it.
    Raises InputError when the folder cannot be made, is not a run's, is another process's, or was started with other
    settings, which are named.
    """

    def __init__(self, path: Path, settings: str = "", resume: bool = True, free: Collection[str] = ()) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            _check_folder(path, settings, resume, free)
            self._lock = open(path / LOCK, "a")
        except OSError as error:
            raise InputError(f"out={path}: cannot be used as a folder ({error.strerror})") from None
        if not _lock(self._lock):
            process = read_json(path / STATUS).get("process", "another")
            raise InputError(f"out={path}: process {process} writes there now; name another folder")
        _check_folder(path, settings, resume, free)  # again: nobody else writes now
        for temporary in path.rglob(".*.tmp"):  # what a kill has left of a write
            temporary.unlink(missing_ok=True)
        self.started = time.monotonic()
        if settings and not (path / CONFIG).is_file():
            self.write(CONFIG, settings)
        if cuda := _cuda():
            cuda.reset_peak_memory_stats()

    def __enter__(self) -> "Run":
        self._status("running" if self.result() is None else FINISHED)  # last: from here on __exit__ notes the end
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if stop := stop_of(error):
            stop.where = stop.where or str(self.path)
            error, cause = stop, error
        if error is not None and self.result() is None:
            names = {Stopped: "interrupted", KeyboardInterrupt: "interrupted", Diverged: "diverged"}
            name = names.get(type(error), "failed")
            try:
                ours = isinstance(error, InputError | Stopped)  # whose texts say it all
                self._status(name, one_line(error) if ours else named(error, 400))
            except OSError:  # a full disk: it stays at running, of a process that is gone
                pass
        self._lock.close()
        if stop and stop is not cause:
            raise stop from cause

    def write(self, name: str, text: str) -> Path:
        """Write a whole file: it has the old content or the new, never a part."""
        return write_text(self.path / name, text)

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take up the run behind these rows: metrics.jsonl holds them and no other, the clock goes on from there."""
        timings = read_rows(self.path / TIMINGS)[: len(rows)]
        self.write(METRICS, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        self.write(TIMINGS, "".join(json.dumps(row) + "\n" for row in timings))
        if timings:
            before: Any = timings[-1].get("seconds")
            self.started = time.monotonic() - (before if is_number(before) else 0.0)

    def record(self, row: Mapping[str, Any], seconds: float | None = None) -> None:
        """Append a row to metrics.jsonl, and when it happened (now, or at these seconds) to timings.jsonl."""
        at = self.seconds if seconds is None else seconds
        timing = {"step": row["step"], "seconds": at, "peak_memory_bytes": peak_memory_bytes()}
        append(self.path / METRICS, row)
        append(self.path / TIMINGS, timing)

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json: from here on the run counts as finished."""
        cost = {"seconds": self.seconds, "peak_memory_bytes": peak_memory_bytes()}
        content = {"status": FINISHED, **result, **cost}
        self.write(RESULT, json.dumps(content, indent=2) + "\n")
        self._status(FINISHED)
        return content

    def result(self) -> dict[str, Any] | None:
        """What result.json holds where the run has finished, else None."""
        return read_result(self.path)

    @property
    def seconds(self) -> float:
        """Of this run, without what a kill has cost and the time between."""
        return round(time.monotonic() - self.started, 3)

    def _status(self, status: str, reason: str = "") -> None:
        process = {"process": os.getpid(), "since": datetime.now().astimezone().isoformat(timespec="seconds")}
        self.write(STATUS, json.dumps({"status": status, "reason": reason, **process}, indent=2) + "\n")


def _check_folder(path: Path, settings: str, resume: bool, free: Collection[str]) -> None:
    """Raise InputError unless a run with these settings can write here."""
    if all(file.name.startswith(".") for file in path.iterdir()):
        return
    if not (settings and (path / CONFIG).is_file()):
        raise InputError(f"out={path}: the folder is not empty; name a new one")
    differing = differences(read_settings(path / CONFIG), parse_settings(settings), free)
    if differing:
        changed = ", ".join(f"{name}={old} and not {new}" for name, old, new in differing[:SHOWN])
        more = f" (and {len(differing) - SHOWN} more)" if len(differing) > SHOWN else ""
        raise InputError(f"out={path}: was started with {changed}{more}; name a new folder")
    if not resume:
        raise InputError(f"out={path}: holds a run, and resume=false; name a new folder")


def is_locked(path: Path) -> bool:
    """Whether a process writes this folder now."""
    with open(path / LOCK, "a") as file:
        return not _lock(file)


def _lock(file: IO[str]) -> bool:
    """Lock it until it is closed; False where another process has. A file system without locks gives none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def new_folder(path: Path) -> Path:
    """Make a folder. Raises InputError unless it is new or empty."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: the folder is not empty; name a new one")
    path.mkdir(parents=True, exist_ok=True)
    return path


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append one JSON line and flush it."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a text file: it has the old content or the new, never a part."""
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write beside the target, sync, rename. Where that fails nothing is left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_weights(path: Path, module: "nn.Module") -> Path:
    """The module's state as safetensors."""
    from safetensors.torch import save  # here, as this module is imported before torch is

    return write_bytes(path, save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a small JSON file of ours; empty where there is none."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:  # no device, which has no end
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result.json of a finished run, else None."""
    content = read_json(folder / RESULT)
    return content if content.get("status") == FINISHED else None


def read_settings(path: Path) -> dict[str, Any]:
    """The settings in a config.yaml, as data. Raises InputError where it cannot be one."""
    try:
        size = path.stat().st_size
        content = path.read_bytes() if path.is_file() and size <= MAX_SETTINGS else None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if content is None:
        large = f"{size} bytes; at most {MAX_SETTINGS} are read"
        raise InputError(f"{path}: {large if path.is_file() else 'is no file'}")
    try:
        return parse_settings(content.decode())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not the settings of a run ({one_line(error, 80)})") from None


class _Tree(yaml.SafeLoader):
    """YAML without aliases, with which a small file can stand for an endless one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def parse_settings(text: str) -> dict[str, Any]:
    """Every setting of a YAML text by its dotted name. Raises ValueError or YAMLError where it is no mapping."""
    content = yaml.load(text, _Tree)
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return _flat(content)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in settings.items():
        values |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return values


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]) -> list[tuple[str, Any, Any]]:
    """(name, old, new) of each setting that differs, but of those that are free."""
    names = [name for name in {**before, **now} if not is_free(name, free)]
    pairs = [(name, before.get(name, "nothing"), now.get(name, "nothing")) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new]


def is_free(name: str, free: Collection[str]) -> bool:
    """Whether a setting is one of these, or below one."""
    return any(f"{name}.".startswith(f"{first}.") for first in free)


def latest(root: Path, setting: str = "architecture", holds: str = "architecture.json") -> Path:
    """The newest folder below `root` (outputs/<script>) whose run finished and left the file `holds`.

    setting: what names a folder otherwise. Raises InputError if there is none.
    """
    finished = []
    for result in root.glob("*/result.json"):
        if read_result(result.parent) and (result.parent / holds).is_file():
            finished.append((result.stat().st_mtime_ns, result.parent))
    if not finished:
        raise InputError(
            f"{setting}=latest: no finished {root.name} below {root}; run scripts/{root.name}.py first or give "
            f"{setting}=PATH"
        )
    return max(finished)[1]


def peak_memory_bytes() -> int:
    """Largest memory so far: of the GPU's allocator where it was used in this run, else of the process."""
    cuda = _cuda()
    if cuda and cuda.max_memory_allocated():
        return cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines of ours, up to the first that is none."""
    rows: list[dict[str, Any]] = []
    try:
        if not path.is_file():
            return rows
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if not isinstance(row, dict):
                break
            rows.append(row)
    except (OSError, ValueError, RecursionError):
        pass
    return rows


def _cuda() -> Any:
    """torch.cuda where this process has imported torch and there is a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def is_full_disk(error: BaseException) -> bool:
    """Whether it says that there is no space left, or that a file may not get larger."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
