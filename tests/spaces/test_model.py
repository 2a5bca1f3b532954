"""Models with placeholders: the network is the supernet, every architecture can be reached, and faults are named."""

import itertools
import pickle
import random
from collections import Counter

import pytest
import torch
from helpers.support import SETTINGS, searches_or_refuses
from safetensors.torch import load_file
from scipy.stats import chisquare
from torch import nn
from torch.utils.checkpoint import checkpoint

from oneshot.architecture import Gates
from oneshot.cost import candidate_costs, count_multiply_accumulates, count_parameters, network_cost
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.runs.folder import write_weights
from oneshot.spaces import Inputs, Mixed, ModelSpace, Repeat
from oneshot.spaces.examples import ResNet, SignalNet


class Usual(nn.Module):
    """What everyday models do: attention with named inputs and a result that is None, sizes by `.item()`, shared and
    tied weights, blocks that write into their inputs."""

    def __init__(self):
        super().__init__()
        rates = [rate.item() for rate in torch.linspace(0, 0.2, 2)]
        heads = {str(n): nn.MultiheadAttention(6, n, batch_first=True, dropout=rates[0]) for n in (1, 2, 3)}
        self.attention = Mixed("attention", heads)
        shared = linear()
        self.deep = Repeat(
            "deep", [nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 6)), nn.ReLU(inplace=True), shared]
        )
        self.other = Mixed("other", nn.ModuleDict({"shared": shared, "own": linear()}))
        self.end = nn.Linear(6, 6)
        self.end.weight = shared[0].weight

    def forward(self, x):
        y, _ = self.attention(x, key=x, value=x, need_weights=False)
        y = x + y
        return self.end(y + self.other(self.deep(y))).mean(1)


def linear(width=6):
    return nn.Sequential(nn.Linear(width, width), nn.Tanh())


class Net(nn.Module):
    """A shared module in a loop, two placeholders of one name, parallel branches, and a join of two of three."""

    def __init__(self, classes=3):
        super().__init__()
        self.start = nn.Linear(4, 6)
        self.step = Mixed("step", {"linear": linear(), "wide": nn.Sequential(nn.Linear(6, 9), nn.Linear(9, 6))})
        self.left = Mixed("side", {"linear": linear(), "skip": nn.Identity()})
        self.right = Mixed("side", {"linear": linear(), "skip": nn.Identity()})
        self.join = Inputs("join", 3, keep=2)
        self.depth = Repeat("depth", [linear(), linear()], depths=[0, 2])
        self.end = nn.Linear(6, classes)

    def forward(self, x):
        x = self.start(x)
        for _ in range(3):
            x = self.step(x)
        return self.end(self.depth(self.join([x, self.left(x), self.right(x)])))


class Recurrent(nn.Module):
    """Candidates with several inputs and several results, and one that writes into its input."""

    def __init__(self):
        super().__init__()
        cells = {"gru": nn.GRU(3, 5, batch_first=True), "rnn": nn.RNN(3, 5, batch_first=True)}
        self.cell = Mixed("cell", cells)
        self.act = Mixed("act", {"relu": nn.ReLU(inplace=True), "tanh": nn.Tanh(), "none": nn.Identity()})
        self.two = Mixed("two", {"bilinear": nn.Bilinear(5, 5, 5), "sum": Sum()})
        self.end = nn.Linear(5, 4)

    def forward(self, x):
        y, state = self.cell(x)
        h = y.mean(1)
        return self.end(self.two(self.act(h), state[0]) + h)


class Sum(nn.Module):
    def forward(self, a, b):
        return a + b


def net_space():
    return ModelSpace(Net, example=torch.zeros(1, 4))


SPACES = {
    "resnet": lambda: ModelSpace(ResNet, (3, 16, 16), 10, arguments={"width": 8}),
    "signal": lambda: ModelSpace("oneshot.spaces.examples.SignalNet", example=torch.zeros(1, 2, 40), classes=5),
    "net": net_space,
    "recurrent": lambda: ModelSpace(Recurrent, example=torch.zeros(1, 7, 3)),
    "usual": lambda: ModelSpace(Usual, example=torch.zeros(1, 5, 6)),
}


