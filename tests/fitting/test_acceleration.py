"""Compiled cells compute the same; CUDA graphs say so where they cannot be."""

import copy
import platform
import random
import subprocess
import sys
from contextlib import nullcontext

import pytest
import torch
from helpers.support import build, small_space
from torch import nn
from torch._dynamo.utils import counters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from oneshot.architects.base import frozen
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.fitting.acceleration import accelerate, compile_regions
from oneshot.fitting.graphs import _Graphed, capture_graphs
from oneshot.search import Search
from oneshot.spaces import DARTSCells
from oneshot.spaces.base import set_drop_path


@pytest.fixture
def fresh():
    torch._dynamo.reset()
    counters.clear()


def gradients(net, space, gates=None):
    torch.manual_seed(1)
    x, y = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
    gates = gates or Gates(torch.softmax(torch.randn(space.shape), 1).requires_grad_())
    loss = functional.cross_entropy(net(x, gates), y)
    leaves = [p for p in net.parameters() if p.requires_grad] + [gates.weight] * gates.weight.requires_grad
    return torch.autograd.grad(loss, leaves, allow_unused=True)


def test_compiled_cells_compute_the_same_and_share_code(fresh):
    """With the front of torch.compile, whose back end generates code for minutes."""
    torch.manual_seed(0)
    space = DARTSCells((1, 8, 8), 10, cells=8, channels=4, nodes=1)
    plain = space.supernet()
    net = copy.deepcopy(plain)
    compile_regions(net, backend="aot_eager")
    for ours, expected in zip(gradients(net, space), gradients(plain, space), strict=True):
        assert torch.allclose(ours, expected, atol=1e-5)
    assert counters["stats"]["unique_graphs"] == 5  # normal cells of three widths, two reductions
    assert not counters["graph_break"]
    assert list(net.state_dict()) == list(plain.state_dict())


def test_drawn_paths_are_not_compiled(fresh):
    torch.manual_seed(0)
    space = small_space()
    plain = space.supernet()
    net = copy.deepcopy(plain)
    compile_regions(net, backend="aot_eager")
    for seed in range(3):
        found = space.sample(random.Random(seed))
        gates = Gates(space.one_hot(found), tuple((k,) for k in found.decisions))
        for ours, expected in zip(gradients(net, space, gates), gradients(plain, space, gates), strict=True):
            assert (ours is None) == (expected is None) and (ours is None or torch.equal(ours, expected))
    assert counters["stats"]["unique_graphs"] == 0


def test_a_network_is_compiled_once_for_all_rates_of_drop_path(fresh):
    space = small_space()
    net = space.network(space.sample(random.Random(0)))
    compile_regions(net, backend="aot_eager")
    graphs = []
    for rate in (0.05, 0.1, 0.15):
        set_drop_path(net, rate)
        net(torch.randn(4, 1, 8, 8)).sum().backward()
        graphs.append(counters["stats"]["unique_graphs"])
    assert graphs[0] == graphs[1] == graphs[2] > 0


def test_a_copy_of_a_compiled_network_computes_with_its_own_weights(fresh):
    space = small_space(nodes=1)
    net = space.supernet()
    compile_regions(net, backend="aot_eager")
    gradients(net, space)
    twin = copy.deepcopy(net)
    functional.cross_entropy(twin(torch.randn(4, 1, 8, 8), Gates(space.mask * 0.1)), torch.arange(4)).backward()
    assert all(p.grad is not None for p in twin.parameters()) and all(p.grad is None for p in net.parameters())


def test_refusals():
    with pytest.raises(InputError, match="this space marks no module"):
        accelerate(nn.Linear(1, 1), True, False)
    with pytest.raises(InputError, match="trainer.compile"):
        accelerate(nn.Linear(1, 1), "yes", False)
    with pytest.raises(InputError, match="trainer.cuda_graph"):
        accelerate(nn.Linear(1, 1), False, 1)
    data = digits(batch_size=32, train_size=160)
    space = small_space(data)
    exact = build("darts_second architect.hessian=exact", space)
    with pytest.raises(InputError, match="no second derivatives"):
        Search(space, exact, data, compile=True)


