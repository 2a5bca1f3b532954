"""Bayesian optimization with a Gaussian process on graphs: NAS-BOWL (Ru, Wan, Dong and Osborne, arXiv:2006.07556)."""

import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from ..architecture import Architecture
from ..errors import check_integer
from ..spaces.base import SearchSpace
from .surrogate import Numbers, Surrogate, expected_improvement, normal_scores, pool

Edges = dict[tuple[str, str], str]  # (source, target) -> operation


class GaussianProcess(Surrogate):
    """Bayesian optimization with a Gaussian process on Weisfeiler-Lehman features of the graphs (NAS-BOWL).

    The architecture with the largest expected improvement in a pool of candidates is asked next. The graph of a cell
    holds all paths from its inputs to its output, and its operations carry the labels. In each of `depth` rounds a
    label is extended by the labels that enter it (Shervashidze et al., Weisfeiler-Lehman graph kernels, JMLR 2011). The
    features are the counts of all labels of all rounds, scaled to length 1.

    Differences from the paper:
        - Operations also have a label for their place.
        - The kernel is a Matérn kernel (nu = 2.5) of the distance of the features instead of their product.
        - Scores are mapped to normal quantiles of their ranks.
        - The improvement is that of the score without its noise.

    scikit-learn maximizes the marginal likelihood over scale, length and noise at every `refit`-th fit. There is a fit
    for every ask; with more than `history` answers it serves several asks, see `Surrogate`.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        startup: Number of finite scores before the first fit, at least 2; until then asks are random.
        pool: Number of candidates that are compared for an ask, at least 1.
        depth: Rounds of labels, from 0 to 10.
        refit: Number of fits from one search for the kernel's parameters to the next, at least 1.
        history: Largest number of answers that are fitted, the best and the newest ones, at least 2. With more, a fit
            serves several asks. None fits all, for every ask.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Ru, Wan, Dong and Osborne, Interpretable neural architecture search via Bayesian optimisation with
        Weisfeiler-Lehman kernels, arXiv:2006.07556.
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
        history: int | None = 200,
    ) -> None:
        super().__init__(space, seed, metric, startup, pool, history)
        check_integer("strategy.depth", depth, 0, 10)
        check_integer("strategy.refit", refit, 1)
        self.depth, self.refit = depth, refit
        self.kernel = ConstantKernel(1.0, (1e-1, 1e2)) * Matern(1.0, (0.3, 10.0), nu=2.5)
        self.kernel += WhiteKernel(1e-2, (1e-3, 1.0))
        self.ends = space.ends()
        self.labels: dict[Architecture, Counter[str]] = {}  # of the architectures of the last fit
        self.fits = 0

    def compare(self, told: Sequence[Architecture]) -> tuple[list[Architecture], Numbers]:
        candidates = pool(self.space, self.rng, self.scores, self.seen, self.size)
        return candidates, self._gain(told, candidates)

    def _gain(self, told: Sequence[Architecture], candidates: Sequence[Architecture]) -> Numbers:
        """The expected improvement of each candidate."""
        values = normal_scores([self.scores[a] for a in told])
        self.labels = {a: self._labels(a) for a in told}
        rows = features([*self.labels.values(), *map(self._labels, candidates)])
        optimizer = "fmin_l_bfgs_b" if self.fits % self.refit == 0 else None
        self.fits += 1
        process = GaussianProcessRegressor(self.kernel, normalize_y=True, optimizer=optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            process.fit(rows[: len(told)], values)
        self.kernel = process.kernel_
        mean, deviation = process.predict(rows[len(told) :], return_std=True)
        noise = self.kernel.k2.noise_level * values.var()  # without noise, or equal graphs would look promising
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


def live(edges: Edges, inputs: Collection[str], outputs: Collection[str]) -> Edges:
    """Keep the edges on a path from an input to an output. The other edges do not change what the cell computes.

    Args:
        edges: Operation by (source, target).
        inputs: Nodes where paths start.
        outputs: Nodes where paths end.

    Returns:
        The edges that remain, in the same order.
    """
    fed, read = reached(edges, inputs), reached([(t, s) for s, t in edges], outputs)
    return {(s, t): name for (s, t), name in edges.items() if s in fed and t in read}


def reached(edges: Iterable[tuple[str, str]], start: Iterable[str]) -> set[str]:
    """Find the nodes that can be reached, including the start.

    Args:
        edges: Pairs (source, target).
        start: Nodes where paths begin.

    Returns:
        Every node with a path from one of `start`, and `start` itself.
    """
    found = set(start)
    while more := {t for s, t in edges if s in found} - found:
        found |= more
    return found


def places(edges: Edges) -> list[str]:
    """Label the operations of these edges with the two nodes that they connect."""
    return [f"{s}->{t}:{name}" for (s, t), name in edges.items() if name]


def weisfeiler_lehman(edges: Edges, depth: int) -> list[str]:
    """Label all operations, in all rounds. The label of an edge that leaves an input also carries the input's name.

    An empty operation name stands for concatenation: its label collects what enters there.

    Args:
        edges: Operation by (source, target).
        depth: Number of rounds after the first labels.

    Returns:
        All labels of all rounds, (depth + 1) for each edge.
    """
    entering = {edge: [other for other in edges if other[1] == edge[0]] for edge in edges}
    labels = {edge: name if entering[edge] else f"{edge[0]}:{name}" for edge, name in edges.items()}
    found = list(labels.values())
    for _ in range(depth):
        labels = {e: f"{labels[e]}({','.join(sorted(labels[p] for p in entering[e]))})" for e in labels}
        found += labels.values()
    return found


def features(counts: Sequence[Counter[str]]) -> Numbers:
    """Turn counts of labels into rows of length 1.

    Args:
        counts: For each graph, how often it has each label.

    Returns:
        Array (graphs, labels).
    """
    names = {name: i for i, name in enumerate(sorted({name for count in counts for name in count}))}
    rows = np.zeros((len(counts), max(1, len(names))))
    for row, count in zip(rows, counts, strict=True):
        for name, number in count.items():
            row[names[name]] = number
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
