"""Tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kegl, 2011), by Optuna's sampler."""

import math
import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler

from ..architecture import Query
from ..errors import check_boolean, check_integer
from ..spaces.base import SearchSpace
from .base import Strategy
from .trials import Prefix, Trials


class TPE(Strategy):
    """A categorical parameter a choice; what is allowed after the decisions before makes its name and its values.

    multivariate: one density over all choices together (Optuna's multivariate TPE with groups) instead of one each.
    startup: asks that are random. candidates: drawn from the density of good ones, of which the best ratio is asked.
    An architecture asked before is drawn again, up to `redraws` times, as a repeated query would tell nothing.
    Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        multivariate: bool = True,
        startup: int = 20,
        candidates: int = 64,
        redraws: int = 10,
    ) -> None:
        super().__init__(space, seed, metric)
        check_boolean("strategy.multivariate", multivariate)
        check_integer("strategy.startup", startup, 1)
        check_integer("strategy.candidates", candidates, 1)
        check_integer("strategy.redraws", redraws, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            sampler = TPESampler(
                n_startup_trials=startup,
                n_ei_candidates=candidates,
                multivariate=multivariate,
                group=multivariate,
                seed=self.rng.randrange(2**31),
            )
        self.trials = Trials(space, sampler, ["maximize"], self._parameter, redraws)

    def ask(self) -> Query:
        return Query(self.trials.ask())

    def learn(self, query: Query, score: float) -> None:
        self.trials.tell(query.architecture, [score] if math.isfinite(score) else None)

    def _parameter(self, prefix: Prefix) -> tuple[str, Prefix]:
        """Its own for each set of allowed candidates."""
        allowed = self.space.allowed(prefix)
        return f"{len(prefix)}:{','.join(map(str, allowed))}", allowed
