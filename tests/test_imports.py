"""Who may import whom inside the package, read from the syntax trees."""

import ast

import pytest
from helpers.support import ROOT

EVERYONE = {"errors", "draws", "distributed"}  # leaves without knowledge of the field
ALLOWED = {
    "errors": set(),
    "draws": set(),
    "distributed": set(),
    "ddp": set(),
    "sharing": {"architecture"},
    "metrics": set(),
    "architecture": set(),
    "stopping": set(),
    "runs": {"stopping"},
    "checkpoints": {"runs", "stopping"},
    "fitting": {"metrics"},
    "data": {"data"},
    "analysis": set(),
    "plots": {"architecture", "analysis", "plots"},
    "report": {"report", "runs", "analysis", "architecture", "plots", "spaces"},
    "spaces": {"architecture", "spaces"},
    "architects": {"architecture", "spaces.base", "architects.base"},
    "strategies": {
        "architecture",
        "spaces.base",
        "strategies.base",
        "strategies.surrogate",
        "strategies.rungs",
        "strategies.policy",
        "strategies.trials",
    },
    "estimators": {
        "architecture",
        "spaces.base",
        "retrain",
        "estimators.base",
        "estimators.log",
        "evaluation",
        "data",
        "runs",
        "cost",
        "stopping",
        "executors.base",
        "executors.inline",
    },
    "selection": {"architecture", "architects.base", "spaces.base", "estimators.base"},
    "executors": {"executors.base", "executors.calls", "executors.remote"},
    "timing": set(),
    "export": set(),
    "cost": {"architecture", "spaces.base", "timing"},
    "callbacks": {"plots", "architecture"},
    "evaluation": {"architecture", "architects.base", "metrics", "spaces.base"},
    "updates": {"architects.base", "metrics"},
    "profiling": set(),
    "acceleration": {"architecture"},
    "search": {
        "fitting",
        "sharing",
        "updates",
        "acceleration",
        "evaluation",
        "architecture",
        "architects.base",
        "spaces.base",
        "estimators.base",
        "cost",
        "runs",
        "data",
        "metrics",
        "callbacks",
    },
    "retrain": {
        "fitting",
        "sharing",
        "acceleration",
        "architecture",
        "architects.base",
        "spaces.base",
        "cost",
        "runs",
        "data",
        "metrics",
        "callbacks",
    },
    "baseline": {
        "architecture",
        "strategies.base",
        "estimators.logged",
    },
}
FORBIDDEN = {"hydra", "omegaconf", "wandb", "torchvision"}
FILES = sorted((ROOT / "oneshot").rglob("*.py"))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "oneshot":
                yield from (f"oneshot.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def test_files_are_seen():
    assert len(FILES) >= 25


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports(path):
    parts = path.relative_to(ROOT / "oneshot").with_suffix("").parts
    module = parts[0]
    for name in imports(path):
        assert name.split(".")[0] not in FORBIDDEN, name
        if not name.startswith("oneshot.") or parts == ("__init__",):
            continue
        target = name.removeprefix("oneshot.")
        if parts[-1] == "__init__":
            assert target.split(".")[0] == module, name  # an __init__ names what its folder holds
        elif target.split(".")[0] not in EVERYONE:
            assert any(target == a or target.startswith(f"{a}.") for a in ALLOWED[module]), name
