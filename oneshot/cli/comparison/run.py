"""A comparison: its jobs in their order, the rows of their results, and what judges them."""

import json
import math
import random
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console

from ... import plots
from ...architecture import Architecture, by_name
from ...data import ImageData
from ...errors import InputError
from ...estimators import Tabular
from ...executors import Executor
from ...fitting.progress import clock
from ...quantity import ACCURACY, Quantity, of_result
from ...runs.folder import Run, read_json, read_result
from ...spaces import SearchSpace
from ...stages import Stages
from ...tables import lookup_for
from .. import job as running
from ..composition import inside
from ..estimates import wanted
from ..faults import BAD_INPUT
from ..jobs import Children
from ..objects import make, stages_for
from ..screen import say
from .budget import QUERIES, SECONDS, UPDATES, batches_within, pace, pilots
from .jobs import Ended, Job, execute, shared
from .methods import ARCHITECT, CONTROL, RANDOM, STRATEGY, Method
from .settings import AUTO, TABLE, Settings
from .tabular import regret_table, search_table
from .verdicts import Ranked, judge, off_budget, table, unequal

SUPERNET = "supernet"  # of strategies: a search whose supernet they ask
LENGTHS = "lengths.json"  # batches in an epoch of each method's searches
UNIFORM = "architect=uniform"
COST = "cost=multiply_accumulates"


class JobsFailed(Exception):
    """Some jobs of a comparison failed; the others have ended."""


