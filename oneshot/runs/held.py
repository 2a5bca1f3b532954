"""The folders that runs of this process write to. Each is held open, so that no other folder gets what is theirs."""

import os
import stat
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from errno import ESTALE
from pathlib import Path
from threading import RLock
from typing import BinaryIO

LOCK = ".lock"
ABOVE = ("/", "..")  # the beginning of a path that leads out of the working folder
_all: "weakref.WeakValueDictionary[int, Held]" = weakref.WeakValueDictionary()  # by their descriptors


class Held:
    """The folder of a run, held open from its lock on until `close`, or as long as this object lives.

    While a run goes on, its folder can be moved, removed or replaced, and another run can begin under its name. So
    files.py opens what is below the folder through `folder`, and not by a path, and `use` checks before.

    A file is known again by its size and not by its inode: on some disks (FUSE) a file that nobody has open gets
    another inode in time. Folder and lock are open, so theirs stay.

    Args:
        path: The folder.
        lock: Its file LOCK, which is locked.

    Attributes:
        folder: The descriptor of the folder.

    Raises:
        OSError: As `check`.
    """

    def __init__(self, path: Path, lock: BinaryIO) -> None:
        self.path, self.lock, self.mutex = path, lock, RLock()
        self.start = os.path.normpath(path / "x")[:-1]
        self.sizes: dict[str, int] = {}  # of the files that the run knows, by their paths in the folder
        self.folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.own, self.its = os.fstat(self.folder), os.fstat(lock.fileno())
        self._end = weakref.finalize(self, os.close, self.folder)
        self.check()
        _all[self.folder] = self

    def close(self) -> None:
        """Let go of folder and lock."""
        _all.pop(self.folder, None)
        self._end()
        self.lock.close()

    def check(self, names: Iterable[str] = ()) -> None:
        """Check that the path still leads to this folder, and that the lock and these files of the run are in it.

        Args:
            names: The files, by their paths in the folder. Those that the run does not know are left out.

        Raises:
            OSError: If something is gone or is another one.
        """
        where = ""
        try:
            if not os.path.samestat(os.stat(self.path), self.own):
                raise OSError(ESTALE, "is another folder now", str(self.path))
            where = LOCK
            if not os.path.samestat(self._stat(LOCK), self.its):
                raise OSError(ESTALE, "was replaced", str(self.path / LOCK))
            for where in names:
                if where in self.sizes and self._stat(where).st_size != self.sizes[where]:
                    raise OSError(ESTALE, "was changed by something else", str(self.path / where))
        except FileNotFoundError as error:  # with another number, as who removes a file does not mind this one
            raise OSError(ESTALE, error.strerror, str(self.path / where)) from None

    @contextmanager
    def use(self, folders: Sequence[str], name: str, changes: bool, every: bool) -> Iterator[None]:
        """Return a context in which a file is read or changed. Its size is known afterwards.

        A file in a folder below may be another run's, so its size is known only after a change by this run.

        Args:
            folders: The folders between this one and the file.
            name: Name of the file.
            changes: Whether it is changed. If that fails, its size is not known any more.
            every: Whether all known files directly in the folder are checked, and not this one alone.

        Raises:
            OSError: As `check`.
        """
        name = "/".join((*folders, name))
        ours = changes or not folders
        with self.mutex:
            self.check([known for known in self.sizes if "/" not in known] if every else (name,) if ours else ())
            if changes:
                self.sizes.pop(name, None)
            yield
            if ours and name not in self.sizes:
                self._know(name)

    def folders(self, path: str | Path) -> list[str] | None:
        """Return the folders between this one and a file, or None if the file is elsewhere.

        Args:
            path: The file.
        """
        path = os.path.normpath(path)
        inside = path.startswith(self.start) if self.start else not path.startswith(ABOVE) and path != "."
        return path[len(self.start) :].split("/")[:-1] if inside else None

    def _know(self, name: str) -> None:
        try:
            found = self._stat(name)
        except FileNotFoundError:
            return
        if stat.S_ISREG(found.st_mode):
            self.sizes[name] = found.st_size

    def _stat(self, name: str) -> os.stat_result:
        return os.stat(name, dir_fd=self.folder, follow_symlinks=False)


def check(path: Path) -> None:
    """Check the folder of a run of this process, before something else than files.py writes there.

    Args:
        path: The folder, or a path below it.

    Raises:
        OSError: As `Held.check`.
    """
    if found := holder(path / "x"):
        with found[0].mutex:
            found[0].check()


def holder(path: Path) -> tuple[Held, list[str]] | None:
    """Find the innermost folder of a run of this process that a path lies in; of two with one path, the older one.

    Args:
        path: The path of a file or a folder.

    Returns:
        The held folder, and the folders between it and the file; None if there is none.
    """
    whole = os.path.normpath(path)
    some = [held for reference in _all.valuerefs() if (held := reference())]
    around = [(held, folders) for held in some if (folders := held.folders(whole)) is not None]
    return min(around, key=lambda pair: len(pair[1]), default=None)
