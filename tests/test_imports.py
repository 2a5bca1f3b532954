"""Who may import whom inside the package, read from the syntax trees, and what is imported at the start."""

import ast
import subprocess
import sys

import pytest
from helpers.support import ROOT

PACKAGE = ROOT / "oneshot"
LAYERS = (  # from the bottom: each imports what is in the layers before its own, and its own folder
    ("errors", "quantity", "controls"),
    ("runs",),
    ("architecture", "draws", "statistics", "executors", "export", "tasks"),
    ("data", "distributed", "schedule", "plots", "tables"),
    ("spaces",),
    ("selection", "stopping"),
    ("architects", "strategies", "cost", "report"),
    ("techniques", "stages"),
    ("fitting",),
    ("diagnostics",),
    ("search", "retrain"),
    ("estimators",),
    ("baseline", "training", "comparison"),
    ("cli",),
)
OF_EVERYONE = ("oneshot", "__main__")  # which name what the package holds
INTERFACES = (  # folders with a base.py
    *("spaces", "architects", "techniques", "strategies", "estimators", "executors", "stopping"),
)
KNOWS_THEM = {  # who may import more of these folders than their base
    "cli": {"spaces", "architects", "techniques", "estimators", "executors"},
    "report": {"spaces"},  # draws the cells of the two spaces that it knows
    "diagnostics": {"architects", "techniques"},  # full precision as in second-order DARTS; a search's transforms
    "training": {"techniques"},  # what they are is a part of the settings of a search
    "baseline": {"estimators"},  # its log of answers
    "comparison": {"estimators"},  # a table that judges
    "estimators": {"executors"},  # the one that needs no workers
}
ONLY_CLI = {"hydra", "omegaconf", "wandb"}
NEVER = {"torchvision"}
FILES = sorted(PACKAGE.rglob("*.py"))


def parts(path):
    """The names of a file's module, below the package."""
    found = path.relative_to(PACKAGE).with_suffix("").parts
    return found[:-1] if found[-1] == "__init__" else found


def nodes(tree):
    """All imports that are carried out: not those for a type checker."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from nodes(node)


def imports(path):
    """(the level of a relative import, else 0; the names of the module, below the package where it is ours)."""
    folder = path.relative_to(PACKAGE).parts[:-1]
    for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, tuple(alias.name.split("."))) for alias in node.names)
        elif node.level == 0:
            yield 0, tuple((node.module or "").split("."))
        else:
            base = (*folder[: len(folder) - (node.level - 1)], *(node.module.split(".") if node.module else ()))
            for alias in node.names:  # `from . import a` names a module, `from .a import b` mostly does not
                inside = (*base, alias.name)
                is_module = PACKAGE.joinpath(*inside).is_dir() or PACKAGE.joinpath(*inside).with_suffix(".py").is_file()
                yield node.level, inside if is_module else base


def test_every_room_has_a_layer():
    rooms = {parts(path)[0] for path in FILES if parts(path)} - {*OF_EVERYONE}
    named = [name for layer in LAYERS for name in layer]
    assert len(named) == len(set(named)) and set(named) == rooms
    assert {name for name in INTERFACES if (PACKAGE / name / "base.py").is_file()} == {*INTERFACES}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports(path):
    room = (parts(path) or ("oneshot",))[0]
    height = {name: n for n, layer in enumerate(LAYERS) for name in layer}
    for level, target in imports(path):
        name = ".".join(target)
        if level == 0:
            assert target[0] != "oneshot", f"{name}: relative imports, which nothing else can shadow"
            assert target[0] not in NEVER and (room == "cli" or target[0] not in ONLY_CLI), name
        elif room not in OF_EVERYONE and target and target[0] != room:
            assert height[target[0]] < height[room], f"{name} is not below {room}"
            if target[0] in INTERFACES and target[0] not in KNOWS_THEM.get(room, ()):
                assert target[1:2] == ("base",), f"{name}: only its base"


def test_what_is_not_used_is_not_allowed():
    """The exceptions are those that there are."""
    used = {}
    for path in FILES:
        for level, target in imports(path):
            room = (parts(path) or ("oneshot",))[0]
            if level and target and target[0] in INTERFACES and target[0] != room and target[1:2] != ("base",):
                used.setdefault(room, set()).add(target[0])
    assert {room: found for room, found in used.items() if room not in OF_EVERYONE} == KNOWS_THEM


SLOW = ("torch", "pytorch_lightning", "wandb", "datasets", "matplotlib", "optuna", "sklearn", "scipy")
AT_ONCE = (  # modules that a command imports before its settings are checked
    "oneshot",
    "oneshot.errors",
    "oneshot.runs.folder",
    "oneshot.cli.main",
    "oneshot.cli.launch",
    "oneshot.cli.help",
    "oneshot.cli.check",
    "oneshot.cli.settings",
)


@pytest.mark.parametrize("module", AT_ONCE)
def test_what_is_imported_at_once(module):
    code = f"import sys, {module}; print(sorted({set(SLOW)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_what_a_search_may_do_without():
    """Each takes a second or two, and not every search needs it."""
    later = {"wandb", "datasets", "sklearn", "pandas", "optuna", "onnx", "ray"}
    code = f"import sys, oneshot.cli.commands.search; print(sorted({later} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_the_first_answers_need_no_hydra():
    code = "import sys, oneshot.cli.main as m; m.overview(); print(sorted({'hydra', 'omegaconf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize("name", ["settings", "launch", "errors", "search", "statistics", "runs"])
def test_a_users_module_of_the_same_name_is_his(tmp_path, name):
    """Nothing of ours is on the import path besides the package, and nothing of the user's hides a part of it."""
    (tmp_path / f"{name}.py").write_text("raise SystemExit('of the user')\n")
    words = ["search", "epohcs=1"]
    done = subprocess.run([sys.executable, "-m", "oneshot", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean 'epochs'?" in done.stderr, done.stderr
    done = subprocess.run([sys.executable, "-c", f"import {name}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.strip() == "of the user"
