"""A search that is measured: its rows, what their numbers are, and that it finds what it finds without them."""

from functools import cache

import pytest
import pytorch_lightning as pl
import torch
from helpers.ragged import Ragged
from helpers.support import QUIET, build, small_space
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.diagnostics import Diagnostics, operations_of, rows_of
from oneshot.errors import InputError
from oneshot.schedule import Schedule
from oneshot.search import Search
from oneshot.spaces import DARTSCells
from oneshot.stopping import EigenvalueRise

FULL = set(rows_of("full"))


def made(diagnostics, settings="darts", space=None, **options):
    data = digits(batch_size=32, train_size=160)
    space = space(data) if space else small_space(data, nodes=1)
    return Search(space, build(settings, space), data, log_every=3, diagnostics=diagnostics, **options)


def fitted(search, epochs=2, callbacks=(), **options):
    pl.Trainer(max_epochs=epochs, callbacks=[*callbacks], **{**QUIET, **options}).fit(search)
    return search


@cache
def searched(level, settings="darts"):
    joint = Schedule(joint=True) if settings == "snas" else Schedule()
    return fitted(made(level, settings, schedule=joint))


def ends(search):
    return [row for row in search.rows if "valid_loss" in row]


@pytest.mark.parametrize("settings", ["darts", "snas", "drnas"])
def test_a_search_finds_the_same_whatever_is_measured(settings):
    first, *others = (searched(level, settings) for level in ("none", "light", "full"))
    for other in others:
        assert other.scores == first.scores and other.found == first.found
        for ours, expected in ((other.supernet, first.supernet), (other.architect, first.architect)):
            for name, value in expected.state_dict().items():
                assert torch.equal(ours.state_dict()[name], value), name
            for p, q in zip(ours.parameters(), expected.parameters(), strict=True):
                assert torch.equal(p.grad, q.grad)
        for optimizer, plain in zip(other.trainer.optimizers, first.trainer.optimizers, strict=True):
            assert str(optimizer.state_dict()) == str(plain.state_dict())
        rows = [{name: value for name, value in row.items() if name not in FULL} for row in other.rows]
        assert rows == first.rows


def test_random_states_are_those_of_a_search_without():
    states = {}
    for level in ("none", "full"):
        fitted(made(level), 1)
        states[level] = torch.get_rng_state()
    assert torch.equal(states["none"], states["full"])


def test_rows_of_each_level():
    for level in ("none", "light", "full"):
        search = searched(level)
        for row in ends(search):
            assert set(row) & FULL == set(rows_of(level))
        assert not any(set(row) & FULL for row in search.rows if "valid_loss" not in row)
    assert set(rows_of("none")) < set(rows_of("light")) < set(rows_of("full"))
    assert [set(one) for one in searched("full").diagnostics.details] == [{"epoch", "eigenvalues", "gaps"}] * 2
    assert not searched("light").diagnostics.details


def test_counts_are_those_of_the_discretized_scores():
    search = searched("full")
    for row, scores in zip(ends(search), search.scores[1:], strict=True):
        expected = operations_of(search.space).counts(search.space.discretize(torch.tensor(scores)))
        assert {name: row[name] for name in expected} == expected


def test_numbers_of_the_last_epoch_by_plain_autograd():
    """The search has ended, and its weights are those that were measured."""
    search = searched("full")
    row, details, alpha = ends(search)[-1], search.diagnostics.details[-1], search.architect.alpha
    batches = [next(iter(part.passes(32))) for part in (search.weight_part, search.architecture_part)]

    def loss(table, batch):
        return functional.cross_entropy(search.supernet(batch.x, Gates(table)), batch.y)

    train, valid = (
        torch.autograd.grad(loss(torch.softmax(alpha, 1), batch), alpha)[0].double().flatten() for batch in batches
    )
    assert row["gradient_cosine"] == pytest.approx(float(train @ valid / train.norm() / valid.norm()), abs=1e-5)
    with torch.no_grad():
        p = torch.softmax(alpha, 1)
        decided = search.space.discretize(p)
        one_hot = search.space.one_hot(decided)
        base = float(loss(p, batches[1]))
        assert row["discretization_gap"] == pytest.approx(float(loss(one_hot, batches[1])) - base, abs=1e-5)
        for choice, gap in enumerate(details["gaps"]):
            one = torch.where(torch.arange(len(p))[:, None] == choice, one_hot, p)
            assert gap == pytest.approx(float(loss(one, batches[1])) - base, abs=1e-5)
    function = lambda a: loss(torch.softmax(a, 1), batches[1])  # noqa: E731
    exact = torch.linalg.eigvalsh(
        torch.autograd.functional.hessian(function, alpha.detach()).reshape(alpha.numel(), -1).double()
    )
    size = float(exact.abs().max())
    assert row["alpha_eigenvalue_smallest"] == pytest.approx(float(exact[0]), abs=1e-4 * size)
    assert row["alpha_eigenvalue_largest"] == pytest.approx(float(exact[-1]), abs=1e-4 * size)
    assert len(details["eigenvalues"]) == 32


class Gradients(pl.Callback):
    """Keeps the gradient of alpha after each architecture step."""

    def __init__(self):
        self.found = []

    def on_train_batch_end(self, trainer, module, outputs, update, index):
        if update.kind == "architecture":
            self.found.append(module.architect.alpha.grad.clone().flatten())


