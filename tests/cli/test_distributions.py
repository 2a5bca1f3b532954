"""The parameters of a sweep: every distribution that W&B documents, against SciPy's."""

import math
import random

import pytest
from scipy import stats

from oneshot.cli.sweep.distributions import DISTRIBUTIONS, KNOWN, QUANTIZED, parameters
from oneshot.errors import InputError

SPECS = {
    "uniform": {"min": -1.0, "max": 3},
    "log_uniform": {"min": -7.0, "max": 1.5},
    "log_uniform_values": {"min": 0.0001, "max": 2.0},
    "inv_log_uniform": {"min": -1.5, "max": 7.0},
    "inv_log_uniform_values": {"min": 0.0001, "max": 2.0},
    "normal": {"mu": -2.0, "sigma": 3.0},
    "log_normal": {"mu": 0.5, "sigma": 0.25},
}
SCIPY = {
    "uniform": stats.uniform(-1, 4),
    "log_uniform": stats.loguniform(math.exp(-7), math.exp(1.5)),
    "log_uniform_values": stats.loguniform(0.0001, 2),
    "inv_log_uniform": stats.loguniform(math.exp(-7), math.exp(1.5)),
    "inv_log_uniform_values": stats.loguniform(0.0001, 2),
    "normal": stats.norm(-2, 3),
    "log_normal": stats.lognorm(0.25, scale=math.exp(0.5)),
}


def one(spec, name="x"):
    (found,) = parameters({name: spec})
    return found


def test_all_that_the_documentation_lists():
    listed = "constant categorical int_uniform uniform q_uniform log_uniform log_uniform_values q_log_uniform"
    listed += " q_log_uniform_values inv_log_uniform inv_log_uniform_values normal q_normal log_normal q_log_normal"
    assert set(KNOWN) == set(listed.split()) and set(SPECS) == set(SCIPY) == set(DISTRIBUTIONS)


@pytest.mark.parametrize("kind", SPECS)
def test_quantiles_are_those_of_scipy(kind):
    parameter = one({"distribution": kind, **SPECS[kind]})
    for u in (0.001, 0.2, 0.5, 0.77, 0.999):
        assert parameter.at(u) == pytest.approx(SCIPY[kind].ppf(u), rel=1e-9)
    low, high = SCIPY[kind].support()
    for u in (0.0, 1.0):
        assert math.isfinite(parameter.at(u)) and low * (1 - 1e-12) <= parameter.at(u) <= high * (1 + 1e-12)
    assert parameter.values is None


@pytest.mark.parametrize("kind", QUANTIZED)
@pytest.mark.parametrize("q", [1, 0.25])
def test_quantized_ones_are_multiples(kind, q):
    parameter = one({"distribution": f"q_{kind}", **SPECS[kind], "q": q})
    for u in (0.0, 0.2, 0.5, 0.9):
        exact, value = one({"distribution": kind, **SPECS[kind]}).at(u), parameter.at(u)
        assert value % q == 0 and abs(value - exact) <= q / 2 and isinstance(value, type(q))


def test_whole_numbers_are_equally_likely():
    rng = random.Random(0)
    parameter = one({"min": 3, "max": 6})
    drawn = [parameter.at(rng.random()) for _ in range(4000)]
    assert stats.chisquare([drawn.count(n) for n in (3, 4, 5, 6)]).pvalue > 0.001
    assert (parameter.at(0.0), parameter.at(1.0), list(parameter.values)) == (3, 6, [3, 4, 5, 6])


def test_probabilities():
    parameter = one({"values": ["never", "a", "b", "nor"], "probabilities": [0, 1, 3, 0]})
    assert [parameter.at(u) for u in (0.0, 0.2, 0.3, 1.0)] == ["a", "a", "b", "b"]


def test_what_is_implied_and_nested():
    spec = {"a": {"parameters": {"b": {"parameters": {"c": {"value": 7}}}, "d": {"values": [1, "x"]}}}}
    c, d = parameters(spec)
    assert (c.name, c.values, c.at) == ("a.b.c", (7,), None) and (d.name, d.values, d.at) == ("a.d", (1, "x"), None)
    assert one({"min": 1, "max": 2.0}).at(0.25) == 1.25 and one({"min": 1, "max": 2}).at(0.25) == 1


BAD = [
    ({"values": []}, "values"),
    ({"values": 3}, "values"),
    ({"min": 2, "max": 1}, "parameters.x.max=1"),
    ({"min": 0.1}, "min and max"),
    ({}, "needs value"),
    (3, "must be a mapping"),
    ({"value": 1, "valeu": 2}, "'valeu'; did you mean 'value'"),
    ({"distribution": "unifrom", "min": 0, "max": 1}, "did you mean 'uniform'"),
    ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "parameters.x.min=0"),
    ({"min": "1e-4", "max": 0.1}, "parameters.x.min='1e-4': is text in YAML"),
    ({"distribution": "normal", "sigma": -1}, "sigma=-1"),
    ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0}, "parameters.x.q=0"),
    ({"values": [1, 2], "probabilities": [1]}, "probabilities"),
    ({"values": [1, 2], "probabilities": [0, 0]}, "probabilities"),
]


@pytest.mark.parametrize(("spec", "message"), BAD)
def test_bad_ones_are_named(spec, message):
    with pytest.raises(InputError) as error:
        one(spec)
    assert message in str(error.value) and "\n" not in str(error.value)
