"""Chains: networks against the supernet, conditional choices, what is drawn, and what a mutation can reach."""

import itertools
import math
import random
from collections import Counter

import pytest
import torch
from helpers.support import SETTINGS, searches_or_refuses
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional

from oneshot import cost
from oneshot.architecture import Gates
from oneshot.cost import candidate_costs, count_parameters, network_cost
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.spaces import Chain
from oneshot.spaces.chain import ORDER, Layer


def small(layers=2, **settings):
    return Chain((1, 6, 5), 3, layers, **{"filters": [2, 3], "kernels": [3], "units": [4], **settings})


def everything(space):
    """Every architecture, by trying all sequences of layers."""
    kinds = [Layer("conv", (f, "3")) for f in ("2", "3")] + [Layer("pool", (p,)) for p in ("max", "avg")]
    kinds.append(Layer("fc", ("4",)))
    found = []
    for length in range(1, space.layers + 1):
        for layers in itertools.product(kinds, repeat=length):
            types = [layer.type for layer in layers]
            if "fc" not in types or set(types[types.index("fc") :]) == {"fc"}:
                found.append(space.of_layers(layers))
    return found


@pytest.mark.parametrize("layers", [1, 3, 6])
def test_a_network_computes_what_the_supernet_does(layers, double):
    """Logits, and the gradients of the weights that they share; with all candidates computed and with one."""
    torch.manual_seed(0)
    space = Chain((3, 9, 7), 5, layers)
    supernet, x = space.supernet(), torch.randn(4, 3, 9, 7)
    rng = random.Random(layers)
    for _ in range(50):
        architecture = space.sample(rng)
        network = space.network(architecture, inherit=supernet)
        for active in (None, tuple((k,) for k in architecture.decisions)):
            mixed = supernet(x, Gates(space.one_hot(architecture).double(), active))
            alone = network(x)
            torch.testing.assert_close(mixed, alone, rtol=1e-12, atol=1e-12)
            mine, theirs = (
                torch.autograd.grad(out.square().sum(), [*net.parameters()], allow_unused=True)
                for out, net in ((mixed, supernet), (alone, network))
            )
            squares = [sum(g.square().sum() for g in grads if g is not None) for grads in (mine, theirs)]
            torch.testing.assert_close(*squares, rtol=1e-9, atol=1e-12)


def test_gates_mix_as_written_out(double):
    """One layer: a sum over types; kernels mix their weights, filters and units scale channels."""
    torch.manual_seed(0)
    space = Chain((2, 4, 4), 3, 1, filters=[2, 3], kernels=[1, 3], units=[2, 4])
    supernet, x = space.supernet(), torch.randn(5, 2, 4, 4)
    weight = torch.rand(5, 3)
    layer = supernet.layers[0]
    wide = functional.pad(x, (0, 0, 0, 0, 0, 2))
    kernel = weight[2, 1] * layer.conv[0].weight
    kernel = kernel + weight[2, 0] * layer.conv[0].weight * (torch.arange(9).view(3, 3) == 4)
    convolved = functional.conv2d(wide, kernel, padding=1)
    convolved = functional.relu(
        functional.batch_norm(convolved, None, None, *layer.conv[1].parameters(), training=True)
    )
    filters = torch.stack([weight[1, 0] + weight[1, 1]] * 2 + [weight[1, 1]])
    pooled = weight[3, 0] * functional.max_pool2d(wide, 3, 1, 1)
    pooled = pooled + weight[3, 1] * functional.avg_pool2d(wide, 3, 1, 1, count_include_pad=False)
    units = torch.stack([weight[4, 0] + weight[4, 1]] * 2 + [weight[4, 1]] * 2)
    dense = functional.relu(layer.fc(wide.mean((2, 3)))) * units
    mixed = weight[0, 0] * functional.pad(convolved * filters[:, None, None], (0, 0, 0, 0, 0, 1))
    mixed = mixed + weight[0, 1] * pooled + weight[0, 2] * dense[:, :, None, None]
    expected = supernet.classifier(mixed.mean((2, 3)))
    torch.testing.assert_close(supernet(x, Gates(weight)), expected, rtol=1e-12, atol=1e-12)