def everything(space):
    """Every architecture, by trying all decisions."""
    tried = itertools.product(*(range(len(c.candidates)) for c in space.choices))
    return [space.architecture(decisions) for decisions in tried if space.is_valid(decisions)]


@pytest.mark.parametrize("name", SPACES)
def test_a_network_computes_what_the_supernet_does(name, double):
    """Logits, and the gradients of the weights that they share."""
    torch.manual_seed(0)
    space = SPACES[name]()
    supernet, x = space.supernet(), torch.randn(5, *space.image_shape)
    rng = random.Random(0)
    for _ in range(50):
        architecture = space.sample(rng)
        path = tuple((k,) for k in architecture.decisions)
        network = space.network(architecture, inherit=supernet)
        for mode, active in itertools.product((True, False), (None, path)):
            mixed = supernet.train(mode)(x, Gates(space.one_hot(architecture).double(), active))
            alone = network.train(mode)(x)
            torch.testing.assert_close(mixed, alone, rtol=1e-12, atol=1e-12)
            weights = dict(network.named_parameters())
            grads = torch.autograd.grad(alone.square().sum(), list(weights.values()), materialize_grads=True)
            supernet.zero_grad()
            mixed.square().sum().backward()
            mine = {id(p.grad): p.grad for p in supernet.parameters() if p.grad is not None and p.grad.any()}
            assert sum(g.square().sum() for g in grads) == pytest.approx(
                float(sum(g.square().sum() for g in mine.values())), rel=1e-9
            )


def test_gates_mix_as_a_plain_sum_does(double):
    torch.manual_seed(0)
    space = net_space()
    supernet, x = space.supernet(), torch.randn(5, 4)
    weight = torch.rand(space.shape).requires_grad_()
    names = [choice.name for choice in space.choices]
    net, w = supernet.net, {name: weight[i] for i, name in enumerate(names)}
    y = net.start(x)
    for _ in range(3):
        y = w["step"][0] * net.step.candidates[0](y) + w["step"][1] * net.step.candidates[1](y)
    sides = [w["side"][0] * side.candidates[0](y) + w["side"][1] * y for side in (net.left, net.right)]
    y = sum(w[f"join/{i}"][1] * part for i, part in enumerate([y, *sides]))
    deep = net.depth.blocks[1](net.depth.blocks[0](y))
    expected = net.end(w["depth"][0] * y + w["depth"][1] * deep)
    found = supernet(x, Gates(weight))
    torch.testing.assert_close(found, expected)
    both = [torch.autograd.grad(logits.square().sum(), weight)[0] for logits in (found, expected)]
    torch.testing.assert_close(*both)


def test_silent_candidates_send_no_gradient_back(double):
    torch.manual_seed(0)
    space = net_space()
    supernet, x = space.supernet(), torch.randn(5, 4)
    weight = torch.zeros(space.shape)
    weight[:, 0] = 1.0
    weight[3, 1] = weight[2, 1] = 1.0  # two of the inputs, for some signal
    weight.requires_grad_()
    every = tuple(tuple(range(2)) for _ in space.choices)
    silent = tuple((1,) if i not in (2, 3) else () for i in range(len(space.choices)))
    results = []
    for gates in (Gates(weight, every), Gates(weight, every, silent)):
        supernet.zero_grad()
        (grad,) = torch.autograd.grad(supernet(x, gates).square().sum(), weight, retain_graph=True)
        supernet(x, gates).square().sum().backward()
        results.append((grad, supernet.net.step.candidates[1][0].weight.grad))
    (plain, moved), (hushed, quiet) = results
    torch.testing.assert_close(plain, hushed)
    assert quiet is None and not moved.any()  # its gate is 0


