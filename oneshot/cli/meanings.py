"""The settings in the files of conf/: each key with its value and the comment that explains it."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, SequenceNode

from ..runs.files import parse_yaml, read_given
from .conf import CONF, choices

NOT_SETTINGS = ("defaults", "hydra", "when")
MACHINERY = ("_target_", "_partial_")  # what Hydra calls, and how
MUST_BE_GIVEN = "must be given"
NOT_USED = "not used"  # the end of a comment in conf/: the command includes the setting, but has no use for it


class Setting(NamedTuple):
    """A setting of a file.

    Args:
        key: Dotted name, as on the command line.
        value: The value as the file writes it.
        meaning: The comment that explains it; empty if there is none.
    """

    key: str
    value: str
    meaning: str


class File(NamedTuple):
    """A file of conf/.

    Args:
        path: Where it is.
        about: Its first comment.
        target: The `_target_` that it makes; empty if there is none.
        settings: Its settings.
    """

    path: Path
    about: str
    target: str
    settings: tuple[Setting, ...]

    @property
    def name(self) -> str:
        """Name of the file without its suffix."""
        return self.path.stem


def read(path: Path, package: str | None = None) -> File:
    """Read a file.

    Args:
        path: Path of the file.
        package: Where its keys are in the configuration, if the file has no `@package` line of its own. None takes it
            from the folder.
    """
    text = read_given(path)
    lines = text.splitlines()
    head = []
    for line in lines:
        if not line.startswith("#"):
            break
        head.append(line.lstrip("# "))
    said = [line.removeprefix("@package ") for line in head if line.startswith("@package ")]
    package = said[0] if said else package if package is not None else _package(path)
    prefix = "" if package == "_global_" else f"{package}." if package else ""
    root = yaml.compose(text, yaml.SafeLoader)
    found = list(_walk(root, prefix, lines, len(head))) if root else []
    targets = [setting for setting in found if setting.key.rpartition(".")[2] == "_target_"]
    own = next((s.value for s in targets if s.key in (f"{prefix}_target_", f"{path.parent.name}._target_")), "")
    about = " ".join(line for line in head if not line.startswith("@package "))
    return File(path, about, own, tuple(s for s in found if not s.key.endswith(MACHINERY)))


def group(name: str, folders: Iterable[Path] = ()) -> list[Path]:
    """Return the files of a group in conf/ and in these folders, sorted by name."""
    return list(choices(name, tuple(folders)).values())


def own_settings(command: str) -> list[str]:
    """Return the names, up to the first dot, of the settings in a command's file and in the files that it includes."""
    return list(
        dict.fromkeys(
            s.key.partition(".")[0] for name in included(command) for s in read(CONF / f"{name}.yaml").settings
        )
    )


def included(command: str) -> Iterator[str]:
    """Yield the name of the command's file in conf/ and of the files that it includes."""
    yield command
    for entry in defaults(CONF / f"{command}.yaml"):
        if isinstance(entry, str) and entry != "_self_":
            yield from included(entry)


def defaults(path: Path) -> list[Any]:
    """Return the defaults list of a file."""
    return (parse_yaml(read_given(path)) or {}).get("defaults", [])


def _package(path: Path) -> str:
    return "" if path.parent == CONF else path.parent.name


def _walk(node: Node, prefix: str, lines: list[str], head: int) -> Iterator[Setting]:
    assert isinstance(node, MappingNode)
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name in NOT_SETTINGS or key.value == "defaults":
            continue
        if isinstance(value, MappingNode) and value.value:
            yield from _walk(value, f"{name}.", lines, head)
        else:
            mark = key.end_mark if isinstance(value, SequenceNode) and not value.flow_style else value.end_mark
            yield Setting(name, _written(value), _comment(lines, mark.line, mark.column, key.start_mark.line, head))


def _written(value: Node) -> str:
    """The value as the file writes it. A list with one item per line is put in brackets."""
    if isinstance(value, SequenceNode) and not value.flow_style:
        return f"[{', '.join(map(_written, value.value))}]"
    start, end = value.start_mark, value.end_mark
    assert start.buffer is not None
    text = start.buffer[start.pointer : end.pointer]
    return MUST_BE_GIVEN if text == "???" else " ".join(text.split())


def _comment(lines: list[str], line: int, column: int, first: int, head: int) -> str:
    """The comment beside the value with its continuation lines, or else the comment above the key."""
    beside = re.match(r"[:\s]*#\s*(.*)", lines[line][column:])
    if beside:
        parts, start = [beside[1]], lines[line].index("#", column)
        for below in lines[line + 1 :]:
            if not below.startswith(" " * start + "#"):
                break
            parts.append(below.lstrip(" #"))
        return " ".join(parts).strip()
    above: list[str] = []
    for before in reversed(lines[head:first]):
        if not re.match(r"\s*#", before) or before.index("#") > len(lines[first]) - len(lines[first].lstrip()):
            break
        above.insert(0, before.lstrip(" #"))
    return " ".join(above).strip()
