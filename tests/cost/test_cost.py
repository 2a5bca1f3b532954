"""Costs by hand, against whole networks and in closed form; latency tables and every refusal."""

import json
import math
import random
import re

import pytest
import torch
from helpers.support import small_space

from oneshot import cost
from oneshot.cost import ExpectedCost, LatencyTable, candidate_costs
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells

SPACE = DARTSCells((3, 8, 12), 10, cells=3, channels=4, nodes=2)


def row(table, choice):
    names = [c.name for c in SPACE.choices]
    return dict(zip(SPACE.candidates, table[names.index(choice)].tolist(), strict=True))


def test_candidates_by_hand():
    """Cells: normal (4 channels, 8x12), reductions to 8 channels at 4x6 and to 16 channels at 2x3."""
    parameters = candidate_costs(SPACE, cost.count_parameters)
    macs = candidate_costs(SPACE, cost.count_multiply_accumulates)
    assert row(macs, "normal/c_{k-2}->0") == {
        "none": 0,
        "max_pool_3x3": 0,
        "avg_pool_3x3": 0,
        "skip_connect": 0,
        "sep_conv_3x3": 96 * 2 * (4 * 9 + 4 * 4),
        "sep_conv_5x5": 96 * 2 * (4 * 25 + 4 * 4),
        "dil_conv_3x3": 96 * (4 * 9 + 4 * 4),
        "dil_conv_5x5": 96 * (4 * 25 + 4 * 4),
    }
    assert row(parameters, "normal/c_{k-2}->0") == {
        "none": 0,
        "max_pool_3x3": 0,
        "avg_pool_3x3": 0,
        "skip_connect": 0,
        "sep_conv_3x3": 2 * (4 * 9 + 4 * 4 + 8),  # batch norm: 2 a channel
        "sep_conv_5x5": 2 * (4 * 25 + 4 * 4 + 8),
        "dil_conv_3x3": 4 * 9 + 4 * 4 + 8,
        "dil_conv_5x5": 4 * 25 + 4 * 4 + 8,
    }
    first = row(macs, "reduce/c_{k-1}->0")  # stride 2, in both reduction cells
    assert first["skip_connect"] == 24 * 8 * 8 + 6 * 16 * 16
    assert first["sep_conv_3x3"] == 2 * (24 * (8 * 9 + 64) + 6 * (16 * 9 + 256))
    assert first["dil_conv_5x5"] == 24 * (8 * 25 + 64) + 6 * (16 * 25 + 256)
    assert row(parameters, "reduce/c_{k-1}->0")["skip_connect"] == 64 + 16 + 256 + 32
    assert row(macs, "reduce/0->1")["skip_connect"] == 0 == row(parameters, "reduce/0->1")["skip_connect"]
    assert row(macs, "reduce/0->1")["sep_conv_3x3"] == first["sep_conv_3x3"]


@pytest.mark.parametrize("size", ["parameters", "multiply_accumulates"])
def test_differences_are_those_of_whole_networks(size):
    """Between architectures that use both inputs in both cells: else convolutions of inputs come and go as well."""
    space = DARTSCells((3, 16, 16), 10, cells=4, channels=4)
    ours = getattr(cost, size)(space, weight=1.0)
    rng, rests = random.Random(0), []
    while len(rests) < 5:
        found = space.sample(rng)
        kept = {c.name.split("->")[0] for c, k in zip(space.choices, found.decisions, strict=True) if k > 0}
        if {f"{cell}/c_{{k-{n}}}" for cell in ("normal", "reduce") for n in (1, 2)} <= kept:
            whole = cost.network_cost(space, found, (3, 16, 16))[size]
            rests.append(whole - ours.of(found.decisions))
            assert ours.of(found.decisions) == ours.expected(space.one_hot(found).double()) > 0
    assert len(set(rests)) == 1 and rests[0] > 0


def test_additive_gradient_is_p_times_c_minus_its_mean(double):
    torch.manual_seed(0)
    c, alpha = torch.rand(5, 4), torch.randn(5, 4, requires_grad=True)
    p = torch.softmax(alpha, 1)
    loss = ExpectedCost(c, 0.3, reference=2.0)(torch.tensor(1.5), p)
    assert abs(loss - (1.5 + 0.3 * sum(p[i, k] * c[i, k] for i in range(5) for k in range(4)) / 2)) < 1e-12
    (gradient,) = torch.autograd.grad(loss, alpha)
    p = p.detach()
    for i in range(5):
        mean = sum(p[i, k] * c[i, k] for k in range(4))
        for k in range(4):
            assert abs(gradient[i, k] - 0.3 / 2 * p[i, k] * (c[i, k] - mean)) < 1e-12


