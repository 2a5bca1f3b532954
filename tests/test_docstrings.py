"""Every public name of the package has a docstring from which the API reference can be built.

The names are found in the syntax trees of the modules outside the command line. A name is public when neither it nor
anything around it (module, class) begins with an underscore. The rules:

1. Modules, classes, functions, methods and properties have a docstring. So has an alias or a constant that a
   folder's `__all__` exports: a string after its assignment.
2. A class names each argument of its constructor, and each field if it is a tuple or a dataclass, in a section
   `Args:` (or `Attributes:`) of the class's docstring.
3. A function or a method names each argument in a section `Args:`. One that has a single argument needs no section
   when the docstring's first line says the argument's name, also as words or in the plural.
4. A method that overrides one of this package needs no docstring: it inherits that one. A method that overrides one
   of another package needs a docstring without sections, as that package says what its arguments are.

`self`, `cls` and arguments that begin with an underscore do not count.
"""

import ast
import importlib
import re

import pytest
from helpers.support import ROOT

PACKAGE = ROOT / "oneshot"
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"]
TREES = {path: ast.parse(path.read_text()) for path in FILES}
CLASSES = {node.name: (path, node) for path in FILES for node in TREES[path].body if isinstance(node, ast.ClassDef)}
Function = ast.FunctionDef | ast.AsyncFunctionDef
SECTION = re.compile(r"^(Args|Attributes):\n((?:[ ]{4,}.*\n|\n)+)", re.MULTILINE)


def is_public(path):
    return not any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(PACKAGE).parts)


PUBLIC = [path for path in FILES if is_public(path)]


def arguments(function):
    """The names of what a caller may give."""
    spec = function.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
    return [a.arg for a in named if a.arg not in ("self", "cls") and not a.arg.startswith("_")]


def fields(node):
    """The fields of a NamedTuple or a dataclass, which are its constructor's arguments."""
    marks = [ast.unparse(mark) for mark in (*node.bases, *node.decorator_list)]
    if not any("NamedTuple" in mark or mark.startswith("dataclass") for mark in marks):
        return []
    named = [s.target.id for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
    return [name for name in named if not name.startswith("_")]


def described(docstring):
    """The names that the sections of a docstring describe."""
    names = set()
    for _, section in SECTION.findall(docstring + "\n"):
        for found in re.findall(r"^ {4}([*\w][*\w, ]*?)(?: \(.*?\))?:", section, re.MULTILINE):
            names |= {name.strip(" *") for name in found.split(",")}
    return names


def names_it(docstring, argument):
    """Whether the first line says the name of the argument, as it is or as words."""
    line = docstring.strip().splitlines()[0].lower().replace("-", " ")
    words = argument.lower().strip("_").replace("_", " ")
    forms = {words, argument.lower(), words.removesuffix("s"), re.sub("y$", "ie", words)}
    return any(re.search(rf"\b{re.escape(form)}(s|es)?\b", line) for form in forms)


def imported(path, name):
    """The object of another package that a name (with dots) in a module means, None if it is of this package."""
    first, _, rest = name.partition(".")
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name.partition(".")[0]) != first:
                    continue
                if isinstance(node, ast.ImportFrom):
                    found = None if node.level else getattr(importlib.import_module(node.module), alias.name)
                else:
                    found = importlib.import_module(alias.name if alias.asname else first)
                for part in rest.split(".") if rest and found is not None else ():
                    found = getattr(found, part)
                return found
    return None


def bases(path, node):
    """The classes of this package that a class inherits from, as (file, node), and those of other packages."""
    own, foreign = [], []
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0]
        if name in CLASSES:
            own.append(CLASSES[name])
            more = bases(*CLASSES[name])
            own, foreign = own + more[0], foreign + more[1]
        elif (found := imported(path, name)) is not None:
            foreign.append(found)
    return own, foreign


def methods(node):
    return {s.name: s for s in node.body if isinstance(s, Function)}


def faults_of_function(where, function):
    docstring = ast.get_docstring(function)
    if not docstring:
        return [f"{where}: no docstring"]
    names = arguments(function)
    if len(names) == 1 and names_it(docstring, names[0]):
        return []
    missing = [name for name in names if name not in described(docstring)]
    return [f"{where}: Args lacks {', '.join(missing)}"] if missing else []


def faults_of_class(path, where, node):
    docstring = ast.get_docstring(node) or ""
    found = [] if docstring else [f"{where}: no docstring"]
    own = methods(node)
    needed = fields(node) + (arguments(own["__init__"]) if "__init__" in own else [])
    if docstring and (missing := [name for name in needed if name not in described(docstring)]):
        found.append(f"{where}: Args lacks {', '.join(missing)}")
    ours, others = bases(path, node)
    for name, method in own.items():
        if name.startswith("_") or any(name in methods(base) for _, base in ours):
            continue
        if any(hasattr(other, name) for other in others):
            found += [] if ast.get_docstring(method) else [f"{where}.{name}: no docstring"]
        elif not (is_setter(method) and name in own):
            found += faults_of_function(f"{where}.{name}", method)
    return found


def is_setter(method):
    return any(ast.unparse(mark).endswith(".setter") for mark in method.decorator_list)


def faults(path):
    where = path.relative_to(ROOT).as_posix()
    found = [] if ast.get_docstring(TREES[path]) else [f"{where}: no docstring"]
    for node in TREES[path].body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            found += faults_of_function(f"{where}, {node.name}", node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += faults_of_class(path, f"{where}, {node.name}", node)
    return found


@pytest.mark.parametrize("path", PUBLIC, ids=[path.relative_to(PACKAGE).as_posix() for path in PUBLIC])
def test_public_names_have_docstrings(path):
    assert not faults(path), "\n".join(faults(path))


def documented(tree):
    """The names that a module defines, with a docstring or a string after the assignment."""
    found = {node.name for node in tree.body if isinstance(node, Function | ast.ClassDef) and ast.get_docstring(node)}
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if isinstance(text, str):
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def exported(tree):
    """The names of a module's `__all__`."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return ast.literal_eval(node.value)
    return []


def modules_of(folder):
    """The names that are modules or folders of a folder of the package."""
    return {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}


EXPORTING = [path for path in PUBLIC if path.name == "__init__.py" and exported(TREES[path])]


@pytest.mark.parametrize("path", EXPORTING, ids=[path.parent.name for path in EXPORTING])
def test_what_a_folder_exports_has_docstrings(path):
    everywhere = set().union(*(documented(tree) for tree in TREES.values())) | modules_of(path.parent)
    missing = [name for name in exported(TREES[path]) if name not in everywhere and not name.startswith("__")]
    assert not missing, f"{path.relative_to(ROOT)}: no docstring for {', '.join(missing)}"


def test_the_rules_see_the_package():
    assert EXPORTING and len(PUBLIC) > len(EXPORTING)
    assert described("One line.\n\nArgs:\n    x: (batch, 3).\n        More: of it.\n    low, high: ends.") == {
        "x",
        "low",
        "high",
    }
    assert names_it("The cost of each architecture.", "architectures") and not names_it("The cost.", "x")