def test_the_choices_are_found_and_a_name_is_shared():
    space = net_space()
    assert [choice.name for choice in space.choices] == ["step", "side", "join/0", "join/1", "join/2", "depth"]
    assert space.choices[-1].candidates == ("0", "2") and {c.group for c in space.choices[2:5]} == {"join"}
    valid = everything(space)
    assert len(valid) == 2 * 2 * 3 * 2
    network = space.network(valid[0])
    assert not any(isinstance(m, Mixed | Inputs | Repeat) for m in network.modules())


def test_samples_are_uniform_and_mutation_reaches_everything():
    space, rng = net_space(), random.Random(0)
    valid = everything(space)
    counts = Counter(space.sample(rng) for _ in range(2400))
    assert set(counts) == set(valid) and chisquare([counts[a] for a in valid]).pvalue > 1e-3
    near = {a: set(space.neighbours(a)) for a in valid}
    assert all((a in near[b]) == (b in near[a]) for a in valid for b in valid)
    seen, at = set(), valid[0]
    for _ in range(2000):
        at = space.mutate(at, rng)
        seen.add(at)
    assert seen == set(valid)


@pytest.mark.parametrize(
    ("keep", "scores", "taken"),
    [
        (1, [[0.2, 0.5, 0.3]], (1,)),
        (2, [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]], (1, 2)),
        (None, [[0.4, 0.6], [0.6, 0.4], [0.3, 0.7]], (0, 2)),
        (None, [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3]], (1,)),
    ],
)
def test_what_inputs_take(keep, scores, taken):
    inputs = Inputs("a", 3, keep)
    decisions = inputs.best(torch.tensor(scores))
    assert inputs.taken(decisions) == taken
    x = torch.randn(3, 2)
    torch.testing.assert_close(inputs.decided(decisions)(*x), sum(x[i] for i in taken))


def test_costs_are_those_of_the_network():
    """Also of a module that is called three times, whose weights count once; a part that nothing takes is left in."""
    space = net_space()
    for measure, key in ((count_parameters, "parameters"), (count_multiply_accumulates, "multiply_accumulates")):
        table = candidate_costs(space, measure)
        fixed = set()
        for architecture in everything(space):
            cost = network_cost(space, architecture, (4,))[key]
            fixed.add(cost - float((table * space.one_hot(architecture)).sum()))
        assert fixed == {{"parameters": 4 * 6 + 6 + 6 * 3 + 3, "multiply_accumulates": 4 * 6 + 6 * 3}[key]}
    with pytest.raises(InputError, match="placeholder 'two' takes 2 inputs"):
        candidate_costs(SPACES["recurrent"](), count_parameters)


def test_the_largest_takes_all_inputs():
    space = ModelSpace(SignalNet, (1, 1, 40), 10)
    assert space.notation(space.largest()) == "layer1=conv_15 layer2=conv_15 join/0=yes join/1=yes join/2=yes depth=3"
    assert space.largest(space.sizes()) == space.largest()
    assert space.largest(space.mask.double()) != space.largest()


def test_the_largest_counts_every_placeholder_of_a_name():
    def two():
        wide = {"x": nn.Linear(4, 4), "y": nn.Sequential(nn.Linear(4, 9), nn.Linear(9, 4))}
        slim = {"x": nn.Sequential(*(nn.Linear(4, 4) for _ in range(9))), "y": nn.Identity()}
        return nn.Sequential(Mixed("a", wide), Mixed("a", slim))

    space = ModelSpace(two, example=torch.zeros(1, 4))
    assert space.largest().decisions == (0,)  # 20 + 180 parameters; the first placeholder alone has more with y


def test_a_placeholder_may_have_the_name_of_an_end():
    made = model(lambda: Mixed("input", {"x": nn.Linear(4, 4)}), lambda: Mixed("output", {"x": nn.Identity()}))
    space = ModelSpace(made, example=torch.zeros(1, 4))
    (graph,) = space.graphs(space.architecture([0, 0])).values()
    assert set(graph.edges) == {("input", "input#2"), ("input#2", "output#2"), ("output#2", "output")}