def test_what_a_cuda_graph_can_replay():
    """On tensors that only say that they are on a GPU."""
    space = small_space()
    net = space.supernet()
    capture_graphs(net)
    with FakeTensorMode():
        x, weight = torch.zeros(2, 1, 8, 8, device="cuda"), torch.zeros(space.shape, device="cuda")
        gates = Gates(weight)
        assert net.forward.reason(x, gates) == ""
        assert "gates of its own" in net.forward.reason(x, Gates(weight, cells=torch.zeros(3, *space.shape)))
        assert "draws candidates" in net.forward.reason(x, Gates(weight, ((0,),) * len(space.choices)))
        keys = [
            net.forward.key(x, gates),
            net.forward.key(x, Gates(torch.zeros(space.shape, device="cuda", requires_grad=True))),
        ]
        for sample in ({"size": (1, 1, 8, 8)}, {"size": (2, 1, 8, 8), "dtype": torch.float64}):
            keys.append(net.forward.key(torch.zeros(**sample, device="cuda"), gates))
        with frozen(net):
            keys.append(net.forward.key(x, gates))
        assert len(set(keys)) == 5 and keys[0] == net.forward.key(torch.zeros(2, 1, 8, 8, device="cuda"), gates)
    reasons = []
    net.register_forward_pre_hook(lambda net, arguments: reasons.append(net.forward.reason(x, gates)))
    ahead = {name: p.detach().clone() for name, p in net.named_parameters()}
    torch.func.functional_call(net.eval(), ahead, (torch.zeros(2, 1, 8, 8), Gates(torch.zeros(space.shape))))
    assert "second-order" in reasons[0]


def test_cuda_graphs_say_why_not_once_and_carry_on(caplog, monkeypatch):
    monkeypatch.setattr("oneshot.fitting.graphs._Graphed.said", set())
    torch.manual_seed(0)
    space = small_space()
    plain = space.supernet()
    net = copy.deepcopy(plain)
    capture_graphs(net)
    for _ in range(2):
        for ours, expected in zip(gradients(net, space), gradients(plain, space), strict=True):
            assert torch.equal(ours, expected)
    assert caplog.messages == ["trainer.cuda_graph=true: the device is cpu, not CUDA; runs without a graph"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_kept():
    """In a process of its own: page faults of freeing and allocating 100 blocks of 64 MiB, with and without."""
    code = (
        "import resource, sys, torch\n"
        "from oneshot.fitting.acceleration import keep_freed_memory\n"
        "assert sys.argv[1] == 'no' or keep_freed_memory()\n"
        "torch.ones(2**24)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(100): torch.ones(2**24)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)\n"
    )
    faults = [
        int(subprocess.run([sys.executable, "-c", code, keep], capture_output=True, text=True, check=True).stdout)
        for keep in ("no", "yes")
    ]
    assert faults[1] < faults[0] / 10  # the first blocks are new in both


def one_memory(compute, sample):
    """As torch.cuda.make_graphed_callables, on the CPU: every replay writes its results where the last one did."""
    kept = {}

    def into(name, tensors):
        for place, tensor in zip(kept.setdefault(name, [t.clone() for t in tensors]), tensors, strict=True):
            place.copy_(tensor)
        return [place.detach() for place in kept[name]]

    class Replay(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *inputs):
            leaves = [t.detach().requires_grad_(s.requires_grad) for t, s in zip(inputs, sample, strict=True)]
            with torch.enable_grad():
                kept["step"] = compute(*leaves), leaves
            return into("logits", [kept["step"][0].detach()])[0]

        @staticmethod
        def backward(ctx, gradient):
            logits, leaves = kept["step"]
            moving = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(into("gradients", torch.autograd.grad(logits, moving, gradient, retain_graph=True)))
            return tuple(next(found) if leaf.requires_grad else None for leaf in leaves)

    return lambda *inputs: Replay.apply(*inputs)


@pytest.fixture
def graphed(monkeypatch):
    """A supernet that is replayed, the same one without, and the gates and images of a step."""
    monkeypatch.setattr("torch.cuda.make_graphed_callables", one_memory)
    monkeypatch.setattr("torch.random.fork_rng", lambda devices: nullcontext())  # it takes CUDA devices alone
    monkeypatch.setattr(_Graphed, "reason", lambda self, x, gates: "" if self._unchanged() else "hooks")
    torch.manual_seed(0)
    space = small_space()
    plain = space.supernet().double()
    net = copy.deepcopy(plain)
    capture_graphs(net)
    gates = torch.softmax(torch.randn(space.shape).double(), 1)
    return net, plain, gates.requires_grad_(), torch.randn(3, 4, 1, 8, 8, dtype=torch.float64)


def twin_results(graphed, compute):
    net, plain, gates, x = graphed
    for ours, expected in zip(compute(net, gates, x), compute(plain, gates, x), strict=True):
        assert torch.equal(ours, expected)
    return net


def test_results_of_a_graph_stay_as_they_are_when_it_is_replayed(graphed):
    def compute(net, gates, x):
        logits = net(x[0], Gates(gates))
        first = torch.autograd.grad(logits.square().sum(), [gates, *net.parameters()])
        second = torch.autograd.grad(net(x[1], Gates(gates)).square().sum(), [gates, *net.parameters()])
        return [logits, *first, *second, *(a - b for a, b in zip(first, second, strict=True))]

    net = twin_results(graphed, compute)
    assert len(net.forward.graphs) == 1


def test_gradients_of_two_replays_are_added_up(graphed):
    def compute(net, gates, x):
        for part in x:
            net(part, Gates(gates.detach())).square().sum().backward()
        return [p.grad for p in net.parameters()]

    twin_results(graphed, compute)


def test_two_forward_passes_before_a_backward_pass(graphed):
    def compute(net, gates, x):
        loss = sum(net(part, Gates(gates)).square().sum() for part in x)
        return torch.autograd.grad(loss, [gates, *net.parameters()])

    twin_results(graphed, compute)


def test_a_backward_pass_after_the_next_replay_is_refused(graphed):
    net, _, gates, x = graphed
    loss = net(x[0], Gates(gates)).sum()
    loss.backward(retain_graph=True)
    loss.backward(retain_graph=True)
    net(x[1], Gates(gates)).sum().backward()
    with pytest.raises(RuntimeError, match="trainer.cuda_graph=false"):
        loss.backward()


def test_a_graph_knows_modules_that_changed(graphed):
    net, plain, gates, x = graphed
    net(x[0], Gates(gates)).sum().backward()
    old = next(iter(net.forward.graphs.values()))
    calls = []
    conv = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    handle = conv.register_forward_hook(lambda *_: calls.append(1))
    net(x[0], Gates(gates)).sum().backward()
    assert calls == [1]  # a replay would not have called it
    handle.remove()
    for each in (net, plain):
        torch.manual_seed(1)
        inside, name = next((m, n) for m in each.modules() for n, c in m.named_children() if isinstance(c, nn.Conv2d))
        setattr(inside, name, copy.deepcopy(getattr(inside, name)))
        nn.init.normal_(getattr(inside, name).weight)
    assert torch.equal(net(x[0], Gates(gates)), plain(x[0], Gates(gates)))
    assert old not in net.forward.graphs.values()
    assert net.forward.graphs and not copy.deepcopy(net).forward.graphs


def test_a_graph_knows_weights_that_were_replaced(graphed):
    net, plain, gates, x = graphed
    for each in (net, plain):
        each(x[0], Gates(gates)).sum().backward()
        torch.manual_seed(1)
        conv = next(m for m in each.modules() if isinstance(m, nn.Conv2d))
        conv.weight = nn.Parameter(torch.randn_like(conv.weight))
        each(x[0], Gates(gates)).sum().backward()
    for ours, expected in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, expected.grad)


