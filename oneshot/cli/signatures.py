"""The parameters of the classes and functions of this package, read from the source without importing it."""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from ..runs.files import read_given
from .conf import PACKAGE

ROOT = PACKAGE.name


class Signature(NamedTuple):
    """The parameters of a class or function.

    Args:
        parameters: Name -> annotation; None if there is none.
        open: Whether any other keyword is taken too.
    """

    parameters: Mapping[str, ast.expr | None]
    open: bool


@cache
def signature(target: str) -> Signature | None:
    """Return the signature of a dotted name in this package, or None if the source does not show it."""
    parts = target.split(".")
    if parts[0] != ROOT or len(parts) < 2:
        return None
    folder, module, rest = PACKAGE, PACKAGE / "__init__.py", parts[1:]
    while len(rest) > 1:
        if (folder / rest[0]).is_dir():
            folder = folder / rest.pop(0)
            module = folder / "__init__.py"
        elif (folder / f"{rest[0]}.py").is_file():
            module = folder / f"{rest.pop(0)}.py"
            break
        else:
            return None
    return _of_name(module, rest[0]) if len(rest) == 1 else None


def _of_name(module: Path, name: str) -> Signature | None:
    if not module.is_file():
        return None
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == name and node in tree.body:
            return _of_function(node, 0)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_class(module, node)
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name and (source := _source(module, node)):
                    return _of_name(source, alias.name)
    return None


def _of_class(module: Path, node: ast.ClassDef) -> Signature | None:
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return _of_function(item, 1)
    fields = {
        i.target.id: i.annotation for i in node.body if isinstance(i, ast.AnnAssign) and isinstance(i.target, ast.Name)
    }
    plain = [d for d in node.decorator_list if "dataclass" in ast.unparse(d)]
    if plain and (fields or not node.bases):
        return Signature(fields, False)
    for base in node.bases:
        if isinstance(base, ast.Name) and (found := _of_name(module, base.id)):
            return found
    return None


def _of_function(node: ast.FunctionDef, skip: int) -> Signature:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs][skip:]
    return Signature({one.arg: one.annotation for one in every}, node.args.kwarg is not None)


def _source(module: Path, node: ast.ImportFrom) -> Path | None:
    folder = module.parent
    for _ in range(node.level - 1):
        folder = folder.parent
    path = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def _tree(module: Path) -> ast.Module:
    return ast.parse(read_given(module))
