"""A folder with all that is below it: which folders, images and other files, whatever they mean."""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from .pixels import SUFFIXES, shown

JUNK = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "__macosx", "@eadir", "icon\r", "lost+found"),
    *("$recycle.bin", "system volume information", "__pycache__"),
}
MOST_ENTRIES = 50_000_000


@dataclass
class Level:
    """What one folder holds, each in the order of names.

    Args:
        path: The folder.
        folders: Paths of the folders in it.
        images: Paths of the files with a suffix of an image.
        others: Paths of all other files.
    """

    path: str
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


class Tree:
    """A folder with all that is below it, of which each folder is listed once.

    Args:
        source: The folder.
    """

    def __init__(self, source: Path) -> None:
        self.root, self._levels, self._entries = str(source), dict[str, Level](), 0
        real = Path(os.path.realpath(source))
        self.above = {identity(str(path)) for path in (real, *real.parents)}  # a link to one of them leads back
        self.back = dict[str, None]()  # links that were not followed

    def look(self, path: str) -> Level:
        """List a folder, without JUNK.

        Args:
            path: The folder.

        Raises:
            InputError: If it cannot be read, or holds a link that leads nowhere and has no suffix of an image.
        """
        if path not in self._levels:
            self._levels[path] = self._listed(path)
        return self._levels[path]

    def everything(self) -> Iterator[Level]:
        """Yield every folder once."""
        return self.below(self.root, self.above - {identity(self.root)})

    def below(self, path: str, seen: set[tuple[int, int]]) -> Iterator[Level]:
        """Yield a folder and all folders below it, without those in `seen`, to which they are added.

        Args:
            path: The folder.
            seen: Device and number of folders, from `identity`.
        """
        waiting = [path]
        while waiting:
            path = waiting.pop()
            number = identity(path)
            if number in seen:
                self.back[path] = None
                continue
            seen.add(number)
            yield (level := self.look(path))
            waiting += reversed(level.folders)

    def _listed(self, path: str) -> Level:
        level = Level(path)
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not is_junk(entry.name):
                        self._sort(level, entry)
        except OSError as error:
            raise InputError(f"{shown(path)}: cannot be read ({error.strerror})") from None
        for paths in (level.folders, level.images, level.others):
            paths.sort(key=lambda path: (unicodedata.normalize("NFC", path), path))
        self._entries += len(level.folders) + len(level.images) + len(level.others)
        if self._entries > MOST_ENTRIES:
            raise InputError(f"data.source={shown(self.root)}: holds more than {MOST_ENTRIES:,} files")
        return level

    def _sort(self, level: Level, entry: "os.DirEntry[str]") -> None:
        """Put one entry of a folder where it belongs."""
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            is_folder = is_file = False
        broken = not (is_folder or is_file) and entry.is_symlink()
        if is_folder:
            level.folders.append(entry.path)
        elif suffix(entry.name) in SUFFIXES and (is_file or broken):
            level.images.append(entry.path)  # a broken link is named with the files that cannot be decoded
        elif broken:
            raise InputError(f"{shown(entry.path)}: is a link that leads nowhere; mend or remove it")
        else:
            level.others.append(entry.path)


def suffix(path: str) -> str:
    """Return the suffix of a file in lower case, without the dot.

    Args:
        path: Its path or name.
    """
    return os.path.splitext(path)[1][1:].lower()


def is_junk(name: str) -> bool:
    """Return whether a name is that of a hidden file or of what a system leaves behind."""
    return name.startswith(".") or name.lower() in JUNK


def identity(path: str) -> tuple[int, int]:
    """Return device and number of a folder: what two links to it share.

    Args:
        path: The folder.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({error.strerror})") from None
    return found.st_dev, found.st_ino


def name_of(path: str) -> str:
    """Return the name of a folder in Unicode's form NFC.

    Args:
        path: The folder.

    Raises:
        InputError: If it is not UTF-8, so that it could not be written into a file of results.
    """
    name = os.path.basename(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{shown(path)}: the name of this folder is not UTF-8; rename it") from None
    return unicodedata.normalize("NFC", name)


def folded(name: str) -> str:
    """Return a name as names of splits are compared: without case."""
    return unicodedata.normalize("NFC", name).casefold()
