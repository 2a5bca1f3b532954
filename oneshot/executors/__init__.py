"""Where calls run: in this process, in others of this machine, on a cluster."""

from oneshot.executors.base import Executor, WorkerLost
from oneshot.executors.inline import Inline
from oneshot.executors.processes import Processes
from oneshot.executors.ray import Ray
from oneshot.executors.submitit import Submitit

__all__ = ["Executor", "Inline", "Processes", "Ray", "Submitit", "WorkerLost"]
