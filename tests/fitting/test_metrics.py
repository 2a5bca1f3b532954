"""Means on the device."""

import pytest
import torch

from oneshot.fitting.metrics import Diverged, FiniteCheck, Means


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


@pytest.mark.parametrize(("update", "hint"), [(0, "look at the data"), (10, "a lower learning rate may help")])
def test_the_first_update_is_no_matter_of_the_learning_rate(update, hint):
    """As the mean over no pixel, where all of a batch are left out."""
    loss = torch.nn.functional.cross_entropy(torch.zeros(2, 3), torch.tensor([-100, -100]), ignore_index=-100)
    with pytest.raises(Diverged, match=f"update {update}: the loss is nan: the run has diverged; .*{hint}"):
        FiniteCheck()(f"update {update}", loss, torch.tensor(1.0))
