"""The only place where files are opened: to read, and to write. No other module opens, renames or removes one.

The folder of a run may come from a stranger. So inside it no link is followed, only regular files are opened, and reads
are limited in size. Links above the folder of a run are followed, as `outputs` may be on another disk.

Functions take the path of a file and, where there are folders between it and the folder of the run, that folder as
`root`: then none of the folders in between may be a link either. They are opened one after the other, each relative to
the one before, so that a folder which is replaced in the meantime changes nothing. Below the folder of a run of this
process (held.py) all this begins at the open folder, whatever `root` is.
"""

import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from ..errors import InputError, one_line
from .held import holder

MAX_BYTES = 1 << 26  # of a file that is read whole
MAX_WEIGHTS = 1 << 36  # of weights and checkpoints
MAX_DIGITS = 300  # of a number in a file
MAX_ENTRIES = 1_000_000  # of a folder of a run, with all below it
OPAQUE = ("wandb",)  # folders of a library that keeps links of its own in them; nothing in them is opened here
READ = os.O_RDONLY | os.O_NONBLOCK  # a FIFO does not wait for its other end
CLOSED = os.O_CLOEXEC | os.O_NOFOLLOW
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
LOST = (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.ENOTCONN)
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@contextmanager
def _folder_of(path: Path, root: Path | None, changes: bool = False, every: bool = False) -> Iterator[int]:
    """The descriptor of the folder of a file. From `root` or the folder of a run on, no folder may be a link."""
    with ExitStack() as stack:
        if found := holder(path):
            held, folders = found
            stack.enter_context(held.use(folders, path.name, changes, every))
            current = held.folder
        else:
            root = root or path.parent
            current, folders = os.open(root, FOLDER), list(path.parent.relative_to(root).parts)
            stack.callback(os.close, current)
        for name in folders:
            try:
                current = os.open(name, FOLDER | os.O_NOFOLLOW, dir_fd=current)
            except OSError as error:
                raise _refusal(error, path.parent, current, name) from None
            stack.callback(os.close, current)
        yield current


def _refusal(error: OSError, path: Path, folder: int, name: str) -> Exception:
    """What to raise for an error of the system: InputError if there is something that is never opened."""
    try:
        mode = os.lstat(name, dir_fd=folder).st_mode if not isinstance(error, FileNotFoundError) else 0
    except OSError:
        mode = 0
    wrong = IsADirectoryError if stat.S_ISDIR(mode) else NotADirectoryError
    if mode and (isinstance(error, wrong) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))):
        return _unsafe(path, mode)
    error.filename = str(path)
    return error


def _unsafe(path: Path, mode: int) -> InputError:
    if stat.S_ISREG(mode):
        return InputError(f"{path}: is a file, and must be a folder")
    return InputError(f"{path}: is {kind_of(mode)}; only regular files and folders are used inside a run's folder")


def kind_of(mode: int) -> str:
    """Name what a file is, from its mode."""
    kinds: list[tuple[Callable[[int], bool], str]] = [
        (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISDIR, "a folder"),
    ]
    return next((name for check, name in kinds if check(mode)), "a device" if not stat.S_ISREG(mode) else "a file")


def _open(path: Path, flags: int, root: Path | None) -> int:
    """Open a regular file without following a link."""
    with _folder_of(path, root) as folder:
        return _open_in(folder, path, flags)


def _open_in(folder: int, path: Path, flags: int) -> int:
    """Open a regular file in an open folder."""
    try:
        descriptor = os.open(path.name, flags | CLOSED, 0o666, dir_fd=folder)
    except OSError as error:
        raise _refusal(error, path, folder, path.name) from None
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    raise _unsafe(path, mode)


