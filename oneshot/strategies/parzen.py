"""Densities of good and bad architectures, and draws from them: the tree-structured Parzen estimator of Optuna 5."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

Numbers = np.ndarray
GOOD = 25  # largest number of answers that count as good


class Density:
    """A mixture of products of categorical distributions: one component for each row, and a uniform one.

    A component gives each of its decisions a larger probability than the others, the more so the more components there
    are. Later rows have larger weights: they rise linearly, and the last 25 all have the weight 1.

    Args:
        rows: Index of the decision in each parameter, (rows, parameters) of int, oldest first.
        widths: Number of values of each parameter.
    """

    def __init__(self, rows: Numbers, widths: Sequence[int]) -> None:
        count = len(rows) + 1
        weights = np.append(rising(len(rows)), 1.0)
        self.weights = weights / weights.sum()
        self.tables = []
        for column, width in enumerate(widths):
            table = np.full((count, width), 1.0 / (count if len(rows) else width))
            table[np.arange(len(rows)), rows[:, column]] += 1
            self.tables.append(table / table.sum(axis=1, keepdims=True) if len(rows) else table)
        self.logs = [np.log(table).T for table in self.tables]

    def sample(self, rng: np.random.RandomState, size: int) -> Numbers:
        """Draw rows.

        Args:
            rng: Source of the random draws.
            size: Number of rows.

        Returns:
            Index of the decision in each parameter, (size, parameters) of int.
        """
        components = rng.choice(len(self.weights), p=self.weights, size=size)
        drawn = np.empty((size, len(self.tables)), dtype=np.int64)
        for column, table in enumerate(self.tables):
            quantiles = rng.rand(size)
            edges = np.cumsum(table[components], axis=1)
            edges[:, -1] = 1.0  # whatever the rounding
            drawn[:, column] = (edges < quantiles[:, None]).sum(axis=1)
        return drawn

    def log(self, rows: Numbers) -> Numbers:
        """Compute the log density of rows, (rows,)."""
        found = np.zeros((len(rows), len(self.weights)))
        for column, logs in enumerate(self.logs):
            found += logs[rows[:, column]]
        found += np.log(self.weights)
        largest = found.max(axis=1)
        total: Numbers = np.log(np.exp(found - largest[:, None]).sum(axis=1)) + largest
        return total


class Parzen:
    """The tree-structured Parzen estimator for categorical parameters, draw for draw that of Optuna's TPESampler.

    With the same seed it suggests exactly what Optuna 5 does (a test compares them). It is here because Optuna looks at
    all trials again in every draw, also when nothing was answered since the last one, and keeps every draw as a trial.

    The ceil(n / 10) best of n answers are good, at most 25. The others are bad, and so is what still has no answer.
    Parameters that always come together share one density (`multivariate`); a parameter may come in some trials only.

    Only `history` answers are kept: the best, which is all that the density of the good ones uses, and the newest. What
    is forgotten are thus the oldest bad answers, which have the smallest weights.

    Args:
        seed: Seed of all random draws.
        multivariate: Whether there is one density over parameters that come together (True) or one for each (False).
        startup: Number of answers before the first density; until then draws are uniform.
        candidates: Number of draws from the density of good ones; the one with the best ratio is suggested.
        history: Largest number of answers that are kept. None keeps all.
    """

    def __init__(self, seed: int, multivariate: bool, startup: int, candidates: int, history: int | None) -> None:
        self.rng, self.uniform = np.random.RandomState(seed), np.random.RandomState(seed)
        self.multivariate, self.startup, self.candidates, self.history = multivariate, startup, candidates, history
        self.values: dict[str, tuple[int, ...]] = {}  # of each parameter
        self.count = 0  # of trials
        self.answers = 0
        self.open: dict[int, Mapping[str, int]] = {}  # what was suggested in trials without an answer
        self.told: dict[int, tuple[Mapping[str, int], float]] = {}  # decisions and score of the kept answers
        self.groups: list[set[str]] = []  # parameters that always come together
        self.fresh: list[tuple[int, set[str]]] = []  # parameters of the trials that are not yet in `groups`
        self.fitted: dict[tuple[str, ...], tuple[Density, Density]] = {}  # good and bad, until something changes

    def joint(self) -> dict[str, int]:
        """Suggest a value for every parameter that has come in an answer; nothing before `startup` answers."""
        if not self.multivariate:
            return {}
        for _, names in sorted(self.fresh, key=lambda trial: trial[0]):
            split = []
            for group in self.groups:
                split += [group & names, group - names]
                names = names - group
            self.groups = [group for group in (*split, names) if group]
        self.fresh = []
        found: dict[str, int] = {}
        for group in self.groups if self.answers >= self.startup else ():
            if several := tuple(sorted(name for name in group if len(self.values[name]) > 1)):
                found.update(self._drawn(several))
        return found

    def alone(self, name: str, values: tuple[int, ...]) -> int:
        """Suggest a value for one parameter.

        Args:
            name: Name of the parameter.
            values: Its values, always the same ones.
        """
        self.values[name] = values
        if len(values) == 1:
            return values[0]
        if self.answers < self.startup:
            return values[int(self.uniform.uniform(np.zeros(len(values)), np.ones(len(values))).argmax())]
        return self._drawn((name,))[name]

    def start(self, suggested: Mapping[str, int]) -> int:
        """Start a trial, which counts as bad until it is answered.

        Args:
            suggested: Value of each parameter.

        Returns:
            The number of the trial.
        """
        self.open[self.count] = suggested
        self.count += 1
        self.fitted = {}
        return self.count - 1

    def tell(self, number: int, decided: Mapping[str, int], score: float | None) -> None:
        """End a trial.

        Args:
            number: Number of the trial.
            decided: Value of each of its parameters.
            score: Its score, which is maximized; None forgets the trial.
        """
        del self.open[number]
        self.fitted = {}
        if score is None:
            return
        self.answers += 1
        self.fresh.append((number, set(decided)))
        self.told[number] = decided, score
        if self.history is not None and len(self.told) > self.history:
            good = set(self._ranked()[: good_of(self.history)])
            del self.told[min(kept for kept in self.told if kept not in good)]

    def _drawn(self, names: tuple[str, ...]) -> dict[str, int]:
        if names not in self.fitted:
            ranked = self._ranked()
            good = set(ranked[: good_of(len(ranked))])
            bad = [n for n in (*self.told, *self.open) if n not in good]
            self.fitted[names] = self._density(sorted(good), names), self._density(sorted(bad), names)
        good_ones, bad_ones = self.fitted[names]
        drawn = good_ones.sample(self.rng, self.candidates)
        best = drawn[(good_ones.log(drawn) - bad_ones.log(drawn)).argmax()]
        return {name: self.values[name][k] for name, k in zip(names, best.tolist(), strict=True)}

    def _ranked(self) -> list[int]:
        """Numbers of the kept answers, best first; of equal scores the oldest first."""
        return sorted(self.told, key=lambda n: (-self.told[n][1], n))

    def _density(self, numbers: Sequence[int], names: tuple[str, ...]) -> Density:
        """The density of the trials that have all of these parameters."""
        places = [{value: i for i, value in enumerate(self.values[name])} for name in names]
        rows = []
        for n in numbers:
            decided = self.told[n][0] if n in self.told else self.open[n]
            if all(name in decided for name in names):
                rows.append([place[decided[name]] for name, place in zip(names, places, strict=True)])
        return Density(np.array(rows, dtype=np.int64).reshape(len(rows), len(names)), [len(place) for place in places])


def good_of(count: int) -> int:
    """Return how many answers are good.

    Args:
        count: Number of answers.
    """
    return min(math.ceil(0.1 * count), GOOD)


def rising(count: int) -> Numbers:
    """Return the weights of answers from the oldest to the newest, (count,).

    Args:
        count: Number of answers.
    """
    if count < GOOD:
        return np.ones(count)
    return np.concatenate([np.linspace(1.0 / count, 1.0, num=count - GOOD), np.ones(GOOD)])
