"""Methods without gradients: they ask for architectures and are told their scores."""

from oneshot.strategies.base import Strategy
from oneshot.strategies.evolution import Evolution
from oneshot.strategies.gaussian_process import GaussianProcess
from oneshot.strategies.hill_climbing import HillClimbing
from oneshot.strategies.hyperband import Hyperband
from oneshot.strategies.nsga2 import NSGA2
from oneshot.strategies.ppo import PPO
from oneshot.strategies.q_learning import QLearning
from oneshot.strategies.random_forest import RandomForest
from oneshot.strategies.random_search import RandomSearch
from oneshot.strategies.reinforce import Reinforce
from oneshot.strategies.successive_halving import SuccessiveHalving
from oneshot.strategies.tpe import TPE
from oneshot.strategies.tree_search import TreeSearch

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
