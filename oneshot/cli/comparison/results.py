"""The results of a comparison: a row for each method and seed, the tables of these rows, and verdicts."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import DictConfig

from ... import plots
from ...architecture import Architecture, by_name
from ...comparison.verdicts import Ranked, judge, off_budget, table, unequal
from ...controls import RANDOM
from ...cost import ExpectedCost
from ...quantity import ACCURACY, Quantity, of_result
from ...runs.folder import read_json
from ...spaces import SearchSpace
from .. import job as running
from .budget import SECONDS
from .jobs import folder_of, result_of, seconds_of
from .limits import control
from .methods import CONTROL, STRATEGY, Method
from .settings import Settings
from .tabular import regret_table


class Results:
    """Reads what the jobs of a comparison have left, and judges it.

    Args:
        config: The settings of the command.
        settings: What they compare.
        space: The search space.
        path: Folder of the comparison.
        ranked: The table that judges; None: trainings do.
        on_table: Whether strategies asked a table, in the process of the comparison.
        same_images: Whether the table that judges is of the images that were searched on, as far as that is known.
        cost: A cost with a limit, which all architectures hold; None: there is no limit.
    """

    def __init__(
        self,
        config: DictConfig,
        settings: Settings,
        space: SearchSpace,
        path: Path,
        ranked: Ranked | None,
        on_table: bool,
        same_images: bool,
        cost: ExpectedCost | None = None,
    ) -> None:
        self.config, self.settings, self.space, self.path = config, settings, space, path
        self.ranked, self.on_table, self.same_images, self.cost = ranked, on_table, same_images, cost

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each method and seed whose jobs have finished."""
        return [row for m in self.settings.methods for seed in self.settings.seeds if (row := self._row(m, seed))]

    @property
    def images(self) -> str:
        """The images of the searches, for a reader."""
        size = self.config.data.get("image_size")
        return f"data={running.choices().get('data')}{f', {size}x{size} pixels' if size else ''}"

    def _seconds(self, result: Mapping[str, Any]) -> float:
        """Seconds of a search; for a strategy those of its queries and of its supernet."""
        if "search_seconds" in result:
            return float(result["search_seconds"] + result.get("supernet_seconds", 0.0))
        return seconds_of(result, self.config)

    def _row(self, method: Method, seed: int) -> dict[str, Any] | None:
        """What is known of a method and a seed; None if a job of it failed, or nothing was found."""
        row: dict[str, Any] = {"method": method.name, "kind": method.kind, "seed": seed}
        if method.name == RANDOM and self.ranked:
            return None  # its distribution is known exactly
        if method.kind == CONTROL:
            found = control(self.space, method.name, seed, self.cost)
        elif method.kind == STRATEGY and self.on_table:
            kept = read_json(self.path / method.name / f"{seed}.json")
            found = Architecture(self.space.fingerprint, tuple(kept["decisions"]))
            row |= {"seconds": kept["seconds"], "queries": self.settings.queries(self.config)}
        else:
            result = result_of(self.path, method.name, seed, "search")
            if result is None:
                return None
            found = self.space.load(folder_of(self.path, method.name, seed, "search") / "architecture.json")
            spent = {name: result[name] for name in ("peak_memory_bytes", "queries") if name in result}
            row |= {"seconds": self._seconds(result), **spent}
        row |= {"architecture": by_name(found, self.space.choices), "notation": self.space.notation(found)}
        if self.ranked:
            return row | self.ranked.of(found)
        recipes = self.config.recipes
        trained = {recipe: result_of(self.path, method.name, seed, f"retrain-{recipe}") for recipe in recipes}
        if None in trained.values():
            return None
        first = next(iter(trained.values())) or {}
        metric = of_result(first)
        tests = {recipe: (result or {})[f"test_{metric.name}"] for recipe, result in trained.items()}
        return row | {"parameters": first["parameters"], "metric": metric._asdict(), "test": tests}

    def judge(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Callable[[], Figure]]]:
        """Return the text of all tables and verdicts, and pictures by the name of their file.

        Args:
            rows: What `run` returned.
        """
        if not rows:
            return "no method has finished\n", {}
        texts: list[str] = []
        figures: dict[str, Callable[[], Figure]] = {}
        for name, (title, values, quantity) in self._judges(rows).items():
            judged = judge(values, "value", quantity, self.ranked)
            texts.append(table(values, judged, quantity, title))
            shown = {quantity.titled("test"): _by_method(values, "value", quantity.scale)}
            more = {"search, s": _by_method(values, "seconds"), "parameters": _by_method(values, "parameters")}
            figures[name] = partial(plots.comparison, {**shown, **{k: v for k, v in more.items() if any(v.values())}})
        if self.on_table:
            queries = self.settings.queries(self.config)
            at = [n for n in self.config.regret_at if n <= queries] or [queries]
            names = [method.name for method in self.settings.of(STRATEGY)]
            text, curves = regret_table(self.path, names, self.settings.seeds, at)
            texts.append(text)
            figures["regret"] = partial(plots.anytime, curves, "validation regret, percentage points", logarithmic=True)
        return "\n".join([*texts, *self._remarks(rows)]) + "\n", figures

    def _judges(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, list[dict[str, Any]], Quantity]]:
        """By the name of the picture: title, rows with `value`, and what the value is."""
        if self.ranked:
            every, reference = self.ranked.accuracies, self.config.reference
            of = f"{reference.get('epochs')} epochs" if reference.get("table") is None else reference.table
            title = (
                f"Judged by the table ({len(every):,} architectures, {reference.get('dataset')}, {of}); a random "
                f"architecture has {every.mean():.2f} % on average"
            )
            return {"comparison": (title, [{**row, "value": row["test_accuracy"]} for row in rows], ACCURACY)}
        metric, found = Quantity(**rows[0]["metric"]), {}
        for recipe in self.config.recipes:
            name = "comparison" if len(self.config.recipes) == 1 else f"comparison-{recipe}"
            title = f"Judged by trainings from scratch, recipe {recipe}"
            found[name] = (title, [{**row, "value": row["test"][recipe]} for row in rows], metric)
        return found

    def _remarks(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """Lines under the tables: how they are to be read, and where the comparison was not fair."""
        budget, methods = self.settings.budget, [m for m in self.settings.methods if m.kind != CONTROL]
        lines = [f"Budget of each search: {budget or 'the epochs of its settings'}. Seeds: {len(self.settings.seeds)}."]
        if len(methods) > 1:
            lines.append("p-values are corrected for the number of rows that stand beside the same control (Holm).")
        if len(self.settings.seeds) > 1:
            lines.append("effect: mean difference between pairs of the same seed, in its own standard deviations.")
        if not self.ranked and RANDOM not in (m.name for m in self.settings.methods):
            lines.append("Without random among methods= nothing is said about chance.")
        if self.ranked and not self.same_images and not self.on_table:
            lines.append(f"The searches saw other images ({self.images}) than those of the table that judges them.")
        if self.on_table and self.ranked:
            lines.append(
                "Strategies asked the table that judges them: the best of many queries is easily better than one "
                "random architecture. Compare them with methods=[random_search,...]."
            )
        if self.config.supernet is not None and self.settings.of(STRATEGY) and not self.on_table:
            lines.append(
                "All seeds of the strategies share one supernet: their interval leaves out the chance of its training."
            )
        if not self.ranked and (size := self.config.data.get("train_size")):
            lines.append(
                f"data.train_size={size} is of the searches; trainings used all images, unless "
                "retrain_settings=['data.train_size=N'] says otherwise."
            )
        if budget and budget.unit == SECONDS:
            lines += off_budget(rows, budget.amount)
        elif budget is None:
            lines += unequal(rows)
        return lines


def _by_method(rows: Sequence[Mapping[str, Any]], key: str, scale: float = 1.0) -> dict[str, list[float]]:
    """By method, a number of its seeds."""
    found: dict[str, list[float]] = {}
    for row in rows:
        own = found.setdefault(row["method"], [])
        if row.get(key) is not None:
            own.append(scale * row[key])
    return found