def test_graphs_say_what_is_connected():
    space = net_space()
    by_name = {"step": 1, "side": 1, "join/0": 1, "join/1": 0, "join/2": 1, "depth": 1}
    (graph,) = space.graphs(space.architecture(list(by_name.values()))).values()
    edges = {(a, b): data["operation"] for a, b, data in graph.edges(data=True)}
    assert edges == {
        ("input", "step"): "wide",
        ("step", "step#2"): "wide",
        ("step#2", "step#3"): "wide",
        ("step#3", "side"): "skip",
        ("step#3", "side#2"): "skip",
        ("step#3", "join"): "",
        ("side#2", "join"): "",
        ("join", "depth"): "2 blocks",
        ("depth", "output"): "",
    }


def test_sums_are_nodes_of_a_graph():
    space = SPACES["usual"]()
    (graph,) = space.graphs(space.sample(random.Random(0))).values()
    assert set(graph.edges) == {
        ("input", "attention"),
        ("input", "sum"),
        ("attention", "sum"),
        ("sum", "deep"),
        ("deep", "other"),
        ("sum", "sum#2"),
        ("other", "sum#2"),
        ("sum#2", "output"),
    }


def test_weights_of_several_names_are_written_and_read(tmp_path):
    torch.manual_seed(0)
    space = SPACES["usual"]()
    first, second = (space.supernet().to(memory_format=torch.channels_last) for _ in range(2))
    second.load_state_dict(load_file(write_weights(tmp_path / "weights.safetensors", first)))
    assert second.net.end.weight is second.net.deep.blocks[2][0].weight
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_parameters_are_known_where_candidates_have_no_size_of_their_own():
    space = SPACES["usual"]()
    assert space.is_valid(space.largest().decisions)
    with pytest.raises(InputError, match="placeholder 'attention' takes 4 inputs"):
        space.sizes()


def test_making_a_space_draws_nothing_and_it_can_be_sent():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    space = pickle.loads(pickle.dumps(net_space()))
    assert torch.equal(torch.rand(1), expected) and space.fingerprint == net_space().fingerprint
    assert len(pickle.dumps(space)) < 30_000  # without weights
    first, second = space.supernet(), space.supernet()
    assert not torch.equal(first.net.start.weight, second.net.start.weight)


def model(*parts, forward=None):
    """A model class of placeholders, called one after the other unless `forward` says otherwise."""

    class Made(nn.Module):
        def __init__(self):
            super().__init__()
            for i, part in enumerate(parts):
                setattr(self, f"part{i}", part())

        def forward(self, x):
            if forward:
                return forward(self, x)
            for i in range(len(parts)):
                x = getattr(self, f"part{i}")(x)
            return x

    return Made


class Zero(nn.Module):
    def forward(self, x):
        return 0.0


