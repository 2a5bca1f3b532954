"""What a network makes of labelled images, against counting by hand."""

import math

import pytest
import torch
from torch import nn

from oneshot.errors import Diverged
from oneshot.fitting.evaluation import class_accuracy, examine
from oneshot.fitting.metrics import Means
from oneshot.tasks import Classification
from oneshot.tasks.classification import accuracy

ACCURACY, LOSS = Classification().metric(2), Classification().criterion()


class Table(nn.Module):
    """Gives the row of logits that the input numbers; as it trains, zeros."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x):
        return 0 * self.logits[x] if self.training else self.logits[x]


def batches(*labelled):
    return [(torch.tensor(x), torch.tensor(y)) for x, y in labelled]


def test_a_known_confusion():
    network = Table([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])  # class 0 or class 1, never class 2
    examples = batches(([0, 0, 1], [0, 0, 0]), ([1, 0], [1, 1]))
    found, confusion = examine(network, examples, [ACCURACY], LOSS, classes=3)
    assert confusion == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert class_accuracy(confusion) == [2 / 3, 1 / 2, None]
    right, wrong = math.log(1 + 2 * math.exp(-4)), 4 + math.log(1 + 2 * math.exp(-4))
    assert found["loss"] == pytest.approx((3 * right + 2 * wrong) / 5, rel=1e-6)
    assert found["accuracy"] == pytest.approx(3 / 5, rel=1e-6) and network.training


def test_the_accuracy_is_summed_as_in_a_retraining():
    """Not only nearly the same: the same digits."""
    torch.manual_seed(0)
    network, means = nn.Linear(5, 7).eval(), Means()
    examples = [(torch.randn(n, 5), torch.randint(7, (n,))) for n in (113, 112, 57)]
    for x, y in examples:
        means.add("accuracy", accuracy(network(x), y), len(y))
    assert examine(network, examples, [ACCURACY], LOSS)[0]["accuracy"] == means.read()["accuracy"]


def test_a_loss_that_is_not_finite():
    with pytest.raises(Diverged, match="loss is nan"):
        examine(Table([[float("nan"), 0.0]]), batches(([0, 0], [0, 1])), [ACCURACY], LOSS)