def test_silent_candidates_send_no_gradient_back(double):
    """A gate of 0 has a gradient, and the weights of its candidate have none."""
    torch.manual_seed(0)
    space = small()
    supernet, x = space.supernet(), torch.randn(4, 1, 6, 5)
    weight = space.one_hot(space.of_layers([Layer("conv", ("3", "3"))])).double().requires_grad_()
    active = tuple((0, 2) if i == 0 else tuple(range(len(c.mixed))) for i, c in enumerate(space.choices))
    silent = tuple((2,) if i == 0 else () for i in range(len(space.choices)))
    found = [Gates(weight, active, silent), Gates(weight, active)]
    grads = [torch.autograd.grad(supernet(x, gates).square().sum(), weight)[0][0] for gates in found]
    torch.testing.assert_close(*grads)
    supernet(x, found[0]).sum().backward()
    assert supernet.layers[0].fc.weight.grad is None or not supernet.layers[0].fc.weight.grad.any()


def test_choices_that_do_not_apply_have_one_candidate():
    space = Chain((1, 8, 8), 10)
    assert len(space.choices) == 6 * len(ORDER) and space.choices[1].mixed == ("8", "16", "32")
    one = space.of_layers([Layer("conv", ("16", "5")), Layer("pool", ("max",)), Layer("fc", ("32",))])
    named = [c.candidates[k] for c, k in zip(space.choices, one.decisions, strict=True)]
    assert named[:15] == ["conv", "16", "5", "-", "-", "pool", "-", "-", "max", "-", "fc", "-", "-", "-", "32"]
    assert named[15:] == ["end", "-", "-", "-", "-"] * 3
    for i in range(len(one.decisions)):
        allowed = [space.choices[i].candidates[k] for k in space.allowed(one.decisions[:i])]
        if named[i] == "-":
            assert allowed == ["-"]
    assert [space.choices[0].candidates[k] for k in space.allowed(())] == ["conv", "pool", "fc"]
    assert [space.choices[15].candidates[k] for k in space.allowed(one.decisions[:15])] == ["fc", "end"]


def test_every_architecture_is_counted_drawn_and_reached():
    space, rng = small(), random.Random(0)
    valid = everything(space)
    decided = itertools.product(*(range(len(c.candidates)) for c in space.choices))
    assert {a.decisions for a in valid} == {d for d in decided if space.is_valid(d)} and len(valid) == 5 + 4 * 5 + 1
    near = {a: set(space.neighbours(a)) for a in valid}
    assert all(a not in near[a] and (a in near[b]) == (b in near[a]) for a in valid for b in valid)
    seen, at = set(), valid[0]
    for _ in range(3000):
        at = space.mutate(at, rng)
        seen.add(at)
    assert seen == set(valid)


def test_samples_have_the_stated_distribution():
    """Lengths are uniform; then types among those that may be there, then hyperparameters."""
    space, rng = small(), random.Random(1)

    def probability(architecture):
        layers = space.layers_of(architecture)
        share = 1 / space.layers
        for i, layer in enumerate(layers):
            share /= 1 if i and layers[i - 1].type == "fc" else 3
            share /= {"conv": 2, "pool": 2, "fc": 1}[layer.type]
        return share

    valid = everything(space)
    expected = [6000 * probability(a) for a in valid]
    assert sum(expected) == pytest.approx(6000)
    counts = Counter(space.sample(rng) for _ in range(6000))
    assert chisquare([counts[a] for a in valid], expected).pvalue > 1e-3
    space = Chain((1, 8, 8), 10)
    lengths = Counter(len(space.layers_of(space.sample(rng))) for _ in range(3000))
    assert set(lengths) == {1, 2, 3, 4, 5, 6} and chisquare(list(lengths.values())).pvalue > 1e-3


def test_scores_become_layers_and_texts():
    space = Chain((1, 8, 8), 10, layers=3)
    scores = torch.zeros(space.shape)
    for row, k in ((0, 1), (3, 1), (5, 2), (9, 0), (10, 0), (10, 1)):  # in row 10 a convolution, behind `fc`
        scores[row, k] = 1
    found = space.discretize(scores)
    assert space.notation(found) == "pool(avg)-fc(32)-fc(32)"
    assert space.from_notation(" pool(avg)-fc(32)-fc(32)") == found
    for text in ("conv(8,3)-pool(max)", "fc(64)"):
        assert space.notation(space.from_notation(text)) == text
    for text, message in (
        ("conv(8)", "must be like conv"),
        ("conv(9,3)", "filters must be one of 8, 16, 32"),
        ("fc(32)-conv(8,3)", "'conv' is not allowed here"),
        ("conv(8,3)--pool(max)", "must be like conv"),
        ("-".join(["fc(32)"] * 4), "4 layers; must be 1 to 3"),
        ("end", "'end': must be conv, pool or fc"),
    ):
        with pytest.raises(InputError, match=message):
            space.from_notation(text)


