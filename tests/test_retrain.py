"""The retraining of one network."""

import copy
import functools
import random

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, Keep, small_space
from torch import nn
from torch.nn import functional

from oneshot.data import digits
from oneshot.data.transforms import Mixing
from oneshot.draws import generator
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


RECIPE = {"mixup": 0.3, "cutmix": 1.0, "average": 0.9, "warmup_epochs": 2, "decay_norms": False}


def test_a_resumed_training_with_all_options_ends_as_the_uninterrupted_one(tmp_path):
    """From the middle of the warm-up, from its end, and from the middle of an epoch after it."""
    data = digits(batch_size=32, train_size=64)
    space = small_space(data)
    found = space.sample(random.Random(0))
    adamw = functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.05)

    def made():
        return Retrain(space.network(found), data, optimizer=adamw, log_every=1, **RECIPE)

    class Keeping(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            trainer.save_checkpoint(tmp_path / f"{module.done}.ckpt")

    torch.manual_seed(0)
    whole = made()
    pl.Trainer(max_epochs=4, callbacks=[Keeping()], **QUIET).fit(whole)
    assert whole.total == 8
    for stop in (3, 4, 7):
        resumed = made()
        pl.Trainer(max_epochs=4, **QUIET).fit(resumed, ckpt_path=tmp_path / f"{stop}.ckpt")
        before, after = whole.state_dict(), resumed.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
        assert resumed.rows == whole.rows


def test_the_average_is_tested_and_kept():
    retrain = run(average=0.5)
    own = retrain.average.network.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in retrain.network.state_dict().items())
    plain = run()
    assert retrain.rows[:-1] == plain.rows[:-1]  # it changes nothing of the training
    with torch.no_grad():
        retrain.network.eval()
        correct = sum(int((retrain.network(x).argmax(1) == y).sum()) for x, y in retrain.test.passes())
    assert retrain.rows[-1]["test_accuracy"] == pytest.approx(correct / 359)
    assert not torch.equal(next(retrain.network.parameters()), next(plain.network.parameters()))


def test_a_mixed_batch_is_trained_on_and_counted_by_its_larger_share():
    """One update against a plain loop: the loss of soft targets, and the accuracy against the dominating label."""
    data = digits(batch_size=32, train_size=32)
    space = small_space(data)
    torch.manual_seed(0)
    retrain = Retrain(space.network(space.sample(random.Random(0))), data, mixup=1.0, log_every=1)
    network = copy.deepcopy(retrain.network).train()
    x, y = retrain.part.batch(0, 0)
    mixed = Mixing(mixup=1.0)(x, y, generator(0, "train/mixing", 0))
    soft = mixed.share * functional.one_hot(mixed.y, 10) + (1 - mixed.share) * functional.one_hot(mixed.other, 10)
    logits = network(mixed.x)
    expected = nn.CrossEntropyLoss(label_smoothing=0.1)(logits, soft)
    pl.Trainer(max_epochs=1, **QUIET).fit(retrain)
    assert 0.5 <= mixed.share < 1 and not torch.equal(mixed.y, mixed.other)
    assert retrain.rows[0]["train_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert retrain.rows[0]["train_accuracy"] == pytest.approx(float((logits.argmax(1) == mixed.y).float().mean()))


def test_the_learning_rate_rises_in_the_warm_up():
    rates = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    data = digits(batch_size=32, train_size=64)
    space = small_space(data)
    retrain = Retrain(space.network(space.sample(random.Random(0))), data, warmup_epochs=1)
    pl.Trainer(max_epochs=3, callbacks=[Watch()], **QUIET).fit(retrain)
    assert rates == pytest.approx([0.0125, 0.0125, 0.025, 0.025, 0.0125, 0.0125])
    with pytest.raises(InputError, match="weights.warmup_epochs=1: must be below epochs=1"):
        retrain.check(1)


@pytest.mark.parametrize("options", [{"mixup": -0.1}, {"cutmix": True}])
def test_bad_mixing(options):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        Retrain(nn.Identity(), digits(), **options)


@pytest.mark.parametrize("options", [{"warmup_epochs": 0.5}, {"decay_norms": 1}, {"average": 1.0}])
def test_bad_settings_of_weights(options):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"weights.{name}={value}"):
        Retrain(nn.Identity(), digits(), **options)


@pytest.mark.parametrize("options", [{"drop_path": 1.5}, {"auxiliary_weight": -1}, {"log_every": 0}])
def test_bad_arguments(options):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        Retrain(nn.Identity(), digits(), **options)
