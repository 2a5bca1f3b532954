"""The average of weights against a plain loop."""

import pytest
import torch
from torch import nn

from oneshot.errors import InputError
from oneshot.fitting.averaging import Average


def network():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3 * 9, 2))


@pytest.mark.parametrize("decay", [0.0, 0.9, 0.999])
def test_it_is_the_moving_average_of_weights_and_statistics(decay):
    net = network()
    average = Average(net, decay)
    expected = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for t in range(1, 30):
        optimizer.zero_grad()
        net(torch.randn(8, 1, 5, 5)).square().mean().backward()
        optimizer.step()
        average.update(net, t)
        d = min(decay, (1 + t) / (10 + t))
        for name, tensor in net.state_dict().items():
            mean = d * expected[name] + (1 - d) * tensor if tensor.is_floating_point() else tensor.clone()
            expected[name] = mean
    own = average.network.state_dict()
    assert all(tensor.isfinite().all() for tensor in expected.values())
    assert all(torch.allclose(own[name], expected[name], atol=1e-5) for name in expected)
    assert int(own["1.num_batches_tracked"]) == 29
    if decay == 0:
        assert all(torch.equal(own[name], tensor) for name, tensor in net.state_dict().items())
    else:
        assert not torch.equal(own["1.running_mean"], net[1].running_mean)
    assert all(not parameter.requires_grad for parameter in average.parameters())
    average.copy_to(net)
    assert all(torch.equal(own[name], tensor) for name, tensor in net.state_dict().items())
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_the_first_weights_do_not_count_for_long():
    """With one constant weight after a random first one, a tenth update leaves hardly anything of the first."""
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 100.0)
    average = Average(net, 0.9999)
    nn.init.constant_(net.weight, 1.0)
    for t in range(1, 31):
        average.update(net, t)
    assert 1 <= average.network.weight.item() < 1.01


@pytest.mark.parametrize("decay", [-0.1, 1.0, True, float("nan")])
def test_bad_decay(decay):
    with pytest.raises(InputError, match=f"weights.average={decay}"):
        Average(nn.Linear(1, 1), decay)
