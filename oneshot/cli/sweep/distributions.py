"""The parameters of a W&B sweep: the values that each can take, and the value at each quantile.

Distributions mean what https://docs.wandb.ai/models/sweeps/sweep-config-keys says. `beta`, which is only in W&B's
schema, does not exist here. A finite set without order is drawn by index. Everything else is drawn by its quantile, a
number in [0, 1] for every scale, as in W&B's own Bayesian search.
"""

import bisect
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from ...errors import InputError, check_integer, check_range, unknown

MARGIN = 2.0**-40  # quantiles 0 and 1 of a normal distribution are infinite
Quantile = Callable[[float], Any]


@dataclass(frozen=True)
class Parameter:
    """A setting of the jobs.

    Args:
        name: Dotted name of the setting.
        values: All values; None if there are infinitely many.
        at: From a quantile in [0, 1] to a value; None if the values have no order.
    """

    name: str
    values: Sequence[Any] | None
    at: Quantile | None


def _log_normal(mu: float, sigma: float) -> Quantile:
    return lambda u: math.exp(mu + sigma * NormalDist().inv_cdf(u))


def _log_uniform(low: float, high: float) -> Quantile:
    return lambda u: math.exp(low + u * (high - low))


def _log_uniform_values(low: float, high: float) -> Quantile:
    at = _log_uniform(math.log(low), math.log(high))
    return lambda u: min(max(at(u), low), high)  # exp(log(x)) is x up to rounding


BOUNDS, MOMENTS = {"min": None, "max": None}, {"mu": 0.0, "sigma": 1.0}  # keys -> defaults
DISTRIBUTIONS: dict[str, tuple[Mapping[str, float | None], Callable[[float, float], Quantile]]] = {
    "uniform": (BOUNDS, lambda low, high: lambda u: low + u * (high - low)),
    "log_uniform": (BOUNDS, _log_uniform),  # min and max are exponents of e
    "log_uniform_values": (BOUNDS, _log_uniform_values),
    "inv_log_uniform": (BOUNDS, lambda low, high: _log_uniform(-high, -low)),  # log(1/x) is uniform
    "inv_log_uniform_values": (BOUNDS, _log_uniform_values),
    "normal": (MOMENTS, lambda mu, sigma: lambda u: mu + sigma * NormalDist().inv_cdf(u)),
    "log_normal": (MOMENTS, _log_normal),
}
QUANTIZED = ("uniform", "log_uniform", "log_uniform_values", "normal", "log_normal")  # as q_uniform, ... too
KNOWN = ("constant", "categorical", "int_uniform", *DISTRIBUTIONS, *(f"q_{name}" for name in QUANTIZED))


def parameters(content: Mapping[str, Any], prefix: str = "") -> list[Parameter]:
    """Read the parameters of a sweep. Those of nested `parameters:` get dotted names.

    Args:
        content: `parameters` of the file.
        prefix: Prefix of the names, for nested parameters.

    Raises:
        InputError: If a parameter is malformed.
    """
    found = []
    for key, spec in content.items():
        name = f"{prefix}{key}"
        if not isinstance(spec, dict):
            raise InputError(f"parameters: {name} must be a mapping, as {name}: {{values: [...]}}")
        if isinstance(spec.get("parameters"), dict):
            _check_keys(name, spec, ("parameters",))
            found += parameters(spec["parameters"], f"{name}.")
        else:
            found.append(_parameter(name, spec))
    return found


def _parameter(name: str, spec: Mapping[str, Any]) -> Parameter:
    kind = spec.get("distribution", _implied(spec))
    if kind not in KNOWN:
        raise unknown(f"distribution of parameters.{name}", kind, KNOWN)
    if kind == "constant":
        _check_keys(name, spec, ("value",))
        return Parameter(name, (spec["value"],), None)
    if kind == "categorical":
        return _categorical(name, spec)
    if kind == "int_uniform":
        _check_keys(name, spec, ("min", "max"))
        low, high = spec["min"], spec["max"]
        check_integer(f"parameters.{name}.min", low, -(2**53), 2**53)
        check_integer(f"parameters.{name}.max", high, low, 2**53)
        return Parameter(name, range(low, high + 1), lambda u: min(low + int(u * (high - low + 1)), high))
    quantized = kind.startswith("q_")
    defaults, make = DISTRIBUTIONS[kind.removeprefix("q_")]
    required = tuple(key for key, default in defaults.items() if default is None)
    _check_keys(name, spec, required, (*defaults, *(("q",) if quantized else ())))
    first, second = (spec.get(key, default) for key, default in defaults.items())
    _check_numbers(name, kind, tuple(defaults), first, second)
    at = make(first, second)
    if not quantized:
        return Parameter(name, None, lambda u: at(_inside(u)))
    q = spec.get("q", 1)
    check_range(f"parameters.{name}.q", q, 0.0, open_low=True)
    return Parameter(name, None, lambda u: round(at(_inside(u)) / q) * q)


def _implied(spec: Mapping[str, Any]) -> str:
    """The distribution of a parameter that names none."""
    if "values" in spec:
        return "categorical"
    if "min" in spec or "max" in spec:
        whole = all(isinstance(spec.get(key), int) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return "constant"


def _categorical(name: str, spec: Mapping[str, Any]) -> Parameter:
    _check_keys(name, spec, ("values",), ("probabilities",))
    values, weights = spec["values"], spec.get("probabilities")
    if not isinstance(values, list) or not values:
        raise InputError(f"parameters.{name}.values={values!r}: must be a list of at least one")
    if weights is None:
        return Parameter(name, tuple(values), None)
    if not isinstance(weights, list) or len(weights) != len(values):
        raise InputError(f"parameters.{name}.probabilities: must be a list of {len(values)} numbers, one a value")
    for weight in weights:
        check_range(f"parameters.{name}.probabilities", weight, 0.0)
    ends = [end / sum(weights) for end in itertools.accumulate(weights)] if sum(weights) else []
    if not ends:
        raise InputError(f"parameters.{name}.probabilities: one must be above 0")
    # the first end above u: a value of probability 0 ends where the one before it does, and is never the first
    return Parameter(name, None, lambda u: values[bisect.bisect_right(ends, min(u, 1.0 - MARGIN))])


def _check_keys(name: str, spec: Mapping[str, Any], required: Sequence[str], optional: Sequence[str] = ()) -> None:
    for key in required:
        if key not in spec:
            raise InputError(f"parameters.{name}: needs {' and '.join(required)}")
    for key in spec:
        if key not in (*required, *optional, "distribution"):
            raise unknown(f"key of parameters.{name}", key, ("distribution", *required, *optional))


def _check_numbers(name: str, kind: str, keys: Sequence[str], first: Any, second: Any) -> None:
    for key, value in zip(keys, (first, second), strict=True):
        if isinstance(value, str):
            raise InputError(f"parameters.{name}.{key}={value!r}: is text in YAML; a number needs its dot, as 1.0e-3")
    positive = kind.endswith("_values")
    check_range(f"parameters.{name}.{keys[0]}", first, 0.0 if positive else -math.inf, open_low=positive)
    check_range(f"parameters.{name}.{keys[1]}", second, first if keys[0] == "min" else 0.0)


def _inside(u: float) -> float:
    return min(max(u, MARGIN), 1.0 - MARGIN)
