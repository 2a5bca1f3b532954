"""Search methods without gradients: they ask for architectures and learn from the scores."""

from .base import Strategy
from .evolution import Evolution
from .gaussian_process import GaussianProcess
from .hill_climbing import HillClimbing
from .hyperband import Hyperband
from .nsga2 import NSGA2
from .ppo import PPO
from .q_learning import QLearning
from .random_forest import RandomForest
from .random_search import RandomSearch
from .reinforce import Reinforce
from .successive_halving import SuccessiveHalving
from .tpe import TPE
from .tree_search import TreeSearch

__all__ = [
    "NSGA2",
    "PPO",
    "TPE",
    "Evolution",
    "GaussianProcess",
    "HillClimbing",
    "Hyperband",
    "QLearning",
    "RandomForest",
    "RandomSearch",
    "Reinforce",
    "Strategy",
    "SuccessiveHalving",
    "TreeSearch",
]
