"""Latencies against modules whose time is known, and the name of the device."""

import time

import pytest
import torch
from torch import nn

from oneshot.architecture import Choice
from oneshot.cost import time_beside, timing
from oneshot.cost.timing import device_name, network_latency, times
from oneshot.errors import InputError
from oneshot.spaces import SearchSpace

CPU = torch.device("cpu")
SHAPE = (1, 4, 4)


class Sleeps(nn.Module):
    """Takes a time in seconds, and a time an image; notes the calls that it gets."""

    calls: list = []

    def __init__(self, seconds, each=0.0):
        super().__init__()
        self.seconds, self.each = seconds, each
        self.linear = nn.Linear(16, 3)

    def forward(self, x):
        self.calls.append((len(x), x.dtype, self.training, torch.is_grad_enabled(), x.is_contiguous()))
        time.sleep(self.seconds + self.each * len(x))
        return self.linear(x.flatten(1))


def test_a_known_time_is_found():
    (latency,) = network_latency(Sleeps(0.005), SHAPE, CPU, batches=[1], repeats=5, warmup=0).values()
    assert 5 <= latency.first_quartile_ms <= latency.median_ms <= latency.third_quartile_ms
    assert latency.median_ms < 100


def test_images_that_cost_time():
    found = network_latency(Sleeps(0.0, each=0.002), SHAPE, CPU, batches=[1, 4], repeats=3, warmup=0)
    assert found[1].median_ms >= 2 and found[4].median_ms >= 8
    assert found[4].median_ms > 2 * found[1].median_ms


class Slow(SearchSpace):
    """Architectures that are named by their milliseconds."""

    name, choices, settings = "slow", (Choice("wait/a->b", ("4", "6", "8"), "wait"),), {}

    def allowed(self, prefix):
        return (0, 1, 2)

    def supernet(self):
        raise NotImplementedError

    def discretize(self, scores):
        raise NotImplementedError

    def network(self, architecture, inherit=None):
        return Sleeps(1e-3 * int(self.notation(architecture)))


@pytest.mark.parametrize("factor", [1, 2])
def test_a_device_that_has_become_slower_is_seen(factor):
    networks = [{"notation": name, "median_ms": int(name) / factor} for name in ("4", "6", "8")]
    found = time_beside(Sleeps(0.005), Slow(), networks, SHAPE, CPU, "float32", 1, repeats=9)
    assert 5 <= found.value < 50 and factor <= found.drift < 1.7 * factor


def test_a_larger_batch_of_a_convolution_takes_longer():
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
    found = network_latency(network, (3, 32, 32), CPU, batches=[1, 64], repeats=5, warmup=1)
    assert found[64].median_ms > 2 * found[1].median_ms > 0


def test_calls_are_as_said():
    network = Sleeps(0.0)
    Sleeps.calls = []
    network_latency(network, SHAPE, CPU, dtype="float64", batches=[2, 5], repeats=4, warmup=3)
    assert Sleeps.calls == 7 * [  # in rounds, with warm-up, each after an untimed one
        (n, torch.float64, False, False, True) for n in (2, 2, 5, 5)
    ]
    assert network.training and network.linear.weight.dtype == torch.float32  # it was a copy


def test_calls_of_one_wait_share_its_time():
    found = times({"a": lambda: time.sleep(0.002)}, CPU, repeats=2, warmup=1, together=5)
    assert len(found["a"]) == 2 and all(2 <= t < 10 for t in found["a"])  # of one call


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float8"}, "unknown dtype 'float8'"),
        ({"batches": []}, r"batches=\[\]: must be a list"),
        ({"batches": 4}, "batches=4: must be a list"),
        ({"batches": [0]}, "batches=0: must be a whole number, from 1"),
        ({"batches": [2, 2]}, "must name each number once"),
        ({"repeats": 1}, "repeats=1"),
        ({"warmup": -1}, "warmup=-1"),
    ],
)
def test_numbers_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        network_latency(nn.Conv2d(1, 1, 1), SHAPE, CPU, **settings)


def test_the_devices_own_name(monkeypatch, tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Some Processor 42\nprocessor\t: 1\nmodel name\t: another\n")
    monkeypatch.setattr(timing, "PROCESSORS", file)
    assert device_name(CPU) == "cpu: Some Processor 42, 1 thread"  # conftest.py has set one
    monkeypatch.setattr(timing, "PROCESSORS", tmp_path / "nothing")
    assert device_name(CPU).startswith("cpu: ") and "Some" not in device_name(CPU)
    assert device_name(torch.device("meta")).startswith("meta: ")
