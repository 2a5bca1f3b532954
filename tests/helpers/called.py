"""What tests let workers call: a worker loads a function by its module, and finds this one on the import path."""

import os
import signal
import threading
import time
from pathlib import Path


def square(x):
    return x * x


def where(_):
    return os.getpid(), os.getcwd()


def halve(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x // 2


class Awkward(Exception):
    """Can be pickled, but not made again from its arguments."""

    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def awkward(x):
    raise Awkward(x, x)


def unsendable(_):
    return threading.Lock()


class Marks:
    """A line a call in a file of the item's name; the first `deaths` calls of `fatal` send their process `number`.

    The line is the process that started the worker: with Ray that of its node. Workers of the process `stuck` do not
    come to an end.
    """

    def __init__(self, folder, fatal=None, deaths=0, seconds=0.0, stuck=None, number=signal.SIGKILL):
        self.folder, self.fatal, self.deaths, self.seconds = Path(folder), fatal, deaths, seconds
        self.stuck, self.number = stuck, number

    def __call__(self, item):
        with open(self.folder / str(item), "a") as file:
            file.write(f"{os.getppid()}\n")
        time.sleep(600 if os.getppid() == self.stuck else self.seconds)
        if item == self.fatal and self.calls(item) <= self.deaths:
            os.kill(os.getpid(), self.number)
        return item

    def calls(self, item):
        return len(self.parents(item))

    def parents(self, item):
        file = self.folder / str(item)
        return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


class Scores(Marks):
    """An estimator that marks what it is asked: a score by the decisions, and an error for some of them."""

    def __call__(self, queries):
        (query,) = queries
        super().__call__("".join(map(str, query.architecture.decisions)))
        if sum(query.architecture.decisions) % 4 == 0:
            raise ValueError("divisible by 4")
        return [{"accuracy": sum(query.architecture.decisions) / 24}]


class Recipe:
    """Is pickled as what makes it: counts in the folder how often it was made."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def __reduce__(self):
        return _made, (str(self.folder),)

    def __call__(self, item):
        return item, os.getpid()


def _made(folder):
    with open(Path(folder, f"made-{os.getpid()}"), "a") as file:
        file.write("x\n")
    return Recipe(folder)


def unmakeable(path):
    raise FileNotFoundError(path)


class Missing:
    """Cannot be loaded where it arrives."""

    def __reduce__(self):
        return unmakeable, ("no such file",)

    def __call__(self, item):
        return item