class Comparison:
    """Runs a comparison. A job that finished before is only read.

    Args:
        config: The settings of the command.
        found: What they compare.
        space: The search space.
        data: The images.
        path: Folder of the comparison.
        console: Where lines are shown.

    Raises:
        InputError: If there is no table to judge by, or strategies have no budget that they can keep.
    """

    def __init__(
        self, config: DictConfig, found: Settings, space: SearchSpace, data: ImageData, path: Path, console: Console
    ) -> None:
        self.config, self.settings, self.space, self.data = config, found, space, data
        self.path, self.console = path, console
        self.ranked = self._ranked()
        self.tabular: Tabular | None = None
        self.asks_supernet = False
        if found.of(STRATEGY):
            self._prepare_strategies()
        self.executor: Executor = make(config.executor) if config.get("executor") else Children(config.jobs)
        self.failed: list[tuple[Job, Ended]] = []
        self.ended: dict[str, list[float]] = {}  # seconds of the jobs that ended here, by their command
        self.left: Counter[str] = Counter()  # jobs that have not ended, by their command
        self.total = 0

    def _ranked(self) -> Ranked | None:
        """The table that judges; None: trainings do."""
        reference = self.config.reference
        if self.config.truth == AUTO and reference.get("table") is None:
            lookup = lookup_for(self.space.fingerprint, self.data.splits.classes, self.data.image_shape)
            if lookup is None or not lookup.same:
                return None
        elif self.config.truth not in (AUTO, TABLE):
            return None
        if wanted(reference) - {"space"}:
            raise InputError(f"reference: is {reference._target_}; must be a table, estimator@reference=tabular")
        return Ranked(make(reference, space=self.space))

    def _prepare_strategies(self) -> None:
        node, budget = self.config.estimator, self.settings.budget
        asked = wanted(node)
        if asked <= {"space"}:
            self.tabular = make(node, space=self.space)
            if budget and budget.unit != QUERIES:
                raise InputError(
                    f"budget={self.config.budget}: {node._target_} answers at once, so strategies have a number of "
                    "queries: budget=queries:N"
                )
        self.asks_supernet = "supernet" in asked and self.config.supernet is None

    def run(self, run: Run) -> list[dict[str, Any]]:
        """Run all jobs and return a row for each method and seed whose jobs have finished.

        Args:
            run: The open run of the comparison.

        Raises:
            InputError: If a job refuses its settings.
        """
        with self.executor:
            lengths = self._lengths(run)
            searches = [self._search(m.name, s, lengths) for m in self.settings.of(ARCHITECT) for s in self.seeds]
            if self.asks_supernet:
                searches += [self._search(SUPERNET, seed, lengths) for seed in self.seeds]
            strategies = [(m, s) for m in self.settings.of(STRATEGY) for s in self.seeds]
            on_table = self.tabular is not None
            trainings = 0 if self.ranked else len(self.settings.methods) * len(self.seeds) * len(self.config.recipes)
            self.left = Counter(search=len(searches), baseline=0 if on_table else len(strategies), retrain=trainings)
            self.total = self.left.total()
            self._work(searches)
            if self.tabular:
                for method, seed in strategies:
                    self._search_table(method.name, seed)
            else:
                ready = [(m, s) for m, s in strategies if not self.asks_supernet or self._of(SUPERNET, s, "search")]
                self._work([self._baseline(m.name, s) for m, s in ready])
            if not self.ranked:
                self._work(list(self._trainings()))
        return [row for method in self.settings.methods for seed in self.seeds if (row := self._row(method, seed))]

    @property
    def seeds(self) -> list[int]:
        """The seeds."""
        return self.settings.seeds

    def _folder(self, name: str, seed: int, kind: str) -> Path:
        return self.path / name / str(seed) / kind

    def _of(self, name: str, seed: int, kind: str) -> Mapping[str, Any] | None:
        return read_result(self._folder(name, seed, kind))

    def _job(self, program: str, name: str, seed: int, kind: str, words: Sequence[str]) -> Job:
        said = f"{kind} of {name}, seed {seed}"
        return Job(said, program, (*words, f"seed={seed}"), self._folder(name, seed, kind), self.path.name)

    def _words(self, name: str) -> list[str]:
        """The settings of a search but for its seed and its length."""
        words = [*shared("search"), "controls=0", *self.config.search_settings]  # the comparison has its own
        return [UNIFORM, *words, *self.config.supernet_settings] if name == SUPERNET else [f"architect={name}", *words]

    def _search(self, name: str, seed: int, lengths: Mapping[str, int]) -> Job:
        length = [f"epoch_batches={lengths[name]}"] if name in lengths else []
        return self._job("search", name, seed, "search", [*self._words(name), *length])

    def _baseline(self, name: str, seed: int) -> Job:
        words = [f"strategy={name}", *shared("baseline"), f"failures={self.config.failures}"]
        words += [] if "cost" in running.given() else [COST]  # what NSGA-II minimizes; others note it alone
        budget, spent = self.settings.budget, 0.0
        if self.asks_supernet:
            words.append(f"supernet={self._folder(SUPERNET, seed, 'search')}")
            spent = (self._of(SUPERNET, seed, "search") or {}).get("seconds", 0.0)
        elif self.config.supernet is not None:
            spent = (read_result(Path(self.config.supernet)) or {}).get("seconds", 0.0)
        if budget and budget.unit == SECONDS:
            words += ["budget.queries=null", f"budget.seconds={max(1.0, budget.amount - spent):.1f}"]
        else:
            words.append(f"budget.queries={self._queries}")
        return self._job("baseline", name, seed, "search", [*words, *self.config.strategy_settings])

    @property
    def _queries(self) -> int:
        budget = self.settings.budget
        return int(budget.amount) if budget and budget.unit == QUERIES else self.config.queries

    def _trainings(self) -> Iterator[Job]:
        for method in self.settings.methods:
            for seed in self.seeds:
                source = method.name
                if method.kind != CONTROL:
                    if self._of(method.name, seed, "search") is None:
                        self.left["retrain"] -= len(self.config.recipes)
                        continue
                    source = str(self._folder(method.name, seed, "search"))
                for recipe in self.config.recipes:
                    words = [f"architecture={source}", f"recipe={recipe}", *shared("retrain")]
                    yield self._job(
                        "retrain", method.name, seed, f"retrain-{recipe}", [*words, *self.config.retrain_settings]
                    )

    def _work(self, jobs: Sequence[Job], counted: bool = True) -> None:
        """Run jobs and say after each how far the comparison is.

        Args:
            jobs: The jobs; those that have finished are left out.
            counted: Whether they are among the jobs of the whole comparison, as pilots are not.
        """
        waiting = [job for job in jobs if not job.done]
        if counted:
            self.left.subtract(job.program for job in jobs if job.done)
        for job, answer in self.executor.map(execute, waiting):
            if isinstance(answer, InputError):
                raise answer
            ended = answer if isinstance(answer, Ended) else Ended(None, 1, str(answer), 0.0)
            command = shlex.join(["oneshot", job.program, *job.words])
            if ended.result is None and ended.code == BAD_INPUT:
                raise InputError(f"{command}: {ended.line}")
            said = "" if ended.result else f"failed: {ended.line}; "
            if ended.result is None:
                self.failed.append((job, ended))
            number, left = "", ""
            if counted:
                self.left[job.program] -= 1
                self.ended.setdefault(job.program, []).append(ended.seconds)
                number, left = f"[{self.total - self.left.total()} of {self.total}] ", self._time_left()
            say(self.console, [f"{number}{job.name}: {said}{clock(ended.seconds)}{left}"])

    def _time_left(self) -> str:
        """About how long the jobs that are left will take; empty at the end."""
        if not self.left.total():
            return ""
        budget, seconds, least = self.settings.budget, 0.0, ""
        for program, number in self.left.items():
            if own := self.ended.get(program):
                seconds += number * sum(own) / len(own)
            elif number and budget and budget.unit == SECONDS and program == "search":
                seconds += number * budget.amount
            elif number:
                least = "at least "
        return f"; {least}{clock(seconds / self.executor.workers)} left" if seconds else ""

    def _lengths(self, run: Run) -> dict[str, int]:
        """Return the batches in an epoch with which each search keeps the budget, and keep them for a resume."""
        budget = self.settings.budget
        if budget is None or budget.unit == QUERIES:
            return {}
        kept: dict[str, int] = {name: n for name, n in read_json(self.path / LENGTHS).items() if isinstance(n, int)}
        names = [method.name for method in self.settings.of(ARCHITECT)] + [SUPERNET] * self.asks_supernet
        updates = {name: self._updates(name) for name in names if name not in kept}
        if budget.unit == UPDATES:
            for name, of in updates.items():
                if of(1) > budget.amount:
                    raise InputError(
                        f"budget={self.config.budget}: {name} has {of(1):,} updates with one batch in each epoch; "
                        "give more updates, or fewer epochs"
                    )
                kept[name] = batches_within(of, budget.amount)
        elif updates:
            kept |= self._measured(updates)
        run.write(LENGTHS, json.dumps(kept, indent=2) + "\n")
        return kept

    def _measured(self, updates: Mapping[str, Callable[[int], int]]) -> dict[str, int]:
        """Measure two short searches of each method and return the batches in an epoch that keep the seconds."""
        assert self.settings.budget
        pairs = {name: pilots(of) for name, of in updates.items()}
        say(self.console, [f"measuring how long a batch takes: two short searches of {', '.join(pairs)}"])
        seed, jobs = self.seeds[0], {}
        for name, pair in pairs.items():
            for batches in pair:
                words = [*self._words(name), f"epoch_batches={batches}", f"seed={seed}"]
                folder = self.path / "pilots" / name / str(batches)
                jobs[name, batches] = Job(
                    f"pilot of {name}, {batches} batches in an epoch", "search", tuple(words), folder, self.path.name
                )
        self._work(list(jobs.values()), counted=False)
        found = {}
        for name, pair in pairs.items():
            results = [read_result(jobs[name, batches].folder) for batches in pair]
            if None in results:
                job, ended = next((job, ended) for job, ended in self.failed if job in jobs.values())
                raise InputError(f"{shlex.join(['oneshot', job.program, *job.words])}: {ended.line}")
            own = self.settings.budget.amount * (self.config.supernet_share if name == SUPERNET else 1.0)
            line = pace(*((b, r["seconds"]) for b, r in zip(pair, results, strict=True) if r))
            found[name] = line.batches(own)
            if found[name] < 1:
                least = math.ceil(line.fixed + line.per_batch)
                raise InputError(
                    f"budget={self.config.budget}: a search with {name} takes at least {least} s, for what is measured "
                    "at the ends of its epochs; give more seconds, or fewer epochs"
                )
        return found

    def _updates(self, name: str) -> Callable[[int], int]:
        """Return the updates of a whole search by the batches in an epoch."""
        config = inside("search", self._words(name))
        stages = Stages(stages_for(config, self.space), make(config.schedule))
        plan = stages.plan(config.epochs)
        return partial(plan.total, config.epochs)

    def _search_table(self, name: str, seed: int) -> None:
        """Search the table with a strategy, in this process."""
        assert self.tabular
        node = inside("baseline", [f"strategy={name}", *shared("baseline"), *self.config.strategy_settings]).strategy
        file = self.path / name / f"{seed}.json"
        search_table(node, self.tabular, seed, self._queries, self.config, file, self.console)

    def _row(self, method: Method, seed: int) -> dict[str, Any] | None:
        """What is known of a method and a seed; None if a job of it failed, or nothing was found."""
        row: dict[str, Any] = {"method": method.name, "kind": method.kind, "seed": seed}
        if method.name == RANDOM and self.ranked:
            return None  # its distribution is known exactly
        if method.kind == CONTROL:
            found = self.space.sample(random.Random(seed)) if method.name == RANDOM else self.space.largest()
        elif method.kind == STRATEGY and self.tabular:
            kept = read_json(self.path / method.name / f"{seed}.json")
            found = Architecture(self.space.fingerprint, tuple(kept["decisions"]))
            row |= {"seconds": kept["seconds"], "queries": self._queries}
        else:
            result = self._of(method.name, seed, "search")
            if result is None:
                return None
            found = self.space.load(self._folder(method.name, seed, "search") / "architecture.json")
            kept = ("peak_memory_bytes", "queries")
            row |= {"seconds": _seconds(result), **{name: result[name] for name in kept if name in result}}
        row |= {"architecture": by_name(found, self.space.choices), "notation": self.space.notation(found)}
        if self.ranked:
            return row | self.ranked.of(found)
        trained = {recipe: self._of(method.name, seed, f"retrain-{recipe}") for recipe in self.config.recipes}
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
        texts, figures = [], {}
        for name, (title, values, quantity) in self._judges(rows).items():
            judged = judge(values, "value", quantity, self.ranked)
            texts.append(table(values, judged, quantity, title))
            shown = {quantity.titled("test"): _by_method(values, "value", quantity.scale)}
            more = {"search, s": _by_method(values, "seconds"), "parameters": _by_method(values, "parameters")}
            figures[name] = partial(plots.comparison, {**shown, **{k: v for k, v in more.items() if any(v.values())}})
        if self.tabular:
            at = [n for n in self.config.regret_at if n <= self._queries]
            text, curves = regret_table(self.path, [m.name for m in self.settings.of(STRATEGY)], self.seeds, at)
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
        lines = [f"Budget of each search: {budget or 'the epochs of its settings'}. Seeds: {len(self.seeds)}."]
        if len(methods) > 1:
            lines.append(f"p-values are corrected for {len(methods)} methods (Holm).")
        if len(self.seeds) > 1:
            lines.append("effect: mean difference between pairs of the same seed, in its own standard deviations.")
        if not self.ranked and RANDOM not in (m.name for m in self.settings.methods):
            lines.append("Without random among methods= nothing is said about chance.")
        if budget and budget.unit == SECONDS:
            lines += off_budget(rows, budget.amount)
        elif budget is None:
            lines += unequal(rows)
        return [*lines, *(f"{job.name}: failed: {ended.line}" for job, ended in self.failed)]

    def check_failures(self) -> None:
        """Raise JobsFailed if a job has failed."""
        if self.failed:
            number = f"{len(self.failed)} of {self.total} jobs failed"
            raise JobsFailed(f"{number}; the same command tries them again ({self.path}/table.md says why)")


def _seconds(result: Mapping[str, Any]) -> float:
    """Seconds of a search; for a strategy those of its queries and of its supernet."""
    if "search_seconds" in result:
        return float(result["search_seconds"] + result.get("supernet_seconds", 0.0))
    return float(result["seconds"])


def _by_method(rows: Sequence[Mapping[str, Any]], key: str, scale: float = 1.0) -> dict[str, list[float]]:
    """By method, a number of its seeds."""
    found: dict[str, list[float]] = {}
    for row in rows:
        own = found.setdefault(row["method"], [])
        if row.get(key) is not None:
            own.append(scale * row[key])
    return found
