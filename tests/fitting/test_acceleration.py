"""Compiled cells compute the same; CUDA graphs say so where they cannot be."""

import copy
import platform
import random
import subprocess
import sys

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
from oneshot.fitting.acceleration import accelerate, capture_graphs, compile_regions
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
    monkeypatch.setattr("oneshot.fitting.acceleration._Graphed.said", set())
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
