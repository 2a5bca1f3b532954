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
    """How many architectures are compared, and at which fidelity."""

    size: int
    fidelity: float


class Halving(Strategy):
    """Runs brackets for ever; a subclass says which rungs they have.

    The first rung of a bracket is random. Once a rung is told, its best fill the next; scores of different rungs are
    never compared. Asks that run ahead of tells go to the oldest bracket that has something to ask, else to a new one.
    """

    def __init__(self, space: SearchSpace, seed: int, metric: str, eta: int, minimum_fidelity: float) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.eta", eta, 2)
        check_range("strategy.minimum_fidelity", minimum_fidelity, 1e-6, 1.0)
        self.eta = eta
        self.deepest = math.floor(math.log(1 / minimum_fidelity, eta) + 1e-9)  # fidelities are eta**-k, k up to this
        self.open: list[Bracket] = []  # oldest first
        self.started = 0
        self.seen: set[Architecture] = set()

    @abstractmethod
    def rungs(self, index: int) -> list[Rung]:
        """The rungs of bracket number `index`, from its lowest fidelity to 1."""

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
    """One run of successive halving through these rungs."""

    def __init__(self, rungs: Sequence[Rung]) -> None:
        self.rungs, self.level = rungs, 0
        self.next: list[Architecture] = []  # promoted, best first, and not asked yet
        self.asked: list[Architecture] = []  # in this rung
        self.scores: dict[int, float] = {}  # of a place in `asked`

    def has_work(self) -> bool:
        return not self.done() and len(self.asked) < self.rungs[self.level].size

    def done(self) -> bool:
        return self.level == len(self.rungs)

    def ask(self, draw: Callable[[], Architecture]) -> Query:
        """The next of this rung; drawn for the first one, where nothing is promoted into it."""
        self.asked.append(self.next.pop(0) if self.level else draw())
        return Query(self.asked[-1], self.rungs[self.level].fidelity)

    def tell(self, query: Query, score: float) -> bool:
        """Whether this rung waited for the answer."""
        if self.done() or query.fidelity != self.rungs[self.level].fidelity:
            return False
        waiting = (i for i, a in enumerate(self.asked) if a == query.architecture and i not in self.scores)
        place = next(waiting, None)
        if place is None:
            return False
        self.scores[place] = score
        if len(self.scores) == self.rungs[self.level].size:
            self._promote()
        return True

    def _promote(self) -> None:
        """Fill the next rung; of equal scores the one asked first goes on."""
        best = sorted(self.scores, key=lambda i: (-self.scores[i], i))
        self.level += 1
        size = 0 if self.done() else self.rungs[self.level].size
        self.next = [self.asked[i] for i in best[:size]]
        self.asked, self.scores = [], {}