def test_what_is_largest_and_what_has_no_cost():
    space = Chain((1, 8, 8), 10)
    assert space.notation(space.largest()) == "-".join(["conv(32,5)"] * 6)
    best = max(
        (space.sample(random.Random(i)) for i in range(200)),
        key=lambda a: network_cost(space, a, (1, 8, 8))["parameters"],
    )
    sizes = [network_cost(space, a, (1, 8, 8))["parameters"] for a in (space.largest(), best)]
    assert sizes[0] > sizes[1]
    with pytest.raises(InputError, match="what a layer costs depends on the layer before it"):
        candidate_costs(space, count_parameters)


@pytest.mark.parametrize("kind", ["parameters", "multiply_accumulates"])
def test_its_joint_costs_are_those_of_whole_networks(kind):
    space, rng = Chain((3, 9, 7), 5, layers=4), random.Random(0)
    priced = getattr(cost, kind)(space)
    for _ in range(40):
        architecture = space.sample(rng)
        assert priced.of(architecture.decisions) == network_cost(space, architecture, (3, 9, 7))[kind]
        expected = priced.expected(space.one_hot(architecture).double())
        assert float(expected) == pytest.approx(priced.of(architecture.decisions), rel=1e-12)


def test_the_expected_cost_is_the_mean_of_independent_draws():
    """All combinations of decisions of two layers, with the product of their probabilities."""
    space = Chain((1, 8, 8), 3, layers=2, filters=(2, 4), kernels=(3,), units=(5,))
    priced = cost.parameters(space)
    p = torch.rand(space.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * space.mask
    p /= p.sum(1, keepdim=True)
    total = 0.0
    for decisions in itertools.product(*(range(len(choice.mixed)) for choice in space.choices)):
        total += math.prod(float(p[i, k]) for i, k in enumerate(decisions)) * priced.of(decisions)
    assert float(priced.expected(p)) == pytest.approx(total, rel=1e-12)
    p.requires_grad_()
    assert torch.autograd.gradcheck(priced.expected, p)


@pytest.mark.parametrize("kind", ["parameters", "multiply_accumulates"])
def test_it_holds_a_limit(kind):
    space, rng = Chain((1, 8, 8), 10, layers=4), random.Random(2)
    costs = sorted(network_cost(space, space.sample(rng), (1, 8, 8))[kind] for _ in range(40))
    priced = getattr(cost, kind)(space, limit=costs[10])
    scores = torch.rand(space.shape, generator=torch.Generator().manual_seed(1)) * space.mask
    found = cost.discretize_within(space, priced, scores), cost.largest_within(space, priced)
    for architecture in (*found, *(cost.sample_within(space, priced, rng) for _ in range(5))):
        assert network_cost(space, architecture, (1, 8, 8))[kind] <= costs[10]
    with pytest.raises(InputError, match="cost.limit=5: the smallest network of this space has "):
        getattr(cost, kind)(space, limit=5)


def test_a_network_has_nothing_unused_and_few_channels():
    space = Chain((3, 9, 7), 5, layers=3)
    network = space.network(space.from_notation("conv(8,3)-fc(32)"))
    shapes = [tuple(p.shape) for p in network.parameters()]
    assert shapes == [(8, 3, 3, 3), (8,), (8,), (32, 8), (32,), (5, 32), (5,)]
    assert sum(isinstance(m, nn.BatchNorm2d) and m.track_running_stats for m in network.modules()) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "space.layers=0"),
        ({"filters": []}, "space.filters=.*must be a list of different numbers"),
        ({"filters": [8, 8]}, "space.filters=.*must be a list of different numbers"),
        ({"units": [0]}, "space.units=0"),
        ({"kernels": [2]}, "space.kernels=.*must be odd"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Chain((1, 8, 8), 10, **settings)


REFUSED = {
    "darts_minus": "technique.auxiliary_skip.skip='skip_connect': no choice has it",
    "lambda_darts": "needs a supernet with several cells that share their gates",
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_architect_searches_it_or_refuses(settings):
    data = digits(batch_size=16, train_size=64)
    space = Chain(data, layers=3, filters=[4, 8], units=[8])
    searches_or_refuses(settings, data, space, REFUSED)