def test_multiplicative_in_closed_form(double):
    torch.manual_seed(0)
    c, p = torch.rand(5, 4), torch.rand(5, 4, requires_grad=True)
    base = torch.tensor(1.5, requires_grad=True)
    ours = ExpectedCost(c, 0.4, "multiplicative", 3.0)
    loss = ours(base, p)
    e = float((c * p).sum().detach())
    assert abs(loss.item() - 1.5 * (e / 3) ** 0.4) < 1e-12
    to_base, to_p = torch.autograd.grad(loss, [base, p])
    assert abs(to_base - (e / 3) ** 0.4) < 1e-12
    assert (to_p - 1.5 * 0.4 * (e / 3) ** (0.4 - 1) / 3 * c).abs().max() < 1e-12
    assert abs(ours(base, p * 3 / e).item() - 1.5) < 1e-12  # at the reference nothing changes
    nothing = torch.zeros(5, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(ours(base, nothing), nothing)
    assert gradient.isfinite().all() and abs(ours(base, nothing).item() - 1.5 * 1e-6**0.4) < 1e-12


def test_cost_follows_the_probabilities_and_keeps_its_own_precision():
    ours = ExpectedCost(torch.full((2, 2), 1e9 + 1, dtype=torch.float64), 1.0)
    p = torch.full((2, 2), 0.5)
    assert ours.expected(p).dtype == torch.float32 and ours.moved is not ours.table
    moved = ours.moved
    ours.expected(p)
    assert ours.moved is moved  # once
    assert ours.of((0, 1)) == 2e9 + 2
    with pytest.raises(ValueError):
        ours.of((0,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "cost.weight=-1.0"),
        ({"weight": math.nan}, "cost.weight=nan"),
        ({"form": "addtive"}, "unknown cost.form 'addtive'.*did you mean 'additive'"),
        ({"form": "multiplicative"}, "cost.reference: the multiplicative form needs one"),
        ({"reference": 0.0}, "cost.reference=0.0"),
        ({"table": torch.tensor([[-1.0]])}, "cost.table"),
        ({"table": torch.tensor([[math.inf]])}, "cost.table"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(InputError, match=message):
        ExpectedCost(**{"table": torch.ones(1, 1), "weight": 1.0, **options})


@pytest.fixture(scope="module")
def measured():
    cpu = torch.device("cpu")
    return cost.measure_latency(SPACE, SPACE.image_shape, cpu, batch=2, repeats=3, warmup=1)


def test_latency_is_measured_and_comes_back_from_its_file(measured, tmp_path):
    for choice in SPACE.choices:
        for name, value in measured.rows[choice.name].items():
            assert (value["median_ms"] > 0) == (name != "none") and value["spread_ms"] >= 0
    path = tmp_path / "table.json"
    path.write_text(measured.to_json())
    read = LatencyTable.read(path, SPACE)
    assert read.to_json() == measured.to_json() and read.batch == 2 and read.dtype == "float32"
    ours = cost.latency(SPACE, str(path), weight=0.5)
    found = SPACE.sample(random.Random(0))
    rows = zip(SPACE.choices, found.decisions, strict=True)
    total = sum(measured.rows[c.name][c.candidates[k]]["median_ms"] for c, k in rows)
    assert abs(ours.of(found.decisions) - total) < 1e-12 and total > 0
    for other, named in [
        (DARTSCells((3, 8, 12), 10, cells=6, channels=4, nodes=2), "cells=3, but the final network has cells=6"),
        (DARTSCells((3, 8, 8), 10, cells=3, channels=4, nodes=2), "image_shape=[3, 8, 12], but the final network has"),
    ]:
        with pytest.raises(InputError, match=re.escape(named)):
            cost.latency(other, str(path), weight=0.5)


def test_latency_of_several_places_is_their_sum():
    """A bigger image takes longer, and two normal cells count twice what they share."""
    cpu = torch.device("cpu")
    one, two = (DARTSCells((1, 8, 8), 10, cells=n, channels=4, nodes=1) for n in (3, 4))
    assert sum(1 for plan in two.plans() if not plan.reduces) == 2 * sum(not plan.reduces for plan in one.plans())
    calls = []

    class Counted(torch.nn.Module):
        def forward(self, x):
            calls.append(tuple(x.shape))
            return x

    def counted(channels, stride, affine):
        return Counted() if stride == 1 else torch.nn.AvgPool2d(2)

    space = DARTSCells((1, 8, 8), 10, 8, 4, 2, ["none", "counted"], {"counted": counted})
    table = cost.measure_latency(space, (1, 8, 8), cpu, "float64", batch=3, repeats=4, warmup=2, networks=0)
    timed = [shape for shape in calls if shape[0] == 3]
    assert {shape: timed.count(shape) for shape in timed} == {
        (3, 4, 8, 8): 12, (3, 8, 4, 4): 12, (3, 16, 2, 2): 12,
    }  # fmt: skip
    assert timed[:6] == timed[6:12]  # rounds over all, not all of one
    assert timed[:2] == [timed[0]] * 2  # an untimed call before the timed one
    assert table.rows["normal/c_{k-2}->0"]["none"] == {"median_ms": 0, "spread_ms": 0}


def change(content, *path, value=None, drop=False):
    *outer, last = path
    for key in outer:
        content = content[key]
    if drop:
        del content[last]
    else:
        content[last] = value


EDGE = "normal/c_{k-2}->0"
FREE = {c.name: {name: {"median_ms": 0.0, "spread_ms": 0.0} for name in c.candidates} for c in SPACE.choices}
REFUSED = [
    ("'format' must be", dict(path=["format"], value="other")),
    ("'version' is 1", dict(path=["version"], value=1)),
    ("'version' is True", dict(path=["version"], value=True)),
    ("'space' is 'darts:0'.*configured space is 'darts:", dict(path=["space"], value="darts:0")),
    ("'batch' must be of type int", dict(path=["batch"], value="2")),
    ("'batch'.*True", dict(path=["batch"], value=True)),
    ("'batch'.*-2", dict(path=["batch"], value=-2)),
    ("'versions' is missing", dict(path=["versions"], drop=True)),
    ("'versions' must be of type dict", dict(path=["versions"], value=3)),
    ("'versions'", dict(path=["versions"], value={"torch": 2})),
    ("'rows'.*median_ms", dict(path=["rows"], value=FREE)),
    ("'networks' is missing", dict(path=["networks"], drop=True)),
    ("'networks': median_ms=0, cand", dict(path=["networks"], value=[{"median_ms": 0, "candidates_ms": 1}])),
    ("'networks': median_ms=None, candidates_ms=None: must", dict(path=["networks"], value=[7])),
    ("'networks': no arch", dict(path=["networks"], value=[{"notation": "x", "median_ms": 1, "candidates_ms": 1}])),
    ("'networks': no arch", dict(path=["networks"], value=[{"median_ms": 1, "candidates_ms": 1}])),
    ("'dtype': unknown number format 'int3'", dict(path=["dtype"], value="int3")),
    ("was measured with cells=4, but the final network has cells=3", dict(path=["settings", "cells"], value=4)),
    ("was measured with other=1, but the final network has other=None", dict(path=["settings", "other"], value=1)),
    ("'rows' must map", dict(path=["rows"], value=[])),
    (r"'rows' lacks the choice 'normal/c_\{k-2\}->0'", dict(path=["rows", EDGE], drop=True)),
    ("'rows': unknown choice 'other'", dict(path=["rows", "other"], value={})),
    (r"'rows', 'normal/c_\{k-2\}->0': must map", dict(path=["rows", EDGE], value=3)),
    ("lacks the candidate 'sep_conv_3x3'", dict(path=["rows", EDGE, "sep_conv_3x3"], drop=True)),
    ("unknown candidate 'conv'", dict(path=["rows", EDGE, "conv"], value={})),
    ("'none': median_ms=-0.1", dict(path=["rows", EDGE, "none", "median_ms"], value=-0.1)),
    ("'none': median_ms=nan", dict(path=["rows", EDGE, "none", "median_ms"], value=math.nan)),
    ("'none': median_ms=inf", dict(path=["rows", EDGE, "none", "median_ms"], value=math.inf)),
    ("a number of 401 digits", dict(path=["rows", EDGE, "none", "median_ms"], value=10**400)),
    ("'none': median_ms='1'", dict(path=["rows", EDGE, "none", "median_ms"], value="1")),
    ("'none': median_ms=True", dict(path=["rows", EDGE, "none", "median_ms"], value=True)),
    ("'none': spread_ms=None", dict(path=["rows", EDGE, "none", "spread_ms"], drop=True)),
]


@pytest.mark.parametrize(("message", "changed"), REFUSED, ids=[message for message, _ in REFUSED])
def test_refused_tables(measured, tmp_path, message, changed):
    content = json.loads(measured.to_json())
    change(content, *changed["path"], value=changed.get("value"), drop=changed.get("drop", False))
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as error:
        cost.latency(SPACE, str(path), weight=1.0)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_refused_files(measured, tmp_path):
    texts = {"cut.json": (measured.to_json()[:200], "not a complete JSON"), "list.json": ("[]", "'format'")}
    texts["large.json"] = (" " * (1 << 20) + "{}", "bytes; at most")
    for name, (text, message) in texts.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=message):
            LatencyTable.read(tmp_path / name, SPACE)
    with pytest.raises(InputError, match="cannot be read"):
        LatencyTable.read(tmp_path / "nowhere.json", SPACE)
    (tmp_path / "nodes.json").write_text(measured.to_json())
    with pytest.raises(InputError, match="field 'space'"):
        LatencyTable.read(tmp_path / "nodes.json", small_space(nodes=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"batch": 0}, "batch=0"),
        ({"repeats": 1}, "repeats=1"),
        ({"warmup": -1}, "warmup=-1"),
    ],
)
def test_bad_measurements_are_named(options, message):
    with pytest.raises(InputError, match=message):
        cost.measure_latency(SPACE, SPACE.image_shape, torch.device("cpu"), **options)
