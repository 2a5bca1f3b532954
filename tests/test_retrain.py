"""The retraining of one network."""

import random

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, Keep, small_space
from torch import nn

from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.retrain import Retrain
from oneshot.spaces import DARTSCells


def run(seed=0, **options):
    data = digits(batch_size=32, train_size=160)
    torch.manual_seed(seed)
    space = small_space(data)
    retrain = Retrain(space.network(space.sample(random.Random(0))), data, seed=seed, **options)
    pl.Trainer(max_epochs=3, **QUIET).fit(retrain)
    return retrain


def test_it_learns_and_tests_once():
    retrain = run(minimum_learning_rate=0.01)
    assert retrain.total == 15
    losses = [row["train_loss"] for row in retrain.rows if "train_loss" in row]
    assert losses[-1] < losses[0]
    tests = [row for row in retrain.rows if "test_accuracy" in row]
    assert tests == [retrain.rows[-1]]
    network, test = retrain.network.eval(), retrain.test
    assert len(test) == 359
    with torch.no_grad():
        correct = sum(int((network(x).argmax(1) == y).sum()) for x, y in test.passes())
    assert retrain.tested["accuracy"] == pytest.approx(correct / 359)


def test_same_seed_same_training():
    assert run(drop_path=0.3).rows == run(drop_path=0.3).rows


def test_a_resumed_training_ends_as_the_uninterrupted_one(tmp_path):
    """From the checkpoint behind epoch 1 of 3, by a network that was made with other weights."""
    data, keep, rows = digits(batch_size=32, train_size=64), Keep(tmp_path / "first.ckpt"), []
    space = small_space(data)
    found = space.sample(random.Random(0))
    torch.manual_seed(0)
    whole = Retrain(space.network(found), data, drop_path=0.5, log_every=1)
    pl.Trainer(max_epochs=3, callbacks=[keep], **{**QUIET, "enable_checkpointing": True}).fit(whole)
    resumed = Retrain(space.network(found), data, drop_path=0.5, log_every=1, record=rows.append)
    pl.Trainer(max_epochs=3, **QUIET).fit(resumed, ckpt_path=keep.path)
    before, after = whole.state_dict(), resumed.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert rows == [row for row in whole.rows if row["epoch"] > 1] and len(rows) == 5
    assert resumed.rows == whole.rows


def test_the_test_images_meet_the_network_once_behind_the_last_step(monkeypatch):
    data = digits(batch_size=32, train_size=160)
    space = small_space(data)
    retrain = Retrain(space.network(space.sample(random.Random(0))), data)
    asked = []
    passes = retrain.test.passes
    monkeypatch.setattr(retrain.test, "passes", lambda: asked.append(len(retrain.rows)) or passes())
    pl.Trainer(max_epochs=2, **QUIET).fit(retrain)
    assert asked == [len(retrain.rows) - 1]


def test_drop_path_rises_linearly():
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            rates.append(next(float(m.rate) for m in module.network.modules() if type(m).__name__ == "DropPath"))

    data = digits(batch_size=32, train_size=32)
    space = small_space(data)
    retrain = Retrain(space.network(space.sample(random.Random(0))), data, drop_path=0.3)
    pl.Trainer(max_epochs=3, callbacks=[Watch()], **QUIET).fit(retrain)
    assert rates == pytest.approx([0.0, 0.1, 0.2], rel=1e-6)


def test_auxiliary_loss_reaches_its_head():
    data = digits(batch_size=32, train_size=32)
    space = DARTSCells(data.image_shape, data.classes, cells=3, channels=4, nodes=2, auxiliary=True)
    network = space.network(space.sample(random.Random(0)))
    head = network.auxiliary.classifier
    before = head.weight.clone()
    retrain = Retrain(network, data, auxiliary_weight=0.4, criterion=nn.CrossEntropyLoss())
    pl.Trainer(max_epochs=1, **QUIET).fit(retrain)
    assert not torch.equal(before, head.weight)


@pytest.mark.parametrize("options", [{"drop_path": 1.5}, {"auxiliary_weight": -1}, {"log_every": 0}])
def test_bad_arguments(options):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        Retrain(nn.Identity(), digits(), **options)