def test_which_gradients_a_step_takes_may_change(graphed):
    net, plain, gates, x = graphed
    for each in (net, plain):
        with frozen(each):
            each(x[0], Gates(gates)).sum().backward()
        each(x[0], Gates(gates.detach())).sum().backward()
        next(each.parameters()).requires_grad_(False)
        each(x[1], Gates(gates)).sum().backward()
        next(each.parameters()).requires_grad_(True)
        each(x[2], Gates(gates)).sum().backward()
    for ours, expected in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, expected.grad)
    assert len(net.forward.graphs) == 4


def test_a_graph_with_other_numbers_is_not_used(graphed, monkeypatch, caplog):
    net, plain, gates, x = graphed
    net.forward.silent, net.forward.setting = True, "auto"
    wrong = lambda compute, sample: one_memory(lambda *inputs: 1.01 * compute(*inputs), sample)  # noqa: E731
    monkeypatch.setattr("torch.cuda.make_graphed_callables", wrong)
    monkeypatch.setattr(_Graphed, "reason", lambda self, x, gates: self.failure)
    monkeypatch.setattr(_Graphed, "said", set())
    for _ in range(2):
        assert torch.equal(net(x[0], Gates(gates)), plain(x[0], Gates(gates)))
    assert not net.forward.graphs
    assert caplog.messages == [
        "trainer.cuda_graph=auto: a step cannot be captured (its numbers are not those of a step without a graph); "
        "runs without a graph"
    ]
