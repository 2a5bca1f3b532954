"""On a CUDA device: the numbers of the CPU, graphs that change nothing, equal repetitions, every kind of command.

Machines without one skip all but the first.
"""

import contextlib
import copy
import json
import random
import subprocess
import sys

import pytest
import torch
from helpers.support import build, small_space
from torch.nn import functional

import oneshot
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201

gpu = pytest.mark.gpu
FIXED = ("time", "process_seconds", "peak_memory_bytes")


def test_a_part_knows_its_device_by_the_name_that_tensors_have():
    part, _ = digits(batch_size=16).split()
    part.to(torch.device("cpu", 0))  # of tensors there, `device` is cpu
    assert part.device == part.batch(0, 0).x.device


@pytest.mark.parametrize("space_class", [DARTSCells, NASBench201])
def test_no_device_but_the_cpu_groups_edges(space_class):
    """Gradients were wrong on a GPU. The device `meta` stands for it: it computes shapes alone."""
    results = []
    for execution in ("auto", "grouped"):
        space = space_class(
            (3, 16, 16), 10, cells=3 if space_class is DARTSCells else 1, channels=8, execution=execution
        )
        net = space.supernet().to("meta")
        gates = Gates(torch.full(space.shape, 0.2, device="meta"))
        with contextlib.suppress(InputError):
            results.append(net(torch.empty(4, 3, 16, 16, device="meta"), gates).shape)
    assert results == [(4, 10)]


@gpu
def test_batch_norm_and_groups_of_torch_itself():
    """Parts of what `grouped` computes, to find out which of them differs on the device: float64, gate in the norm."""
    torch.manual_seed(0)
    x, weight = torch.randn(4, 8, 6, 6).double(), torch.randn(24, 8, 3, 3).double()
    gate, add = torch.rand(24).double(), torch.randn(4, 3, 8, 6, 6).double()
    for first in (torch.channels_last, torch.contiguous_format):
        for last in (torch.channels_last, torch.contiguous_format):
            found = []
            for device in ("cpu", "cuda"):
                leaves = [t.to(device).requires_grad_() for t in (x, weight, gate)]
                y = functional.conv2d(leaves[0].contiguous(memory_format=first), leaves[1], padding=1)
                y = functional.batch_norm(y, None, None, leaves[2], None, True)
                y = y.contiguous(memory_format=last).unflatten(1, (3, 8)).unbind(1)
                sum((part * weight).sum() for part, weight in zip(y, add.to(device).unbind(1), strict=True)).backward()
                found.append([leaf.grad.cpu() for leaf in leaves])
            for ours, expected in zip(*found, strict=True):
                assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-10), (first, last)


@gpu
@pytest.mark.parametrize("residence", ["auto", "host"])
def test_batches_are_those_of_the_cpu(residence):
    here, there = (digits(batch_size=16, residence=residence).split()[0] for _ in range(2))
    there.to(torch.device("cuda"))
    for step in range(3):
        x, y = there.batch(0, step)
        assert x.is_cuda and y.is_cuda
        expected = here.batch(0, step)
        assert torch.equal(y.cpu(), expected.y)
        assert torch.allclose(x.cpu(), expected.x, atol=1e-6)


@gpu
@pytest.mark.parametrize("execution", ["auto", "edges"])
@pytest.mark.parametrize("space_class", [DARTSCells, NASBench201])
@pytest.mark.parametrize("drawn", [False, True])
def test_logits_and_gradients_are_those_of_the_cpu(space_class, execution, drawn):
    torch.manual_seed(0)
    space = space_class((3, 16, 16), 10, cells=3 if space_class is DARTSCells else 1, channels=8, execution=execution)
    net = space.supernet().double().to(memory_format=torch.channels_last)
    other = copy.deepcopy(net).cuda()
    x, y = torch.randn(4, 3, 16, 16, dtype=torch.float64), torch.randint(10, (4,))
    found = space.sample(random.Random(0))
    active = tuple((k,) for k in found.decisions) if drawn else None
    weight = space.one_hot(found).double() if drawn else torch.softmax(torch.randn(space.shape).double(), 1)
    results = []
    for each, device in ((net, "cpu"), (other, "cuda")):
        leaf = weight.detach().to(device).clone().requires_grad_()
        logits = each(x.to(device), Gates(leaf, active))
        functional.cross_entropy(logits, y.to(device)).backward()
        grads = [p.grad for p in each.parameters() if p.grad is not None]
        results.append([t.cpu() for t in (logits.detach(), leaf.grad, *grads)])
    for ours, expected in zip(*results, strict=True):
        assert torch.allclose(ours, expected, rtol=1e-9, atol=1e-10)


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in FIXED} for line in lines]


def searched(folder, architect, **settings):
    torch.manual_seed(0)
    data = digits(batch_size=32, train_size=256)
    space = small_space(data)
    search = Search(space, build(architect, space), data, log_every=1, **settings)
    oneshot.fit(search, epochs=2, out=folder, show=False)
    return rows(folder), search


@gpu
@pytest.mark.parametrize("architect", ["darts", "darts_second", "snas", "drnas", "beta_darts", "smooth_darts_random"])
def test_a_search_with_cuda_graphs_has_the_rows_of_one_without(architect, tmp_path, recwarn):
    plain, _ = searched(tmp_path / "plain", architect, cuda_graph=False)
    graphed, search = searched(tmp_path / "graphed", architect, cuda_graph=True)
    assert search.supernet.forward.graphs  # something was replayed
    assert graphed == plain
    assert not [w for w in recwarn if "stream" in str(w.message) or "cuBLAS" in str(w.message)]


@gpu
@pytest.mark.parametrize("architect", ["darts", "gdas", "enas", "proxyless"])
def test_a_search_twice_has_the_same_rows(architect, tmp_path):
    assert searched(tmp_path / "a", architect)[0] == searched(tmp_path / "b", architect)[0]


@gpu
def test_commands(tmp_path):
    """What no other test runs on the device that a command chooses."""
    short = ["epochs=1", "data.train_size=256", "logger=none"]
    commands = [
        ["search", *short, f"out={tmp_path}/search"],
        ["retrain", *short, f"architecture={tmp_path}/search", f"out={tmp_path}/retrained"],
        ["evaluate", f"run={tmp_path}/retrained", "logger=none", "repeats=2", "dtype=bfloat16", f"out={tmp_path}/test"],
        ["baseline", "strategy=random_search", "budget.queries=3", *short, f"out={tmp_path}/baseline"],
        ["latency", "repeats=2", f"out={tmp_path}/latency.json"],
        ["benchmark", "--quick", "rounds=1", "architects=[darts]", f"out={tmp_path}/benchmark.json"],
    ]
    for words in commands:
        done = subprocess.run([sys.executable, "-m", "oneshot", *words], capture_output=True, text=True)
        assert done.returncode == 0, (words, done.stdout[-800:], done.stderr[-2000:])
