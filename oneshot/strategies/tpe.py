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
    """Tree-structured Parzen estimator, with Optuna's sampler.

    Each choice is a categorical parameter. The candidates that the earlier decisions allow determine its name and its
    values. Densities of good and of bad architectures are fitted; of `candidates` draws from the good density, the one
    with the best ratio is asked.

    The paper fits one density for each parameter. By default this is Optuna's multivariate TPE with groups: one density
    over all choices together. An architecture that was asked before is drawn again, up to `redraws` times, because the
    same query gives nothing new.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        multivariate: Whether there is one density over all choices (True) or one for each (False).
        startup: Number of random asks at the start, at least 1.
        candidates: Number of draws from the density of good architectures, at least 1.
        redraws: How often an architecture that was asked before is drawn again, at least 0.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Bergstra, Bardenet, Bengio and Kégl, Algorithms for hyper-parameter optimization, NeurIPS 2011.
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
        """A parameter of its own for each set of allowed candidates."""
        allowed = self.space.allowed(prefix)
        return f"{len(prefix)}:{','.join(map(str, allowed))}", allowed