def test_successive_cosine_is_the_mean_of_the_epoch():
    callback = Gradients()
    search = fitted(made("light"), callbacks=[callback])
    gradients = callback.found
    pairs = zip(gradients[1:], gradients[:-1], strict=True)
    cosines = [float(functional.cosine_similarity(a, b, dim=0)) for a, b in pairs]
    own = len(gradients) // 2  # steps of an epoch; the first one of the search has none before it
    expected = [sum(cosines[: own - 1]) / (own - 1), sum(cosines[own - 1 :]) / own]
    assert [row["successive_cosine"] for row in ends(search)] == pytest.approx(expected, abs=1e-6)


class Save(pl.callbacks.Checkpoint):
    """Saves at one update."""

    def __init__(self, path, update):
        self.path, self.update = path, update

    def on_train_batch_end(self, trainer, module, *_):
        if module.done == self.update:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("update", [2, 7])
def test_a_search_that_continues_has_the_same_rows(tmp_path, update):
    whole = searched("full")
    options = {"enable_checkpointing": True}
    saved = tmp_path / "saved.ckpt"
    fitted(made("full"), callbacks=[Save(saved, update)], **options)
    search = made("full")
    pl.Trainer(max_epochs=2, **QUIET).fit(search, ckpt_path=saved, weights_only=True)
    assert search.rows == whole.rows and search.diagnostics.details == whole.diagnostics.details


def test_every_and_further_rows():
    diagnostics = Diagnostics("light", every=2, dense=0)
    diagnostics.also(["alpha_eigenvalue_largest", "skips", "alpha_eigenvalue_largest"])
    search = fitted(made(diagnostics), 3)
    largest = [row.get("alpha_eigenvalue_largest") for row in ends(search)]
    assert largest[0] is None and largest[1] is not None and largest[2] is not None  # the last one too
    assert all(set(row) & FULL <= {*rows_of("light"), "alpha_eigenvalue_largest"} for row in ends(search))
    both_ends = [len(one["eigenvalues"]) for one in diagnostics.details]
    assert both_ends == [2, 2] and [one["epoch"] for one in diagnostics.details] == [2, 3]
    expected = ends(searched("full"))[1]["alpha_eigenvalue_largest"]  # of another number of epochs: other rates
    assert largest[1] == pytest.approx(expected, rel=0.5)


def test_what_a_rule_asks_for_is_measured_when_the_rule_reads_it():
    """In the epochs 1, 1 + every, ...; beside it the rows of the level keep their own epochs."""
    name = "alpha_eigenvalue_largest"
    rule = EigenvalueRise(window=1, from_epoch=1, lag=1, ratio=1e-9, every=3)
    search = fitted(made("light", stop=rule), 5)
    assert [row["epoch"] for row in ends(search) if name in row] == [1, 4]
    both = fitted(made(Diagnostics("full", every=2, dense=0), stop=rule), 5)
    assert [row["epoch"] for row in ends(both) if name in row] == [1, 2, 4, 5]
    assert [row["epoch"] for row in ends(both) if "flatness" in row] == [2, 4, 5]
    assert ends(both)[3][name] == pytest.approx(ends(search)[3][name], rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "missing"),
    [("uniform", FULL), ("enas", {n for n in FULL if "alpha" in n or "cosine" in n}), ("proxyless", set())],
)
def test_what_has_no_meaning_is_left_out(settings, missing):
    search = fitted(made("full", settings, schedule=Schedule()), 1)
    assert FULL - set(ends(search)[-1]) == missing


@pytest.mark.parametrize(
    ("settings", "name", "message"),
    [
        ("uniform", "skips", "diagnostics skips: needs an architect that learns; Uniform has no parameters"),
        ("enas", "alpha_eigenvalue_largest", "needs an architect whose scores are a differentiable function of one"),
    ],
)
def test_rows_that_were_asked_for_must_have_a_meaning(settings, name, message):
    made("full", settings).check(2)  # it is a row of the level: left out
    for level in ("none", "full"):
        diagnostics = Diagnostics(level)
        diagnostics.also([name])
        with pytest.raises(InputError, match=message):
            made(diagnostics, settings).check(2)
    with pytest.raises(InputError, match="needs a space with `operations`; 'ragged' has none"):
        diagnostics = Diagnostics("none")
        diagnostics.also(["skips"])
        space = Ragged()
        diagnostics.check(space, build("darts", space))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rows_of("everything"), "unknown level: diagnostics 'everything'; known: full, light, none"),
        (lambda: made("ful"), "did you mean 'full'"),
        (lambda: Diagnostics("full", every=0), "diagnostics.every=0"),
        (lambda: Diagnostics("full", images=1), "diagnostics.images=1"),
        (lambda: Diagnostics("full", dense=-1), "diagnostics.dense=-1"),
        (lambda: Diagnostics("none").also(["skips"], every=0), "every=0: must be"),
        (lambda: Diagnostics("none").also(["skip"]), "unknown row of diagnostics 'skip'; did you mean 'skips'"),
    ],
)
def test_bad_settings(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value) and "\n" not in str(error.value)


class Once(torch.autograd.Function):
    """An operation with a first derivative alone."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return gradient.clone()


class Plain(torch.nn.Module):
    def forward(self, x):
        return Once.apply(x)


def test_an_operation_without_second_derivative_is_named():
    def space(data):
        own = {"once": lambda channels, stride, affine: torch.nn.Sequential(torch.nn.AvgPool2d(stride), Plain())}
        names = ["none", "skip_connect", "once"]
        return DARTSCells(data, cells=3, channels=4, nodes=1, candidates=names, operations=own)

    with pytest.raises(InputError, match="no second derivative.*once_differentiable.*use diagnostics=light"):
        fitted(made("full", space=space), 1)  # autograd alone would leave its part out without an error