@contextmanager
def _changing(path: Path, flags: int, root: Path | None) -> Iterator[int]:
    """The descriptor of a file, open to be changed in place. A file with two names would change elsewhere too."""
    with _folder_of(path, root, changes=True) as folder, _naming(path):
        descriptor = _open_in(folder, path, flags | os.O_WRONLY | os.O_NONBLOCK)
        try:
            if os.fstat(descriptor).st_nlink > 1:
                raise InputError(f"{path}: has another name elsewhere (a hard link); copy the folder and use the copy")
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """A context in which errors of the system name this file: those of a write name none, or a temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def opened(path: Path, most: int = MAX_BYTES, root: Path | None = None) -> Iterator[BufferedReader]:
    """Return a context with a file of a run, open to read its bytes.

    Args:
        path: The file.
        most: Largest size in bytes.
        root: Folder of the run, if the file is in a folder below it.

    Raises:
        InputError: If it is a link, no regular file, or larger.
        OSError: If it cannot be opened.
    """
    with os.fdopen(_open(path, READ, root), "rb") as file:
        _check_size(path, file, most)
        yield file


def _content(file: BufferedReader) -> bytes:
    """What the file holds now; of a file of the system that names no size, at most a mebibyte."""
    return file.read(os.fstat(file.fileno()).st_size or 1 << 20)


def _check_size(path: Path, file: BinaryIO, most: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if size > most:
        raise InputError(f"{path}: {size} bytes; at most {most} are read")


def read_bytes(path: Path, most: int = MAX_BYTES, root: Path | None = None) -> bytes:
    """Read a file of a run.

    Args:
        path: The file.
        most: Largest size in bytes.
        root: Folder of the run, if the file is in a folder below it.

    Returns:
        Its content.

    Raises:
        InputError: As `opened`.
        OSError: As `opened`.
    """
    with opened(path, most, root) as file:
        return _content(file)


def read_text(path: Path, most: int = MAX_BYTES, root: Path | None = None) -> str:
    """Read a text file of a run.

    Args:
        path: The file.
        most: Largest size in bytes.
        root: Folder of the run, if the file is in a folder below it.

    Returns:
        Its text.

    Raises:
        InputError: As `opened`.
        OSError: As `opened`.
        ValueError: If it is not UTF-8.
    """
    return read_bytes(path, most, root).decode("utf-8")


@contextmanager
def given(path: Path, most: int = MAX_BYTES) -> Iterator[BufferedReader]:
    """Return a context with a file that the user names, open to read. A link is followed, and nothing is waited for.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        InputError: If it is missing, no regular file, too large, or cannot be read.
    """
    try:
        descriptor = os.open(path, READ | os.O_CLOEXEC)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            raise InputError(f"{path}: is {kind_of(mode)}, and not a file")
        with os.fdopen(descriptor, "rb") as file:
            _check_size(path, file, most)
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or one_line(error)})") from None
    except ValueError as error:
        if isinstance(error, InputError) or "null" not in str(error):
            raise
        raise InputError(f"{str(path)!r}: no path holds a null character") from None


def read_given(path: Path, most: int = MAX_BYTES) -> str:
    """Read a text file that the user names.

    Args:
        path: The file.
        most: Largest size in bytes.

    Returns:
        Its text.

    Raises:
        InputError: As `given`; also if it is not UTF-8.
    """
    with given(path, most) as file:
        content = _content(file)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file") from None


def is_file(path: Path) -> bool:
    """Check whether there is a regular file. A link is none.

    Args:
        path: The file.

    Returns:
        Whether it is there.

    Raises:
        InputError: If there is a link, a device or another thing that is never opened.
    """
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return stat.S_ISREG(mode)
    raise _unsafe(path, mode)


def check_folder(folder: Path) -> None:
    """Check that a run's folder holds regular files and folders only, at any depth.

    Args:
        folder: The folder. It may be a link itself.

    Raises:
        InputError: If it holds a link, a device, a named pipe or a socket; the message names the first one.
        OSError: If a folder cannot be read.
    """
    count = 0
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                count += 1
                if count > MAX_ENTRIES:
                    raise InputError(f"{folder}: holds more than {MAX_ENTRIES} files")
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode) and entry.name not in OPAQUE:
                    waiting.append(Path(entry.path))
                elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise _unsafe(Path(entry.path), mode)


def names(folder: Path, root: Path | None = None) -> list[str]:
    """List what a folder holds.

    Args:
        folder: The folder.
        root: Folder of the run, if this one is below it.

    Returns:
        The names in their order; none if there is no such folder.

    Raises:
        InputError: If there is a link in its place.
    """
    try:
        with _folder_of(folder / "any", root or folder) as descriptor:
            return sorted(os.listdir(descriptor))
    except FileNotFoundError:
        return []


def make_folder(folder: Path, root: Path | None = None) -> Path:
    """Make a folder inside a run's folder, if it is not there.

    Args:
        folder: The folder. All above it exist.
        root: Folder of the run, if there are folders in between.

    Returns:
        The folder.

    Raises:
        InputError: If there is a link or another thing in its place.
    """
    with _folder_of(folder, root, every=True) as above:
        try:
            os.mkdir(folder.name, dir_fd=above)
        except FileExistsError:
            mode = os.lstat(folder.name, dir_fd=above).st_mode
            if not stat.S_ISDIR(mode):
                raise _unsafe(folder, mode) from None
        except OSError as error:
            raise _refusal(error, folder, above, folder.name) from None
    return folder


def new_folder(folder: Path) -> Path:
    """Make a new folder, with those above it.

    Args:
        folder: The folder. It may exist if it is empty.

    Returns:
        The folder.

    Raises:
        InputError: If it is not empty.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"{folder}: exists; name a new folder")
    if names(folder):
        raise InputError(f"{folder}: the folder is not empty; name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def fresh_folder(above: Path) -> Path:
    """Make a new, empty folder in a folder of a run, for a library that writes files of its own.

    Args:
        above: The folder above, inside a run's folder. It is made if it is not there.

    Returns:
        The new folder, named by the lowest number that is free.

    Raises:
        InputError: If there is a link in the place of the folder above.
    """
    make_folder(above)
    number = 1
    while True:
        with _folder_of(above / "any", above.parent) as folder:
            try:
                os.mkdir(str(number), dir_fd=folder)
                return above / str(number)
            except FileExistsError:
                number += 1


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Return a context with an empty folder, which gets its name at the end, so that it is never seen incomplete.

    Args:
        folder: The folder that it becomes. It does not exist, or is empty, or is a link to an empty one.
    """
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.tmp")
    beside.mkdir()
    try:
        yield beside
        os.replace(beside, folder)
    finally:
        remove_folder(beside)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that it holds, or what is in its place, without following a link.

    What cannot be removed stays.

    Args:
        folder: The folder.
    """
    with suppress(OSError), _folder_of(folder, None) as above:
        if stat.S_ISDIR(os.lstat(folder.name, dir_fd=above).st_mode):
            shutil.rmtree(folder.name, ignore_errors=True, dir_fd=above)
        else:  # rmtree would open a named pipe, and wait for ever
            os.unlink(folder.name, dir_fd=above)


def append(path: Path, text: str, root: Path | None = None) -> None:
    """Append a text to a file.

    Args:
        path: The file. It is made if it is not there.
        text: The text.
        root: Folder of the run, if the file is in a folder below it.

    Raises:
        InputError: If it is no regular file, or has a second name in another place (a hard link).
        OSError: If it cannot be written.
    """
    content = memoryview(text.encode())
    with _changing(path, os.O_APPEND | os.O_CREAT, root) as file:
        while content:
            content = content[os.write(file, content) :]


def truncate(path: Path, size: int, root: Path | None = None) -> None:
    """Cut a file off.

    Args:
        path: The file.
        size: Bytes that are left.
        root: Folder of the run, if the file is in a folder below it.

    Raises:
        InputError: As `append`.
        OSError: If it cannot be written.
    """
    with _changing(path, 0, root) as file:
        os.ftruncate(file, size)


def write_text(path: Path, text: str, root: Path | None = None) -> Path:
    """Write a text file as `write_bytes` does.

    Args:
        path: The file.
        text: Its content.
        root: Folder of the run, if the file is in a folder below it.

    Returns:
        The path.
    """
    return write_bytes(path, text.encode(), root)


def write_bytes(path: Path, content: bytes, root: Path | None = None) -> Path:
    """Write a file. It has the old content or the new one, never a part: it is written beside, synced and renamed.

    Args:
        path: The file.
        content: Its content.
        root: Folder of the run, if the file is in a folder below it.

    Returns:
        The path.

    Raises:
        InputError: If there is something other than a regular file in its place.
        OSError: If it cannot be written; then nothing remains.
    """
    with _folder_of(path, root, changes=True, every=True) as folder, _naming(path):
        _check_target(path, folder)
        temporary = f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | CLOSED
            with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
    return path


def _check_target(path: Path, folder: int) -> None:
    """Raise InputError if a file cannot be renamed to this name, as something else has it."""
    try:
        mode = os.lstat(path.name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise _unsafe(path, mode)


def rename(path: Path, name: str, root: Path | None = None) -> None:
    """Give a file of a run another name in the same folder.

    Args:
        path: The file.
        name: Its new name.
        root: Folder of the run, if the file is in a folder below it.

    Raises:
        InputError: If one of the two names is that of something other than a regular file.
    """
    with _folder_of(path, root, changes=True) as folder, _naming(path):
        _check_target(path, folder)
        _check_target(path.with_name(name), folder)
        os.replace(path.name, name, src_dir_fd=folder, dst_dir_fd=folder)


def remove(path: Path, root: Path | None = None) -> None:
    """Remove a file of a run, if it is there.

    Args:
        path: The file.
        root: Folder of the run, if the file is in a folder below it.

    Raises:
        InputError: If it is something other than a regular file.
    """
    with suppress(FileNotFoundError), _folder_of(path, root, changes=True) as folder, _naming(path):
        _check_target(path, folder)
        os.unlink(path.name, dir_fd=folder)


def remove_temporary(folder: Path) -> None:
    """Remove what writes that were killed have left in a run's folder and below it."""
    for _, _, files, descriptor in os.fwalk(folder):
        for file in files:
            if file.startswith(".") and file.endswith(".tmp"):
                mode = os.lstat(file, dir_fd=descriptor).st_mode
                if stat.S_ISREG(mode):
                    os.unlink(file, dir_fd=descriptor)


def open_lock(path: Path) -> BinaryIO:
    """Open the file that a run locks. It is made if it is not there, and its content does not change.

    Args:
        path: The file.

    Raises:
        InputError: If it is no regular file.
    """
    return os.fdopen(_open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, None), "r+b")


def parse_json(text: str | bytes) -> Any:
    """Read JSON whose numbers and texts can be used and shown.

    Args:
        text: The text.

    Returns:
        Its content.

    Raises:
        ValueError: If it is not JSON, a number has more than 300 digits, it is nested too deeply, or a text holds half
            of a character (a lone surrogate).
    """
    try:
        content = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if SURROGATE.search(text.decode("utf-8") if isinstance(text, bytes) else text):
        _check_texts(content)
    return content


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _check_texts(content: Any) -> None:
    """Raise ValueError if a text in it cannot be written as UTF-8."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ValueError("a text with half of a character") from None
        elif isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value


class _Tree(yaml.SafeLoader):
    """YAML without aliases, with which a small file can expand without end, and without numbers of base 60."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)

    def construct_number(self, node: yaml.ScalarNode) -> Any:
        """A number of ordinary length; what YAML 1.1 would read in base 60 stays a text."""
        text = self.construct_scalar(node)
        if ":" in text:
            return text
        if len(text) > MAX_DIGITS:
            raise yaml.YAMLError(f"a number of {len(text)} digits")
        is_whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)


for _kind in ("int", "float"):
    _Tree.add_constructor(f"tag:yaml.org,2002:{_kind}", _Tree.construct_number)


def parse_yaml(text: str) -> Any:
    """Read YAML as data: no aliases, no numbers in base 60 or of more than 300 digits.

    Args:
        text: The text.

    Returns:
        Its content.

    Raises:
        ValueError: If it is not such YAML.
    """
    try:
        content = yaml.load(text, _Tree)
    except yaml.YAMLError as error:
        raise ValueError(one_line(error, 120)) from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    _check_texts(content)
    return content


def is_full_disk(error: BaseException) -> bool:
    """Check whether an error says that no space is left or that a file may not get larger."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def is_lost_disk(error: BaseException) -> bool:
    """Check whether an error says that the disk of a file is read-only, broken or gone."""
    return isinstance(error, OSError) and error.errno in LOST and error.filename is not None
