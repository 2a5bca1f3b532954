"""Bayesian optimization with a Gaussian process over graphs, as NAS-BOWL (Ru, Wan, Dong and Osborne, arXiv:2006.07556)."""

import math
import warnings
from collections import Counter
from collections.abc import Sequence

import networkx as nx
import numpy as np
from scipy.stats import norm, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from oneshot.architecture import Architecture, Query
from oneshot.errors import check_integer
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.base import Strategy
from oneshot.strategies.surrogate import Numbers, expected_improvement, pool


class GaussianProcess(Strategy):
    """Expected improvement over a pool of candidates, under a Gaussian process on Weisfeiler-Lehman features.

    A cell's graph has a node an operation, labelled by it; `depth` rounds replace a label by itself and the labels
    that enter. Features are the counts of all labels of all rounds, scaled to length 1. The paper's kernel is their
    product; here it is a squared exponential of their distance, by scikit-learn, with noise, and its
    three parameters maximize the marginal likelihood at every `refit`-th ask.
    startup: asks that are random. pool: architectures compared. Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        startup: int = 10,
        pool: int = 200,
        depth: int = 2,
        refit: int = 5,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.startup", startup, 2)
        check_integer("strategy.pool", pool, 1)
        check_integer("strategy.depth", depth, 0, 10)
        check_integer("strategy.refit", refit, 1)
        self.startup, self.size, self.depth, self.refit = startup, pool, depth, refit
        self.kernel = ConstantKernel(1.0, (1e-2, 1e2)) * RBF(0.5, (0.05, 10.0)) + WhiteKernel(1e-2, (1e-4, 1.0))
        self.scores: dict[Architecture, float] = {}
        self.asked: set[Architecture] = set()
        self.labels: dict[Architecture, Counter[str]] = {}
        self.fits = 0

    def ask(self) -> Query:
        candidates = pool(self.space, self.rng, self.scores, self.asked, self.size)
        architecture = candidates[0]
        if len(self.scores) >= self.startup:
            architecture = candidates[int(self._gain(candidates).argmax())]
        self.asked.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        if math.isfinite(score):
            self.scores[query.architecture] = score

    def _gain(self, candidates: Sequence[Architecture]) -> Numbers:
        """Expected improvement of each. Scores are mapped to normal quantiles of their ranks, as outliers are common."""
        told = list(self.scores)
        ranks = rankdata([self.scores[a] for a in told])
        values = norm.ppf((ranks - 0.5) / len(told))
        rows = features([self._labels(a) for a in (*told, *candidates)])
        optimizer = "fmin_l_bfgs_b" if self.fits % self.refit == 0 else None
        self.fits += 1
        process = GaussianProcessRegressor(self.kernel, normalize_y=True, optimizer=optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(rows[: len(told)], values)
        self.kernel = process.kernel_
        mean, deviation = process.predict(rows[len(told) :], return_std=True)
        return expected_improvement(mean, deviation, values.max())

    def _labels(self, architecture: Architecture) -> Counter[str]:
        if architecture not in self.labels:
            found: Counter[str] = Counter()
            for cell, graph in self.space.graphs(architecture).items():
                found.update(f"{cell}/{label}" for label in weisfeiler_lehman(graph, self.depth))
            self.labels[architecture] = found
        return self.labels[architecture]


def weisfeiler_lehman(graph: nx.DiGraph, depth: int) -> list[str]:
    """The labels of all operations in all rounds. graph: edges carry `operation`."""
    inputs = {node for node in graph if graph.in_degree(node) == 0}
    nodes = {edge: f"{graph.edges[edge]['operation']}" for edge in graph.edges}
    entering = {edge: [e for e in nodes if e[1] == edge[0]] for edge in nodes}
    labels = {edge: (f"{edge[0]}:" if edge[0] in inputs else "") + name for edge, name in nodes.items()}
    found = list(labels.values())
    for _ in range(depth):
        labels = {e: f"{labels[e]}({','.join(sorted(labels[p] for p in entering[e]))})" for e in labels}
        found += labels.values()
    return found


def features(counts: Sequence[Counter[str]]) -> Numbers:
    """Rows of counts, scaled to length 1."""
    names = {name: i for i, name in enumerate(sorted({name for count in counts for name in count}))}
    rows = np.zeros((len(counts), max(1, len(names))))
    for row, count in zip(rows, counts, strict=True):
        for name, number in count.items():
            row[names[name]] = number
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
