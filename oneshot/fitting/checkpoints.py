"""Checkpoints of a fit: written whole or not at all, checked when they are read, and free of code."""

import hashlib
import io
import os
import re
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import CheckpointIO

from ..errors import InputError, check_integer, one_line
from ..runs import signals
from ..runs.files import MAX_WEIGHTS, make_folder, names, opened, remove, rename, write_bytes

KEPT = 2
MAX_DIRECTORY = 1 << 26  # bytes of the directory of an archive
MAX_HEADER = 1 << 13  # bytes that a part of an archive takes besides its content
PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "fit", "epoch", "global_step")
UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
NAME = re.compile(r"(\d{12})-([0-9a-f]{32})\.ckpt")


class Checkpoints(CheckpointIO):
    """The checkpoints of one run in a folder. Their names are UPDATES-DIGEST.ckpt, with a digest of the file's bytes.

    Content and checksum appear together, by a single rename. If the process is killed, the earlier checkpoints remain.
    The last two are kept.

    Args:
        folder: The folder of the checkpoints, inside the folder of a run, which exists.
        say: Called with a line of text for each damaged file. Such a file is renamed, and the one before it is used.
    """

    def __init__(self, folder: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self.say = folder, say

    def save(self, trainer: pl.Trainer, done: int) -> None:
        """Save the state of a trainer.

        Args:
            trainer: The trainer.
            done: Number of updates so far.
        """
        trainer.save_checkpoint(self.folder / f"{done:012}")

    def newest(self) -> Path | None:
        """Return the newest undamaged checkpoint, or None."""
        for path in reversed(list(self._files())):
            if is_whole(path):
                return path
            self.say(f"{path}: is damaged and not used; renamed to {path.name}.damaged")
            rename(path, path.name + ".damaged", root=self.folder.parent)
        return None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint with its digest and remove old ones. Lightning calls this."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        content = buffer.getvalue()
        make_folder(self.folder)
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        write_bytes(Path(f"{path}-{digest}.ckpt"), content, root=self.folder.parent)
        for old in list(self._files())[:-KEPT]:
            self.remove_checkpoint(old)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint as data. Raises InputError if it would execute code or is no checkpoint of ours."""
        try:
            with opened(Path(path), MAX_WEIGHTS, root=Path(path).parent.parent) as file:
                _check_archive(file)
                content = torch.load(file, map_location="cpu", weights_only=True)
        except InputError:
            raise
        except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            why = error.strerror if isinstance(error, OSError) else None
            raise InputError(f"{path}: cannot be read as a checkpoint ({why or one_line(error, 80)})") from None
        except Exception as error:  # torch raises several of pickle's errors
            raise InputError(f"{path}: holds more than data and is not read ({one_line(error, 80)})") from None
        if not isinstance(content, dict) or not set(PARTS) <= set(content):
            raise InputError(f"{path}: is no checkpoint of a search or a retraining")
        states = content.get("callbacks", {})
        if not isinstance(states, dict) or not all(isinstance(state, dict) for state in states.values()):
            raise InputError(f"{path}: is no checkpoint of a search or a retraining")
        kept = {name: content[name] for name in PARTS} | {"callbacks": states}
        return {**kept, "pytorch-lightning_version": pl.__version__}

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, if it is there."""
        remove(Path(path), root=self.folder.parent)

    def _files(self) -> Iterator[Path]:
        """The checkpoints, oldest first."""
        for name in names(self.folder, root=self.folder.parent):
            if NAME.fullmatch(name):
                yield self.folder / name


class Checkpointing(pl.Callback):
    """Saves a checkpoint after the last update of each epoch, before its evaluation, and also at an interval.

    If a signal arrives during an update, the update is finished and saved first (oneshot.runs.signals). During an
    evaluation it takes effect at once, because nothing would be lost.

    Args:
        checkpoints: Where to save.
        every: The interval: a number of updates, or a time such as "30s", "5min" or "2h". None saves nothing in
            between.
        begin: Called when the fit starts, with the module's rows: those of the checkpoint, or none.

    Raises:
        InputError: If `every` is anything else.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        every: int | str | None = None,
        begin: Callable[[Sequence[Mapping[str, Any]]], None] = lambda rows: None,
    ) -> None:
        self.checkpoints, self.begin = checkpoints, begin
        self.updates, self.seconds = interval(every)

    def on_train_start(self, trainer: pl.Trainer, module: Any) -> None:
        """Start the clock and pass on the module's rows."""
        self.saved = time.monotonic()
        self.begin(module.rows)

    def on_train_batch_start(self, *_: Any) -> None:
        """Let signals wait for the end of the update."""
        signals.hold()

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        """Save if it is time, if the epoch is over or if a signal waits; then let signals take effect."""
        due = module.done % self.updates == 0 if self.updates else time.monotonic() - self.saved >= self.seconds
        if due or module.epoch_is_over or signals.stop_wanted():
            self.checkpoints.save(trainer, module.done)
            self.saved = time.monotonic()
        signals.release()


def interval(every: int | str | None) -> tuple[int, float]:
    """Read the setting checkpoint.every.

    Args:
        every: A number of updates, a time such as "30s", "5min" or "2h", or None.

    Returns:
        The number of updates (0: none given) and the seconds (infinite: none given) from one checkpoint to the next.

    Raises:
        InputError: If it is neither.
    """
    if every is None:
        return 0, float("inf")
    if isinstance(every, str) and (found := re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?(s|min|h)", every)):
        return 0, float(found[1]) * UNITS[found[2]]
    if isinstance(every, str):
        raise InputError(f"checkpoint.every={every!r}: must be a number of updates, or a time such as 30s, 5min or 2h")
    check_integer("checkpoint.every", every, 1)
    return every, float("inf")


def is_whole(path: Path) -> bool:
    """Check whether the file at this path has the digest that its name holds."""
    named = NAME.fullmatch(path.name)
    try:
        with opened(path, MAX_WEIGHTS, root=path.parent.parent) as file:
            if _is_sparse(file):  # it has a right to be if it holds zeros, and the disk compresses
                _check_archive(file)
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))  # type: ignore[arg-type]
    except InputError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile):
        return False
    return named is not None and named[2] == digest.hexdigest()


def _is_sparse(file: BinaryIO) -> bool:
    """Whether a file takes less than half of its size on the disk."""
    about = os.fstat(file.fileno())
    return 2 * about.st_blocks * 512 < about.st_size


class _Bounded:
    """A file from which a directory of a zip archive can be read, and no more at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.tell, self.file = file.seek, file.tell, file

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY:
            raise ValueError(f"its directory has {size} bytes")
        return self.file.read(size if size >= 0 else MAX_DIRECTORY)


def _check_archive(file: BinaryIO) -> None:
    """Raise ValueError or BadZipFile unless the parts of an archive fill the file and are not compressed.

    This is how torch writes them. So a file does not get larger once it is unpacked, and one to which a hole was added
    is known without reading it.
    """
    with zipfile.ZipFile(_Bounded(file)) as archive:  # type: ignore[call-overload]
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError("holds compressed parts")
    if file.seek(0, io.SEEK_END) > sum(part.file_size + MAX_HEADER for part in parts) + MAX_HEADER:
        raise ValueError("holds more than its parts")
    file.seek(0)
