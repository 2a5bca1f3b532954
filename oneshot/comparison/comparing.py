"""A comparison of methods as one call: methods search, a judge says how good each found architecture is."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple, cast

from matplotlib.figure import Figure

from .. import plots
from ..architecture import Architecture
from ..controls import LARGEST, RANDOM
from ..cost import network_cost
from ..errors import InputError, is_number
from ..estimators import Tabular
from ..quantity import ACCURACY, Quantity
from ..spaces.base import ImageShape, SearchSpace
from .verdicts import Judged, Ranked, judge, table

Method = Callable[[int], Architecture]
Judge = Callable[[Architecture, int], float] | Tabular


class Compared(NamedTuple):
    """The results of a comparison.

    Args:
        rows: One for each method and seed: `method`, `seed`, `architecture`, `value`; where they are known
            `parameters`, and `seconds` of the search.
        judged: Mean, interval, share of random architectures beaten and verdicts, by the name of the method.
        quantity: What the values are.
        title: What judged.
    """

    rows: list[dict[str, Any]]
    judged: dict[str, Judged]
    quantity: Quantity
    title: str

    def table(self) -> str:
        """Return a Markdown table with a row for each method, and a verdict on each in words."""
        return table(self.rows, self.judged, self.quantity, self.title)

    def figure(self) -> Figure:
        """Draw each method's values, parameters and seconds: a dot for each seed."""
        names = {self.quantity.titled("test"): "value", "search, s": "seconds", "parameters": "parameters"}
        scales = {"value": self.quantity.scale}
        shown: dict[str, dict[str, list[float]]] = {title: {} for title in names}
        for row in self.rows:
            for title, name in names.items():
                values = shown[title].setdefault(row["method"], [])
                values += [scales.get(name, 1.0) * row[name]] if name in row else []
        return plots.comparison({title: values for title, values in shown.items() if any(values.values())})


def compare(
    space: SearchSpace,
    methods: Mapping[str, Method],
    judge_by: Judge,
    seeds: Sequence[int] | int,
    quantity: Quantity = ACCURACY,
    image_shape: ImageShape | None = None,
    say: Callable[[str], None] | None = None,
) -> Compared:
    """Search with each method and seed, judge what was found, and compare it with random and the largest architecture.

    A random architecture for each seed and the largest one are judged too, without a search. `oneshot compare` does the
    same with settings, equal budgets, processes and resume. Here the methods' own functions decide how much they spend.

    Args:
        space: The search space.
        methods: Name -> function from a seed to the found architecture.
        judge_by: From an architecture and a seed to the value of the network, as its test accuracy after a training
            from scratch. Or a table, in which each is looked up.
        seeds: The seeds, or how many: 0, 1, ...
        quantity: What the values are. With a table they are accuracies.
        image_shape: Shape of an image, (channels, height, width), to count the parameters of the networks. None: they
            are not counted.
        say: Called with a line after each judgement, for the progress. None: nothing is said.

    Raises:
        InputError: If there are no methods or seeds, a seed comes twice, a name is that of a control, or a function
            returns something else than an architecture of the space, or than a number: a share from 0 to 1 where the
            quantity is one.
    """
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    _check(methods, seeds)
    ranked = Ranked(judge_by) if isinstance(judge_by, Tabular) else None
    value_of: Callable[[Architecture, int], float] = (
        (lambda found, seed: ranked.of(found)["test_accuracy"]) if ranked else cast(Any, judge_by)
    )
    controls: dict[str, Method] = {LARGEST: lambda seed: space.largest()}
    if not ranked:  # else the distribution of random ones is known
        controls = {RANDOM: lambda seed: space.sample(random.Random(seed)), **controls}
    rows: list[dict[str, Any]] = []
    every = {**methods, **controls}
    number = len(every) * len(seeds)
    for name, method in every.items():
        for seed in seeds:
            start = time.monotonic()
            found = method(seed)
            spent = {} if name in controls else {"seconds": time.monotonic() - start}
            if not isinstance(found, Architecture):
                raise InputError(f"methods: {name}, seed {seed}: gives {found!r:.60}, must give an Architecture")
            if found.space != space.fingerprint:
                raise InputError(f"methods: {name} found an architecture of {found.space}, not of {space.fingerprint}")
            value = value_of(found, seed)
            value = float(value) if isinstance(value, Real) and not isinstance(value, bool) else value
            if not is_number(value) or quantity.share and not 0 <= value <= 1:
                wanted = "a share from 0 to 1" if quantity.share else "a finite number"
                raise InputError(f"judge_by: {name}, seed {seed}: gives {value!r:.60}, must give {wanted}")
            cost = {"parameters": network_cost(space, found, image_shape)["parameters"]} if image_shape else {}
            rows.append({"method": name, "seed": seed, "architecture": found, "value": value, **cost, **spent})
            if say:
                say(f"[{len(rows)} of {number}] {name}, seed {seed}: {quantity.text(value)}")
    title = f"Judged by {'a table' if ranked else 'a function'}, {len(seeds)} seeds"
    return Compared(rows, judge(rows, "value", quantity, ranked), quantity, title)


def _check(methods: Mapping[str, Method], seeds: Sequence[int]) -> None:
    if not methods:
        raise InputError("methods: there are none")
    for name in (RANDOM, LARGEST):
        if name in methods:
            raise InputError(f"methods: {name} is the name of a control, which is there anyway; use another name")
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seeds={list(seeds)!s:.80}: must hold at least one, and each once")