class Counting(nn.Module):
    """Keeps something between two calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x * self.calls


def a():
    return Mixed("a", {"x": nn.Linear(4, 4), "y": nn.Identity()})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (model(lambda: nn.Linear(4, 4)), "has no placeholder"),
        (
            model(a, a, forward=lambda net, x: net.part0(x)),
            r"'a': the model never calls it in evaluation \(part1\)",
        ),
        (model(lambda: Mixed("a", {"x": nn.Linear(4, 4), "y": nn.Linear(4, 5)})), r"candidate 'y' gives \(2, 5\), 'x'"),
        (model(a, lambda: Mixed("a", {"x": nn.Linear(4, 4)})), "two of this name have different candidates"),
        (model(lambda: Mixed("b", {"x": nn.Sequential(a())})), "'a' is inside another placeholder"),
        (model(a, forward=lambda net, x: a()(net.part0(x))), "'a' is undecided"),
        (model(a, forward=lambda net, x: net.part0(x).sum()), r"gives \(\) for 2 inputs; must be logits"),
        (model(a, forward=lambda net, x: (net.part0(x), 1)), "gives tuple for 2 inputs"),
        (model(lambda: Mixed("a", {})), "its candidates must be modules by name"),
        (model(lambda: Mixed("a", {"x": torch.relu})), "candidate 'x' is no torch.nn.Module"),
        (model(lambda: Mixed("a", {"x y": nn.ReLU()})), "candidate 'x y': no spaces,"),
        (model(lambda: Mixed("a b", {"x": nn.ReLU()})), "'a b': its name must be a text without"),
        (model(lambda: Repeat("a", [nn.ReLU()], [1, 0])), r"depths=\[1, 0\] must ascend"),
        (model(lambda: Repeat("a", [])), "its blocks must be"),
        (
            model(lambda: Inputs("a", 3), forward=lambda net, x: net.part0(x, x)),
            "called with 2 inputs; it has",
        ),
        (model(lambda: Inputs("a", 2), forward=lambda net, x: net.part0(x, x[:, :2])), "inputs of different shapes"),
        (model(lambda: Inputs("a", 2, 3)), "keep=3"),
        (model(a, lambda: nn.LazyLinear(3)), "lazy modules"),
        (model(a, Counting), "computes something else than the supernet"),
        (model(a, lambda: nn.Linear(5, 4)), "model: a first pass fails: RuntimeError"),
        (model(lambda: Mixed("a", {"x": nn.Linear(5, 4)})), "placeholder 'a': a first pass fails: RuntimeError"),
        (model(lambda: Repeat("a", [nn.Linear(4, 4), nn.Linear(4, 5)])), "placeholder 'a': a first pass fails"),
        (model(lambda: Mixed("a", {"x": nn.Identity(), "y": Zero()})), "candidate 'y' gives float, 'x' gives"),
        (model(a, forward=lambda net, x: net.part0(x).view(2, 4)), "a first pass in training fails: RuntimeError"),
        (model(a, forward=lambda net, x: (net.part0(x),) if net.training else net.part0(x)), "training too"),
        (model(a, forward=lambda net, x: checkpoint(net.part0, x, use_reentrant=False)), "call none in a backward"),
        (model(lambda: Repeat("a", nn.ReLU())), "its blocks must be a list"),
        (model(lambda: Repeat("a", [nn.ReLU()], 1)), "depths=1 must be a list"),
        (nn.Linear(4, 4), "must be a class or function that makes a model"),
        ("Net", "cannot be imported, must be like MODULE.CLASS"),
        (lambda: 1, "gives int, must give a torch.nn.Module"),
        ("oneshot.nothing.Net", "space.model=oneshot.nothing.Net: cannot be imported"),
        (3, "space.model=3: must be a class or function"),
    ],
)
def test_what_does_not_work_is_named(made, message):
    with pytest.raises(InputError, match=message) as raised:
        ModelSpace(made, example=torch.rand(1, 4))
    assert "\n" not in str(raised.value)


def test_classes_and_inputs_must_fit():
    with pytest.raises(InputError, match="gives 4 logits; the data has 3 classes"):
        ModelSpace(model(a, forward=lambda net, x: net.part0(x.flatten(1))), (1, 2, 2), 3)
    with pytest.raises(InputError, match="give either an image shape"):
        ModelSpace(Net)
    with pytest.raises(InputError, match="example must be a tensor of one input"):
        ModelSpace(Net, example=torch.zeros(2, 4))


class Digits(SignalNet):
    """The example for signals, on images as one long row."""

    def forward(self, x):
        return super().forward(x.flatten(1)[:, None])


REFUSED = {
    "darts_minus": "technique.auxiliary_skip.skip='skip_connect': no choice has it",
    "lambda_darts": "needs a supernet with several cells that share their gates",
    "oles": "depths of placeholder 'depth' share their weights",
}


@pytest.mark.parametrize("settings", SETTINGS)
def test_every_architect_searches_it_or_refuses(settings):
    data = digits(batch_size=16, train_size=64)
    space = ModelSpace(Digits, data)
    searches_or_refuses(settings, data, space, REFUSED)


def test_repeats_have_no_branches_of_their_own():
    space = ModelSpace(SignalNet, (1, 1, 40), 10)
    with pytest.raises(InputError, match="depths of placeholder 'depth' share their weights"):
        list(space.branches(space.supernet()))
