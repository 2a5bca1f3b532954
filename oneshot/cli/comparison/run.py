"""A comparison: its jobs in their order, with the budget that each keeps."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig
from rich.console import Console

from ...comparison import Ranked
from ...controls import RANDOM
from ...data import ImageData
from ...errors import InputError
from ...estimators import Tabular
from ...executors import Executor
from ...fitting.progress import clock
from ...runs.folder import Run, read_result
from ...spaces import SearchSpace
from ...tables import lookup_for
from .. import job as running
from ..composition import inside
from ..estimates import of_reference, wanted
from ..faults import BAD_INPUT
from ..jobs import Children, refusal
from ..objects import make
from ..screen import say
from .budget import QUERIES, SECONDS
from .jobs import Ended, Job, execute, folder_of, result_of, seconds_of, shared
from .lengths import LENGTHS, Lengths
from .limits import limit_for, write_control
from .methods import ARCHITECT, CONTROL, STRATEGY, SUPERNET
from .results import Results
from .settings import AUTO, TABLE, Settings
from .tabular import search_table

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
        self.cost = limit_for(config, space, data)
        if self.cost and self.ranked:
            raise InputError(
                "cost.limit: a table ranks an architecture among all, also those over the limit; use truth=training"
            )
        self.tabular: Tabular | None = None  # the table that strategies ask
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
        lookup = lookup_for(self.space.fingerprint, self.data.splits.classes, self.data.image_shape)
        self.same_images = reference.get("table") is not None or (lookup is not None and lookup.same)
        if self.config.truth not in (AUTO, TABLE) or self.config.truth == AUTO and not self.same_images:
            return None
        if wanted(reference) - {"space"}:
            raise InputError(f"reference: is {reference._target_}; must be a table, estimator@reference=tabular")
        with of_reference():
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
        given = self.config.supernet
        self.asks_supernet = "supernet" in asked and given is None
        if "supernet" in asked and given is not None and not (isinstance(given, str) and read_result(Path(given))):
            raise InputError(f"supernet={given}: must be the folder of a finished search")

    def run(self, run: Run) -> list[dict[str, Any]]:
        """Run all jobs and return a row for each method and seed whose jobs have finished.

        Args:
            run: The open run of the comparison.

        Raises:
            InputError: If a job refuses its settings.
        """
        self._check_settings()
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
                trained = {
                    s for s in self.seeds if not self.asks_supernet or result_of(self.path, SUPERNET, s, "search")
                }
                self._work([self._baseline(m.name, s) for m, s in strategies if s in trained])
            if not self.ranked:
                self._work(list(self._trainings()))
        return self.results.rows()

    def _check_settings(self) -> None:
        """Ask the commands whether they take the settings of the lists; else a wrong one is found hours later."""
        config, seed, jobs = self.config, self.seeds[0], list[Job]()
        if config.search_settings:
            jobs += [self._search(method.name, seed, {}) for method in self.settings.of(ARCHITECT)]
        if self.asks_supernet and (config.search_settings or config.supernet_settings):
            jobs.append(self._search(SUPERNET, seed, {}))
        if config.strategy_settings:
            jobs += [self._baseline(method.name, seed) for method in self.settings.of(STRATEGY)]
        if config.retrain_settings and not self.ranked:
            jobs += [self._training(RANDOM, RANDOM, seed, recipe) for recipe in config.recipes]
        for job in jobs:
            if not job.done and (reason := refusal(job.program, job.words)):
                raise InputError(f"{shlex.join(['oneshot', job.program, *job.words])}: {reason}")

    @property
    def results(self) -> Results:
        """What has been found so far."""
        given = (self.config, self.settings, self.space, self.path, self.ranked)
        return Results(*given, self.tabular is not None, self.same_images, self.cost)

    @property
    def seeds(self) -> list[int]:
        """The seeds."""
        return self.settings.seeds

    def _job(self, program: str, name: str, seed: int, kind: str, words: Sequence[str]) -> Job:
        said = f"{kind} of {name}, seed {seed}"
        return Job(said, program, (*words, f"seed={seed}"), folder_of(self.path, name, seed, kind), self.path.name)

    def _words(self, name: str) -> list[str]:
        """The settings of a search but for its seed and its length."""
        words = [*shared("search"), "controls=0", *self.config.search_settings]  # the comparison has its own
        return [UNIFORM, *words, *self.config.supernet_settings] if name == SUPERNET else [f"architect={name}", *words]

    def _search(self, name: str, seed: int, lengths: Mapping[str, int]) -> Job:
        length = [f"epoch_batches={lengths[name]}"] if name in lengths else []
        return self._job("search", name, seed, "search", [*self._words(name), *length])

    def _baseline(self, name: str, seed: int) -> Job:
        words = [f"strategy={name}", *shared("baseline"), f"failures={self.config.failures}"]
        if "cost" not in running.given() and self._has_costs():
            words.append(COST)  # what NSGA-II minimizes; others note it alone
        budget, spent = self.settings.budget, 0.0
        if self.asks_supernet:
            words.append(f"supernet={folder_of(self.path, SUPERNET, seed, 'search')}")
            spent = seconds_of(result_of(self.path, SUPERNET, seed, "search") or {}, self.config)
        elif self.config.supernet is not None:
            spent = seconds_of(read_result(Path(self.config.supernet)) or {}, self.config)
        if budget and budget.unit == SECONDS:
            words += ["budget.queries=null", f"budget.seconds={max(1.0, budget.amount - spent):.1f}"]
        else:
            words.append(f"budget.queries={self.settings.queries(self.config)}")
        return self._job("baseline", name, seed, "search", [*words, *self.config.strategy_settings])

    def _has_costs(self) -> bool:
        try:
            with torch.device("meta"):
                next(self.space.joint_operations())
        except InputError:
            return False
        return True

    def _trainings(self) -> Iterator[Job]:
        for method in self.settings.methods:
            for seed in self.seeds:
                source = method.name
                if method.kind == CONTROL and self.cost:
                    source = str(write_control(self.path, self.space, method.name, seed, self.cost))
                elif method.kind != CONTROL:
                    if result_of(self.path, method.name, seed, "search") is None:
                        self.left["retrain"] -= len(self.config.recipes)
                        continue
                    source = str(folder_of(self.path, method.name, seed, "search"))
                for recipe in self.config.recipes:
                    yield self._training(method.name, source, seed, recipe)

    def _training(self, name: str, source: str, seed: int, recipe: str) -> Job:
        words = [f"architecture={source}", f"recipe={recipe}", *shared("retrain"), *self.config.retrain_settings]
        return self._job("retrain", name, seed, f"retrain-{recipe}", words)

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
        if self.settings.budget is None or self.settings.budget.unit == QUERIES:
            return {}
        names = [method.name for method in self.settings.of(ARCHITECT)] + [SUPERNET] * self.asks_supernet
        budget, seed = self.settings.budget, self.seeds[0]
        found = Lengths(self.config, budget, seed, self.space, self.path, self._words, self._pilots).of(names)
        run.write(LENGTHS, json.dumps(found, indent=2) + "\n")
        return found

    def _pilots(self, jobs: Sequence[Job]) -> None:
        """Run short searches; one that fails ends the comparison."""
        names = ", ".join(job.folder.name for job in jobs)
        say(self.console, [f"measuring how long an update takes, with a short search of {names}"])
        self._work(jobs, counted=False)
        for job, ended in self.failed:
            raise InputError(f"{shlex.join(['oneshot', job.program, *job.words])}: {ended.line}")

    def _search_table(self, name: str, seed: int) -> None:
        """Search the table with a strategy, in this process."""
        assert self.tabular
        node = inside("baseline", [f"strategy={name}", *shared("baseline"), *self.config.strategy_settings]).strategy
        file = self.path / name / f"{seed}.json"
        search_table(node, self.tabular, seed, self.settings.queries(self.config), self.config, file, self.console)

    def judge(self, rows: Sequence[Mapping[str, Any]]) -> tuple[str, dict[str, Callable[[], Figure]]]:
        """Return the text of all tables and verdicts, and pictures by the name of their file.

        Args:
            rows: What `run` returned.
        """
        text, figures = self.results.judge(rows)
        lines = [f"{job.name}: failed: {ended.line}" for job, ended in self.failed]
        return "".join([text, *(f"{line}\n" for line in lines)]), figures

    def check_failures(self) -> None:
        """Raise JobsFailed if a job has failed."""
        if self.failed:
            number = f"{len(self.failed)} of {self.total} jobs failed"
            raise JobsFailed(f"{number}; the same command tries them again ({self.path}/table.md says why)")
