"""Bayesian optimization with a Gaussian process on graphs: NAS-BOWL (Ru, Wan, Dong and Osborne, arXiv:2006.07556)."""

import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from ..architecture import Architecture, Query
from ..errors import check_integer
from ..spaces.base import SearchSpace
from .base import Strategy, unseen
from .surrogate import Numbers, expected_improvement, normal_scores, pool

Edges = dict[tuple[str, str], str]  # (source, target) -> operation


class GaussianProcess(Strategy):
    """Expected improvement over a pool of candidates, under a Gaussian process on Weisfeiler-Lehman features.

    A cell's graph is what leads from its inputs to its output; its operations are what is labelled, and `depth`
    rounds extend a label by the labels that enter (Shervashidze et al., Weisfeiler-Lehman graph kernels, JMLR 2011).
    Features are the counts of all labels of all rounds, scaled to length 1. This differs from the paper:
    operations are also labelled by their place, the kernel is a Matérn one (nu = 2.5) of the features' distance
    instead of their product, scores are mapped to normal quantiles of their ranks, and the improvement is that of the
    score without its noise. scikit-learn maximizes the marginal likelihood over scale, length and noise at every
    `refit`-th ask.
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
        self.kernel = ConstantKernel(1.0, (1e-1, 1e2)) * Matern(1.0, (0.3, 10.0), nu=2.5)
        self.kernel += WhiteKernel(1e-2, (1e-3, 1.0))
        self.ends = ends(space)
        self.scores: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        self.labels: dict[Architecture, Counter[str]] = {}  # of those told
        self.fits = 0

    def ask(self) -> Query:
        if len(self.scores) < self.startup:
            architecture = unseen(self.space, self.rng, self.seen)
        else:
            candidates = pool(self.space, self.rng, self.scores, self.seen, self.size)
            architecture = candidates[int(self._gain(candidates).argmax())]
        self.seen.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        self.seen.add(query.architecture)
        if math.isfinite(score):
            self.scores[query.architecture] = score
            self.labels[query.architecture] = self._labels(query.architecture)

    def _gain(self, candidates: Sequence[Architecture]) -> Numbers:
        """Expected improvement of each."""
        told = list(self.scores)
        values = normal_scores(list(self.scores.values()))
        rows = features([self._labels(a) for a in (*told, *candidates)])
        optimizer = "fmin_l_bfgs_b" if self.fits % self.refit == 0 else None
        self.fits += 1
        process = GaussianProcessRegressor(self.kernel, normalize_y=True, optimizer=optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(rows[: len(told)], values)
        self.kernel = process.kernel_
        mean, deviation = process.predict(rows[len(told) :], return_std=True)
        noise = self.kernel.k2.noise_level * values.var()  # equal graphs would look worth asking for its sake
        deviation = np.sqrt(np.maximum(deviation**2 - noise, 0.0))
        return expected_improvement(mean, deviation, values.max())

    def _labels(self, architecture: Architecture) -> Counter[str]:
        if architecture in self.labels:
            return self.labels[architecture]
        found: Counter[str] = Counter()
        for cell, graph in self.space.graphs(architecture).items():
            used = live({(s, t): name for s, t, name in graph.edges.data("operation")}, *self.ends[cell])
            found.update(f"{cell}/{label}" for label in (*places(used), *weisfeiler_lehman(used, self.depth)))
        return found


def ends(space: SearchSpace) -> dict[str, tuple[set[str], set[str]]]:
    """The inputs and the outputs of each cell: the nodes that nothing can enter, and those that nothing can leave."""
    edges: dict[str, list[tuple[str, str]]] = {}
    for choice in space.choices:
        cell, edge = choice.name.split("/")
        source, target = edge.split("->")
        edges.setdefault(cell, [(node, "c_{k}") for node in space.concatenated]).append((source, target))
    found = {}
    for cell, pairs in edges.items():
        sources, targets = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
        found[cell] = sources - targets, targets - sources
    return found


def live(edges: Edges, inputs: Collection[str], outputs: Collection[str]) -> Edges:
    """The edges on a path from an input to an output: the others change nothing."""
    fed, read = reached(edges, inputs), reached([(t, s) for s, t in edges], outputs)
    return {(s, t): name for (s, t), name in edges.items() if s in fed and t in read}


def reached(edges: Iterable[tuple[str, str]], start: Iterable[str]) -> set[str]:
    """The nodes with a path from one of `start`, and these."""
    found = set(start)
    while more := {t for s, t in edges if s in found} - found:
        found |= more
    return found


def places(edges: Edges) -> list[str]:
    """The operations with the nodes that they connect."""
    return [f"{s}->{t}:{name}" for (s, t), name in edges.items() if name]


def weisfeiler_lehman(edges: Edges, depth: int) -> list[str]:
    """The labels of all operations in all rounds; what leaves an input also carries its name.

    An operation "" concatenates: its label collects what enters there.
    """
    entering = {edge: [other for other in edges if other[1] == edge[0]] for edge in edges}
    labels = {edge: name if entering[edge] else f"{edge[0]}:{name}" for edge, name in edges.items()}
    found = list(labels.values())
    for _ in range(depth):
        labels = {e: f"{labels[e]}({','.join(sorted(labels[p] for p in entering[e]))})" for e in labels}
        found += labels.values()
    return found


def features(counts: Sequence[Counter[str]]) -> Numbers:
    """Rows of counts (counts, labels), scaled to length 1."""
    names = {name: i for i, name in enumerate(sorted({name for count in counts for name in count}))}
    rows = np.zeros((len(counts), max(1, len(names))))
    for row, count in zip(rows, counts, strict=True):
        for name, number in count.items():
            row[names[name]] = number
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
