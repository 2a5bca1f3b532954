"""The search: its schedule, its updates, and that the same seed gives the same search."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import (
    ARCHITECTS,
    OWN,
    QUIET,
    REINFORCE,
    SETTINGS,
    Keep,
    build,
    configured,
    darts,
    learns,
    moving,
    small_space,
)
from torch import nn
from torch.nn import functional

from oneshot.architects import Uniform
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.search import Schedule, Search
from oneshot.selection import BestOf
from oneshot.spaces import DARTSCells


def kinds(schedule, epochs, batches):
    return "".join(u.kind[0] for e in range(epochs) for u in schedule.epoch(e, batches))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Schedule(), "awaw" * 3),
        (Schedule(warmup_epochs=2), "wwww" + "awaw"),
        (Schedule(weight_steps=3, architecture_steps=2), "aaww" + "waaw" + "ww"),
        (Schedule(architecture_steps=0), "ww" * 3),
        (Schedule(warmup_epochs=1, joint=True), "ww" + "jj" * 2),
    ],
)
def test_schedule_by_hand(schedule, expected):
    assert kinds(schedule, 3, 2) == expected
    updates = [u for e in range(3) for u in schedule.epoch(e, 2)]
    assert [u.index for u in updates] == list(range(schedule.total(3, 2)))
    weight = [u.weight for u in updates if u.kind != "architecture"]
    assert weight == list(range(6))
    architecture = [u.architecture for u in updates if u.kind == "architecture"]
    assert architecture == list(range(len(architecture)))


def run(data, seed=0, epochs=2, **options):
    torch.manual_seed(seed)
    space = small_space(data)
    search = Search(space, darts(space), data, seed=seed, log_every=3, **options)
    pl.Trainer(max_epochs=epochs, **QUIET).fit(search)
    return search


def test_same_seed_same_search(data):
    first, second, other = run(data), run(data), run(data, seed=1)
    assert first.rows == second.rows and first.scores == second.scores and first.found == second.found
    assert all(
        torch.equal(a, b) for a, b in zip(first.supernet.parameters(), second.supernet.parameters(), strict=True)
    )
    assert first.rows != other.rows


def test_a_search_equals_the_plain_loop(data):
    """Bilevel DARTS written out: architecture step on one part, weight step on the other."""
    search = run(data)

    torch.manual_seed(0)
    space = small_space(data)
    architect = darts(space)
    supernet = space.supernet().to(memory_format=torch.channels_last)
    weight_part, architecture_part = data.split()
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    adam = torch.optim.Adam(architect.parameters(), lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 2, 0.001)
    for t in range(2 * weight_part.batches):
        x, y = architecture_part.batch(0, t)
        adam.zero_grad()
        functional.cross_entropy(supernet(x, Gates(torch.softmax(architect.alpha, 1))), y).backward()
        adam.step()
        x, y = weight_part.batch(0, t)
        sgd.zero_grad()
        functional.cross_entropy(supernet(x, Gates(torch.softmax(architect.alpha, 1).detach())), y).backward()
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5)
        sgd.step()
        if (t + 1) % weight_part.batches == 0:
            cosine.step()
    assert torch.allclose(search.architect.alpha, architect.alpha, atol=1e-6)
    for a, b in zip(search.supernet.parameters(), supernet.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(("epochs", "batches"), [(2, 3), (6, 1)])
def test_an_epoch_of_other_length_goes_on_with_the_same_batches(data, epochs, batches):
    """With a constant learning rate nothing but the number of updates is left of the epochs."""
    whole = run(data, epochs=3, minimum_learning_rate=0.025)  # 2 batches each
    other = run(data, epochs=epochs, epoch_batches=batches, minimum_learning_rate=0.025)
    assert (other.done, other.ended) == (whole.done, epochs)
    for a, b in zip(whole.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_epochs_of_another_length_is_refused(data, tmp_path):
    keep = Keep(tmp_path / "first.ckpt")
    space = small_space(data)
    search = Search(space, darts(space), data, epoch_batches=1)
    pl.Trainer(max_epochs=2, callbacks=[keep], **{**QUIET, "enable_checkpointing": True}).fit(search)
    with pytest.raises(InputError, match="an epoch has 1 batches, here 2"):
        pl.Trainer(max_epochs=2, **QUIET).fit(Search(space, darts(space), data), ckpt_path=keep.path)


def test_rows_and_result(data):
    rows = []
    search = run(data, record=rows.append)
    assert rows == search.rows
    assert rows[0] == {"epoch": 0, "step": 0, "entropy": pytest.approx(1, abs=1e-4)}
    epochs = [row for row in rows if "valid_accuracy" in row]
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    assert epochs[-1]["step"] == search.total == 8
    assert len(search.scores) == 3
    assert search.valid["accuracy"] == epochs[-1]["valid_accuracy"]
    assert search.space.is_valid(search.found.decisions)
    with torch.no_grad():
        x, y = next(iter(search.architecture_part.passes()))
        logits = search.space.network(search.found, inherit=search.supernet)(x)
    assert search.found_valid["accuracy"] == pytest.approx(float((logits.argmax(1) == y).float().mean()))


def test_warm_up_leaves_alpha(data):
    search = run(data, epochs=2, schedule=Schedule(warmup_epochs=1))
    assert search.scores[0] == search.scores[1] != search.scores[2]


def test_joint_moves_both_on_the_training_batch(data):
    search = run(data, epochs=1, schedule=Schedule(joint=True))
    assert search.scores[0] != search.scores[1]
    assert search.total == search.weight_part.batches


def test_architecture_steps_compute_no_weight_gradients(data):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, darts(space), data)
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, module, outputs, update, index):
            seen.append((update.kind, any(p.grad is not None for p in module.supernet.parameters())))
            for p in module.supernet.parameters():
                p.grad = None

    pl.Trainer(max_epochs=1, callbacks=[Watch()], **QUIET).fit(search)
    assert seen == [("architecture", False), ("weight", True)] * 2


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_joint_step_moves_the_weights_of_every_architect_or_is_refused(data, settings):
    architect = build(settings, small_space(nodes=1))
    if architect.own_weight_gates or architect.compares_gradients:
        with pytest.raises(
            InputError,
            match="schedule.joint=true: one step moves weights and .*; use schedule.joint=false",
        ):
            configured(settings, data, changes={"schedule.joint": True})
        return
    search = configured(settings, data, changes={"schedule.joint": True})
    stem, *_, classifier = search.supernet.parameters()  # of every path
    before = [p.detach().clone() for p in (stem, classifier)]
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert search.total == search.weight_part.batches
    assert not torch.equal(stem, before[0]) and not torch.equal(classifier, before[1])
    assert (search.scores[0] == search.scores[1]) != learns(search.architect)


def test_a_joint_step_of_proxyless_leaves_the_probabilities_that_were_not_drawn(data):
    search = configured("proxyless", data, changes={"schedule.joint": True})
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer, module, *_):
            seen.append(module.architect.scores().detach())

        def on_train_batch_end(self, trainer, module, *_):
            moved = (module.architect.scores().detach() - seen.pop()).abs()
            seen.append(moved > 1e-12)

    pl.Trainer(max_epochs=2, precision="64-true", callbacks=[Watch()], **QUIET).fit(search)
    assert [moved.sum(1).tolist() for moved in seen] == [[2] * len(search.space.choices)] * search.total


@pytest.mark.parametrize("settings", ["enas", REINFORCE])
def test_a_joint_step_moves_the_baseline(data, settings):
    search = configured(settings, data, changes={"schedule.joint": True})
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert search.architect.baseline != 0


PRECISIONS = {"bf16-mixed": torch.float32, "64-true": torch.float64}


@pytest.mark.parametrize(
    ("precision", "settings"), [*(("bf16-mixed", settings) for settings in OWN), ("64-true", "darts")]
)
def test_precisions(data, precision, settings):
    search = configured(settings, data)
    before = [p.detach().clone() for p in search.supernet.parameters()]
    pl.Trainer(max_epochs=1, precision=precision, **QUIET).fit(search)
    assert all(p.isfinite().all() and p.dtype == PRECISIONS[precision] for p in search.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, search.supernet.parameters(), strict=True))
    assert (search.scores[0] == search.scores[1]) != learns(search.architect)


@pytest.mark.parametrize("settings", ARCHITECTS)
def test_a_resumed_search_ends_as_the_uninterrupted_one(tmp_path, settings):
    """From the checkpoint behind epoch 1 of 3, by a search that was made with other weights."""
    data = digits(batch_size=16, train_size=32)
    whole, rows = configured(settings, data), []
    keep = Keep(tmp_path / "first.ckpt")
    pl.Trainer(max_epochs=3, callbacks=[keep], **{**QUIET, "enable_checkpointing": True}).fit(whole)
    resumed = configured(settings, data, start=1, record=rows.append)
    pl.Trainer(max_epochs=3, **QUIET).fit(resumed, ckpt_path=keep.path)
    before, after = whole.state_dict(), resumed.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert rows == [row for row in whole.rows if row["epoch"] > 1]
    assert (resumed.found, resumed.rows, resumed.scores) == (whole.found, whole.rows, whole.scores)


def noisy(channels, stride, affine):
    """An operation whose training mode computes something else."""
    return nn.Sequential(nn.Dropout(0.9), nn.AvgPool2d(stride))


def test_evaluations_are_in_eval_mode(data):
    torch.manual_seed(0)
    space = DARTSCells(data.image_shape, 10, 3, 4, 2, candidates=("none", "noisy"), operations={"noisy": noisy})
    search = Search(space, darts(space), data)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert search.supernet.training
    with torch.no_grad():
        ((x, y),), gates = search.architecture_part.passes(), Gates(search.architect.scores())
        training = functional.cross_entropy(search.supernet(x, gates), y)
        plain = functional.cross_entropy(search.supernet.eval()(x, gates), y)
    assert search.rows[-1]["valid_loss"] == pytest.approx(float(plain), rel=1e-5)
    assert abs(training - plain) > 1e-2 * plain


def test_every_batch_of_an_evaluation_has_a_draw_of_its_own():
    data = digits(batch_size=32, train_size=700, architecture_fraction=0.9)
    torch.manual_seed(0)
    space = small_space(data)
    schedule = Schedule(architecture_steps=0)
    search = Search(space, Uniform(space, functional.cross_entropy), data, schedule, selection=BestOf(1))
    drawn = []
    search.supernet.register_forward_pre_hook(
        lambda supernet, inputs: None if supernet.training else drawn.append(inputs[1].active)
    )
    pl.Trainer(max_epochs=2, **QUIET).fit(search)
    assert len(list(search.architecture_part.passes())) == 2
    epochs, found = drawn[:4], drawn[4:]  # and the one sample twice: for the selection, for found_valid
    assert len(set(epochs)) == 4
    assert found == [tuple((k,) for k in search.found.decisions)] * 4


@pytest.mark.parametrize("settings", moving())
def test_an_architect_that_learns_needs_an_optimizer(data, settings):
    with pytest.raises(InputError, match="architect.optimizer"):
        configured(settings, data, changes={"architect.optimizer": None}).check(1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda s, d: Schedule(weight_steps=0), "schedule.weight_steps=0"),
        (lambda s, d: Schedule(warmup_epochs=-1), "schedule.warmup_epochs=-1"),
        (lambda s, d: Search(s, darts(s), d, gradient_clip=-1), "gradient_clip=-1"),
        (lambda s, d: Search(s, darts(s), d, log_every=0), "log_every=0"),
        (lambda s, d: Search(s, darts(s), d, epoch_batches=0), "epoch_batches=0"),
        (lambda s, d: Search(s, darts(s), d, optimizer=partial(torch.optim.SGD, lr=-1)), "weights.optimizer: .*-1"),
        (lambda s, d: Search(s, darts(s, lr=-2), d), "architect.optimizer: .*-2"),
    ],
)
def test_bad_arguments(data, build, message):
    with pytest.raises(InputError, match=message):
        build(small_space(data), data)
