"""oneshot: differentiable one-shot neural architecture search.

The names below are the public interface. Each is imported when it is first used, so `import oneshot` takes
milliseconds and needs neither torch nor Lightning.
"""

TYPE_CHECKING = False  # type checkers know this name; nothing is imported here, so that Ctrl-C cannot fall into it
if TYPE_CHECKING:
    from typing import Any

    from . import (
        architects,
        comparison,
        cost,
        data,
        diagnostics,
        estimators,
        executors,
        plots,
        report,
        selection,
        spaces,
        stages,
        statistics,
        stopping,
        strategies,
        tables,
        tasks,
        techniques,
    )
    from .architecture import Architecture, Choice, Gates, Query
    from .baseline import Baseline, Budget
    from .comparison import compare
    from .errors import InputError
    from .retrain import Retrain
    from .schedule import Schedule
    from .search import Search
    from .selection import BestOf
    from .selection.scores import by_scores
    from .stages import Stage
    from .training.fit import fit

__version__ = "0.2.0.dev0"

__all__ = [
    "Architecture",
    "Baseline",
    "BestOf",
    "Budget",
    "Choice",
    "Gates",
    "InputError",
    "Query",
    "Retrain",
    "Schedule",
    "Search",
    "Stage",
    "__version__",
    "architects",
    "by_scores",
    "compare",
    "comparison",
    "cost",
    "data",
    "diagnostics",
    "estimators",
    "executors",
    "fit",
    "plots",
    "report",
    "selection",
    "spaces",
    "stages",
    "statistics",
    "stopping",
    "strategies",
    "tables",
    "tasks",
    "techniques",
]

_HOME = {  # of each name that is not a module
    "Architecture": "architecture",
    "Baseline": "baseline",
    "BestOf": "selection",
    "Budget": "baseline",
    "Choice": "architecture",
    "Gates": "architecture",
    "InputError": "errors",
    "Query": "architecture",
    "Retrain": "retrain",
    "Schedule": "schedule",
    "Search": "search",
    "Stage": "stages",
    "by_scores": "selection",
    "compare": "comparison",
    "fit": "training.fit",
}


def __getattr__(name: str) -> "Any":
    """Import a public name, or a module of the package, when it is first used."""
    from importlib import import_module

    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    elif name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    else:
        try:
            value = import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":  # a package that it needs is missing
                raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
