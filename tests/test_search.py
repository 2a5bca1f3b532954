"""The search: its schedule, its updates, and that the same seed gives the same search."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from support import QUIET, darts, small_space
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.errors import InputError
from oneshot.search import Schedule, Search


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
    assert search.valid_accuracy == epochs[-1]["valid_accuracy"]
    assert search.space.is_valid(search.found.decisions)
    with torch.no_grad():
        x, y = next(iter(search.architecture_part.passes()))
        logits = search.space.network(search.found, inherit=search.supernet)(x)
    assert search.found_accuracy == pytest.approx(float((logits.argmax(1) == y).float().mean()))


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


@pytest.mark.parametrize(("precision", "dtype"), [("bf16-mixed", torch.float32), ("64-true", torch.float64)])
def test_precisions(data, precision, dtype):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, darts(space), data)
    pl.Trainer(max_epochs=1, precision=precision, **QUIET).fit(search)
    assert search.architect.alpha.isfinite().all() and search.architect.alpha.dtype == dtype
    assert search.scores[0] != search.scores[1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda s, d: Schedule(weight_steps=0), "schedule.weight_steps=0"),
        (lambda s, d: Schedule(warmup_epochs=-1), "schedule.warmup_epochs=-1"),
        (lambda s, d: Search(s, darts(s), d, gradient_clip=-1), "gradient_clip=-1"),
        (lambda s, d: Search(s, darts(s), d, log_every=0), "log_every=0"),
        (lambda s, d: Search(s, darts(s), d, optimizer=partial(torch.optim.SGD, lr=-1)), "weights.optimizer: .*-1"),
        (lambda s, d: Search(s, darts(s, lr=-2), d), "architect.optimizer: .*-2"),
    ],
)
def test_bad_arguments(data, build, message):
    with pytest.raises(InputError, match=message):
        build(small_space(data), data)
