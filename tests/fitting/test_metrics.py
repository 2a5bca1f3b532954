"""Means on the device."""

import pytest
import torch

from oneshot.fitting.metrics import Diverged, Means


def test_weighted_means_start_anew_after_a_read():
    means = Means()
    for value, weight in ((1.0, 1), (4.0, 3)):
        means.add("loss", torch.tensor(value, requires_grad=True), weight)
    means.add("accuracy", torch.tensor(0.5))
    assert means.read() == {"loss": pytest.approx(13 / 4), "accuracy": 0.5}
    assert means.read() == {}


def test_a_number_that_is_not_finite_ends_the_run():
    means = Means()
    means.add("weight_loss", torch.tensor(float("nan")))
    with pytest.raises(Diverged, match="weight_loss is nan: the run has diverged"):
        means.read()
