"""Learning rates by epoch against their formula, and which weights decay."""

import math
import warnings

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, small_space
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from oneshot.architects import DARTS
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.fitting.rates import cosine, weights_of
from oneshot.search import Search


def rates(schedule, optimizer, epochs):
    found = []
    for _ in range(epochs):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return found


def optimizer_of(lr=0.4):
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


@pytest.mark.parametrize("warmup", [1, 3, 9])
def test_warm_up_and_cosine_are_their_formulas(warmup):
    optimizer = optimizer_of()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = rates(cosine(optimizer, 10, 0.02, warmup), optimizer, 10)
    for epoch, (rate,) in enumerate(got):
        if epoch < warmup:
            expected = 0.4 * (epoch + 1) / (warmup + 1)
        else:
            expected = 0.02 + (0.4 - 0.02) * (1 + math.cos(math.pi * (epoch - warmup) / (10 - warmup))) / 2
        assert rate == pytest.approx(expected, rel=1e-6)


def test_without_warm_up_it_is_the_plain_cosine():
    optimizer, plain = optimizer_of(), optimizer_of()
    schedule = cosine(optimizer, 7, 0.001)
    assert type(schedule) is CosineAnnealingLR
    assert rates(schedule, optimizer, 7) == rates(CosineAnnealingLR(plain, T_max=7, eta_min=0.001), plain, 7)


@pytest.mark.parametrize("at", [0, 1, 3, 4, 7])
def test_a_schedule_continues_from_its_state(at):
    first, second = optimizer_of(), optimizer_of()
    whole = cosine(first, 9, 0.02, 4)
    rates(whole, first, at)
    resumed = cosine(second, 9, 0.02, 4)
    resumed.load_state_dict(whole.state_dict())
    second.load_state_dict(first.state_dict())
    assert rates(whole, first, 9 - at) == rates(resumed, second, 9 - at)


def test_the_warm_up_must_end():
    with pytest.raises(InputError, match="weights.warmup_epochs=5: must be below epochs=5"):
        cosine(optimizer_of(), 5, 0.0, 5)


def test_norms_and_biases_do_not_decay():
    """With a gradient of 0, AdamW moves what decays alone."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    for parameter in network.parameters():
        nn.init.constant_(parameter, 1.0)
        parameter.grad = torch.zeros_like(parameter)
    optimizer = AdamW(weights_of(network, decay_norms=False), lr=0.1, weight_decay=0.5)
    optimizer.step()
    moved = {
        name for name, parameter in network.named_parameters() if not torch.equal(parameter, torch.ones_like(parameter))
    }
    assert moved == {"0.weight", "3.weight"}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 6
    assert [*weights_of(network)] == [*network.parameters()]
    only = [*weights_of(nn.BatchNorm2d(2), decay_norms=False)]
    assert [group["weight_decay"] for group in only] == [0.0]


def test_a_search_has_a_warm_up_and_decay_without_norms():
    """DARTS of order 2 reads the optimizer's rate, its decay and its groups."""
    found = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            groups = trainer.optimizers[0].param_groups
            found.append([(group["lr"], group["weight_decay"]) for group in groups])

    data = digits(batch_size=32, train_size=64)
    space = small_space(data)
    search = Search(space, DARTS(space, order=2), data, warmup_epochs=1, decay_norms=False)
    pl.Trainer(max_epochs=2, callbacks=[Watch()], **QUIET).fit(search)
    first, last = found[0], found[-1]
    assert first == [(pytest.approx(0.0125), 3e-4), (pytest.approx(0.0125), 0.0)]
    assert last == [(pytest.approx(0.025), 3e-4), (pytest.approx(0.025), 0.0)]
    with pytest.raises(InputError, match="weights.warmup_epochs=1: must be below epochs=1"):
        search.check(1)
