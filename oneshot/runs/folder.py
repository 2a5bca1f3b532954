"""The folder of a run: what it holds, who writes it, and how, so that no file in it is ever half written."""

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
SHOWN = 5  # settings that a message names
MAX_BYTES = 1 << 26  # of a file that is read whole
MAX_SETTINGS = 1 << 18


class Run:
    """The folder of one run, locked as long as this object lives.

    Files are written next to their target and then renamed. metrics.jsonl holds what the seed determines; timings.jsonl
    holds the time and the memory of each row. status.json holds the state (running, finished, diverged, failed or
    interrupted), the reason and the process. A run that was killed still has the state "running". As a context manager,
    the object records how the run ended.

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
            path.mkdir(parents=True, exist_ok=True)
            _check_folder(path, settings, resume, free)
            self._lock = open(path / LOCK, "a")
        except OSError as error:
            raise InputError(f"out={path}: cannot be used as a folder ({error.strerror})") from None
        if not _lock(self._lock):
            process = read_json(path / STATUS).get("process", "another")
            raise InputError(f"out={path}: process {process} writes there now; name another folder")
        _check_folder(path, settings, resume, free)  # again, because now nobody else writes
        for temporary in path.rglob(".*.tmp"):  # left when a write was killed
            temporary.unlink(missing_ok=True)
        self.started = time.monotonic()
        if settings and not (path / CONFIG).is_file():
            self.write(CONFIG, settings)
        if cuda := _cuda():
            cuda.reset_peak_memory_stats()

    def __enter__(self) -> "Run":
        self._status("running" if self.result() is None else FINISHED)  # last: __exit__ records the end
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
                ours = isinstance(error, InputError | Stopped)  # their texts need no class name
                self._status(name, one_line(error) if ours else named(error, 400))
            except OSError:  # a full disk: the state stays at running
                pass
        self._lock.close()
        if stop and stop is not cause:
            raise stop from cause

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
            before: Any = timings[-1].get("seconds")
            self.started = time.monotonic() - (before if is_number(before) else 0.0)

    def record(self, row: Mapping[str, Any], seconds: float | None = None) -> None:
        """Append a row to metrics.jsonl, and its time to timings.jsonl.

        Args:
            row: The row, numbers by name, with `step`.
            seconds: Time of the row since the start of the run; None is now.
        """
        at = self.seconds if seconds is None else seconds
        timing = {"step": row["step"], "seconds": at, "peak_memory_bytes": peak_memory_bytes()}
        append(self.path / METRICS, row)
        append(self.path / TIMINGS, timing)

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json. From then on the run counts as finished.

        Args:
            result: What the run found, as plain data for JSON.

        Returns:
            The content of the file: the result with the status and the cost.
        """
        cost = {"seconds": self.seconds, "peak_memory_bytes": peak_memory_bytes()}
        content = {"status": FINISHED, **result, **cost}
        self.write(RESULT, json.dumps(content, indent=2) + "\n")
        self._status(FINISHED)
        return content

    def result(self) -> dict[str, Any] | None:
        """Return the content of result.json if the run has finished, else None."""
        return read_result(self.path)

    @property
    def seconds(self) -> float:
        """Seconds of this run, without the work that a kill has lost and without the time between."""
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
    """Check whether a process writes to the folder at this path now."""
    with open(path / LOCK, "a") as file:
        return not _lock(file)


def _lock(file: IO[str]) -> bool:
    """Lock a file until it is closed. False if another process has locked it. Without locks on the disk, True."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def new_folder(path: Path) -> Path:
    """Make a new folder.

    Args:
        path: The folder. It may exist if it is empty.

    Returns:
        The path.

    Raises:
        InputError: If it is not empty.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"{path}: the folder is not empty; name a new one")
    path.mkdir(parents=True, exist_ok=True)
    return path


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Append one line of JSON to a file and flush it.

    Args:
        path: The file.
        row: The content of the line.
    """
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> Path:
    """Write a text file. It has the old content or the new one, never a part.

    Args:
        path: The file.
        text: Its content.

    Returns:
        The path.
    """
    return write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> Path:
    """Write next to the target, sync, and rename. If that fails, nothing remains.

    Args:
        path: The file.
        content: Its content.

    Returns:
        The path.
    """
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
    """Write the state of a module as safetensors.

    Args:
        path: The file.
        module: The module.

    Returns:
        The path.
    """
    from safetensors.torch import save  # not above: this module is imported before torch

    return write_bytes(path, save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))


def read_json(path: Path) -> dict[str, Any]:
    """Read a small JSON file of a run from its path. The result is empty unless it holds a mapping."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:  # not a device, which may be endless
            return {}
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read result.json from a folder. Returns None unless the run has finished."""
    content = read_json(folder / RESULT)
    return content if content.get("status") == FINISHED else None


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings in a config.yaml as data.

    Args:
        path: The file.

    Returns:
        Each setting by its dotted name.

    Raises:
        InputError: If the file cannot be read or does not hold settings.
    """
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
    """YAML without aliases, with which a small file can expand without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def parse_settings(text: str) -> dict[str, Any]:
    """Parse the settings in a YAML text.

    Args:
        text: The text.

    Returns:
        Each setting by its dotted name.

    Raises:
        ValueError: If the text is not a mapping.
        yaml.YAMLError: If the text is not YAML, or has aliases.
    """
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
    """Compare two sets of settings.

    Args:
        before: Settings by dotted name.
        now: Settings by dotted name.
        free: Settings that may differ, by their dotted name or the beginning of it.

    Returns:
        (name, old, new) of each setting that differs and may not.
    """
    names = [name for name in {**before, **now} if not is_free(name, free)]
    pairs = [(name, before.get(name, "nothing"), now.get(name, "nothing")) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new]


def is_free(name: str, free: Collection[str]) -> bool:
    """Check whether a setting is one of these or below one of them.

    Args:
        name: Dotted name of the setting.
        free: Dotted names or their beginnings.

    Returns:
        Whether it is.
    """
    return any(f"{name}.".startswith(f"{first}.") for first in free)


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
    for result in root.glob("*/result.json"):
        if read_result(result.parent) and (result.parent / holds).is_file():
            finished.append((result.stat().st_mtime_ns, result.parent))
    if not finished:
        command = root.name.replace("_", "-")
        raise InputError(
            f"{setting}=latest: no finished {root.name} below {root}; run `oneshot {command}` first or give "
            f"{setting}=PATH"
        )
    return max(finished)[1]


def peak_memory_bytes() -> int:
    """Return the largest memory so far in bytes: of the GPU's allocator if it was used, else of the process."""
    cuda = _cuda()
    if cuda and cuda.max_memory_allocated():
        return cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a file of JSON lines from its path, up to the first line that is not a row."""
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
    """torch.cuda if this process has imported torch and there is a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def is_full_disk(error: BaseException) -> bool:
    """Check whether an error says that no space is left or that a file may not get larger."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
