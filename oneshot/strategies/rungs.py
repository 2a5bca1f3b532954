"""What successive halving and Hyperband share: brackets of rungs, in which the best of a rung go on to the next."""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy, unseen


class Rung(NamedTuple):
    """One level of a bracket.

    Args:
        size: Number of architectures that are compared.
        fidelity: The fidelity of their queries, in (0, 1].
    """

    size: int
    fidelity: float


class Halving(Strategy):
    """Runs brackets without end; a subclass defines the rungs of each bracket.

    The architectures of a bracket's first rung are random. When all scores of a rung are known, its best architectures
    fill the next rung. An architecture that failed is never promoted: with too few others the next rung is smaller, and
    a bracket in which all failed ends. Scores of different rungs are never compared. Asks that run ahead of the answers
    go to the oldest bracket with something to ask, or else to a new one.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        eta: One in `eta` architectures goes on to the next rung, with `eta` times the fidelity; at least 2.
        minimum_fidelity: Lower limit of the fidelity, in [1e-6, 1]. Fidelities are eta**-k, none below this limit.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(self, space: SearchSpace, seed: int, metric: str, eta: int, minimum_fidelity: float) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.eta", eta, 2)
        check_range("strategy.minimum_fidelity", minimum_fidelity, 1e-6, 1.0)
        self.eta = eta
        self.deepest = math.floor(math.log(1 / minimum_fidelity, eta) + 1e-9)  # largest k of the fidelities eta**-k
        self.open: list[Bracket] = []  # oldest first
        self.started = 0
        self.seen: set[Architecture] = set()

    @abstractmethod
    def rungs(self, index: int) -> list[Rung]:
        """Return the rungs of one bracket, from its lowest fidelity to 1.

        Args:
            index: Number of the bracket, from 0.
        """

    def ask(self) -> Query:
        waiting = next((bracket for bracket in self.open if bracket.has_work()), None)
        if waiting is None:
            waiting = Bracket(self.rungs(self.started))
            self.started += 1
            self.open.append(waiting)
        query = waiting.ask(lambda: unseen(self.space, self.rng, self.seen))
        self.seen.add(query.architecture)
        return query

    def learn(self, query: Query, score: float) -> None:
        for bracket in self.open:
            if bracket.tell(query, score):
                break
        self.open = [bracket for bracket in self.open if not bracket.done()]


class Bracket:
    """One run of successive halving.

    Args:
        rungs: Its rungs, from the lowest fidelity to 1.
    """

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs, self.level, self.size = rungs, 0, rungs[0].size
        self.next: list[Architecture] = []  # promoted, best first, and not asked yet
        self.asked: list[Architecture] = []  # in this rung
        self.scores: dict[int, float] = {}  # by place in `asked`

    def has_work(self) -> bool:
        """Whether the current rung still lacks an architecture to ask for."""
        return not self.done() and len(self.asked) < self.size

    def done(self) -> bool:
        """Whether all rungs have their scores."""
        return self.level == len(self.rungs)

    def ask(self, draw: Callable[[], Architecture]) -> Query:
        """Return the next query of the current rung.

        Args:
            draw: Gives a new architecture. It is called for the first rung, into which nothing is promoted.

        Returns:
            The query, at the fidelity of the rung.
        """
        self.asked.append(self.next.pop(0) if self.level else draw())
        return Query(self.asked[-1], self.rungs[self.level].fidelity)

    def tell(self, query: Query, score: float) -> bool:
        """Use an answer if the current rung waits for it.

        Args:
            query: The query that was answered.
            score: Its score, or -inf if it failed.

        Returns:
            Whether the rung waited for this answer.
        """
        if self.done() or query.fidelity != self.rungs[self.level].fidelity:
            return False
        waiting = (i for i, a in enumerate(self.asked) if a == query.architecture and i not in self.scores)
        place = next(waiting, None)
        if place is None:
            return False
        self.scores[place] = score
        if len(self.scores) == self.size:
            self._promote()
        return True

    def _promote(self) -> None:
        """Fill the next rung. Of equal scores, the architecture that was asked first goes on."""
        best = sorted((i for i, score in self.scores.items() if score > -math.inf), key=lambda i: (-self.scores[i], i))
        self.level = self.level + 1 if best else len(self.rungs)
        self.size = 0 if self.done() else min(self.rungs[self.level].size, len(best))
        self.next = [self.asked[i] for i in best[: self.size]]
        self.asked, self.scores = [], {}
