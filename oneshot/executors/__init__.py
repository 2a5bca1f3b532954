"""Executors: where calls run, in this process, in other processes of this machine, or on a cluster."""

from .base import Executor, WorkerLost
from .inline import Inline
from .processes import Processes
from .ray import Ray
from .submitit import Submitit

__all__ = ["Executor", "Inline", "Processes", "Ray", "Submitit", "WorkerLost"]
