"""A fit resumes behind every one of its updates, exactly."""

import copy
import random
import shutil

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, SETTINGS, configured, small_space

from oneshot.data import digits
from oneshot.errors import Diverged, InputError
from oneshot.fitting.checkpoints import Checkpointing, Checkpoints
from oneshot.retrain import Retrain

EPOCHS = 3


class KeepAll(Checkpoints):
    """Copies each checkpoint before a newer one takes its place."""

    def save(self, trainer, done):
        super().save(trainer, done)
        kept = self.folder.with_name("kept")
        kept.mkdir(exist_ok=True)
        shutil.copy(self.newest(), kept)


def fitted(module, folder, ckpt_path=None, callbacks=(), every=1, **options):
    folder.mkdir(exist_ok=True)
    begun = []
    checkpointing = Checkpointing(KeepAll(folder / "checkpoints"), every, lambda rows: begun.append(list(rows)))
    trainer = pl.Trainer(max_epochs=EPOCHS, callbacks=[checkpointing, *callbacks], **QUIET, **options)
    trainer.strategy.checkpoint_io = checkpointing.checkpoints
    trainer.fit(module, ckpt_path=ckpt_path)
    return begun[0]


def kept(folder):
    return sorted((folder / "kept").iterdir())


def equal(first, second):
    before, after = first.state_dict(), second.state_dict()
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def same_optimizers(first, second):
    for a, b in zip(first.trainer.optimizers, second.trainer.optimizers, strict=True):
        states = zip(a.state.values(), b.state.values(), strict=True)
        assert all(torch.equal(x[name], y[name]) for x, y in states for name in x if torch.is_tensor(x[name]))


@pytest.mark.parametrize("settings", [*SETTINGS, "darts schedule.warmup_epochs=1", "enas phases"])
def test_a_search_resumes_behind_any_update(tmp_path, settings):
    """Behind a drawn update, an epoch and the last update. The search that resumes was made with other weights.

    The phases of ENAS are of three steps, a batch is four a pass.
    """
    data = digits(batch_size=8, train_size=64 if settings.endswith("phases") else 32)

    def search(start, record=None):
        made = configured(settings.split(" phases")[0], data, start, record)
        if settings.endswith("phases"):
            made.schedule = type(made.schedule)(1, 3, 3)
        return made

    whole = search(0)
    fitted(whole, tmp_path / "whole")
    paths = kept(tmp_path / "whole")
    assert len(paths) == whole.total
    for i, path in enumerate([random.Random(settings).choice(paths), paths[len(paths) // EPOCHS - 1], paths[-1]]):
        rows = []
        resumed = search(1, rows.append)
        begun = fitted(resumed, tmp_path / str(i), path, every=None)
        assert begun + rows == resumed.rows == whole.rows
        assert equal(whole, resumed) and (resumed.found, resumed.scores) == (whole.found, whole.scores)
        assert (resumed.valid, resumed.found_valid) == (whole.valid, whole.found_valid)
        same_optimizers(whole, resumed)


def test_a_training_resumes_behind_every_update(tmp_path):
    data = digits(batch_size=16, train_size=32)
    space = small_space(data)
    found = space.sample(random.Random(0))

    def training(start):
        torch.manual_seed(start)
        return Retrain(space.network(found), data, drop_path=0.5, log_every=3)

    whole = training(0)
    fitted(whole, tmp_path / "whole")
    for i, path in enumerate(kept(tmp_path / "whole")):
        resumed = training(1)
        fitted(resumed, tmp_path / str(i), path, every=None)
        assert resumed.rows == whole.rows and equal(whole, resumed) and resumed.tested == whole.tested
        same_optimizers(whole, resumed)
    assert i == 5


def test_twice_in_one_epoch(tmp_path):
    data = digits(batch_size=8, train_size=64)
    whole, first, second = (configured("snas", data, start) for start in range(3))
    fitted(whole, tmp_path / "whole")
    fitted(first, tmp_path / "first", kept(tmp_path / "whole")[4])
    one_more = kept(tmp_path / "first")[0]  # an update of the same epoch
    fitted(second, tmp_path / "second", one_more, every=None)
    assert whole.total == 12 and equal(whole, second) and second.rows == whole.rows


def test_a_checkpoint_of_lightnings_own_behind_the_last_epoch(tmp_path):
    data = digits(batch_size=16, train_size=64)
    whole, resumed = configured("darts", data), configured("darts", data, 1)
    trainer = pl.Trainer(max_epochs=EPOCHS, **QUIET)
    trainer.fit(whole)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    pl.Trainer(max_epochs=EPOCHS, **QUIET).fit(resumed, ckpt_path=tmp_path / "last.ckpt")
    assert equal(whole, resumed) and (resumed.found, resumed.rows) == (whole.found, whole.rows)


class Poison(pl.Callback):
    """From update k on the weights give what is not finite, or their gradient is not."""

    def __init__(self, update, kind):
        self.update, self.kind = update, kind

    def on_train_batch_start(self, trainer, module, *_):
        if module.done == self.update and self.kind == "loss":
            criterion = module.criterion
            module.components = module.components._replace(criterion=lambda x, y: criterion(x, y) * float("nan"))
            module.architect.criterion = module.components.criterion
        if module.done == self.update and self.kind == "gradient":
            for p in [*list(module.supernet.parameters())[::3], *module.architect.parameters()]:
                p.register_hook(lambda gradient: gradient * float("inf"))


@pytest.mark.parametrize("kind", ["loss", "gradient"])
@pytest.mark.parametrize(("settings", "update"), [("darts", 4), ("darts", 5), ("snas", 5), ("darts_second", 6)])
def test_what_is_not_finite_stops_it_before_anything_moves(tmp_path, settings, update, kind):
    search = configured(settings, digits(batch_size=16, train_size=64))
    with pytest.raises(Diverged, match=f"update {update}: .*: the run has diverged"):
        fitted(search, tmp_path, callbacks=[Poison(update, kind)])
    paths = kept(tmp_path)
    assert search.done == update == len(paths)
    last = torch.load(paths[-1], weights_only=True)["state_dict"]
    for name, parameter in search.named_parameters():
        assert torch.equal(parameter, last[name]) and parameter.isfinite().all()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The content of the checkpoint of a fifth update."""
    folder = tmp_path_factory.mktemp("whole")
    fitted(configured("darts", digits(batch_size=16, train_size=64)), folder)
    return torch.load(kept(folder)[4], weights_only=True)


def state(c):
    return next(iter(c["optimizer_states"][0]["state"].values()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["fit"].update(done=-1), "done is -1"),
        (lambda c: c["fit"].update(done=10**9), "1000000000 updates"),
        (lambda c: c["fit"].update(ended="3"), "ended is '3'"),
        (lambda c: c["fit"].update(rows=[{"loss": "x"}]), "rows: 'loss'"),
        (lambda c: c["fit"].update(rows=[{"loss": 1.0}]), "rows: one has no step"),
        (lambda c: c["fit"].update(rows=[{"step": 10**400}]), "rows: 'step'"),
        (lambda c: c["fit"].update(seed=1), "seed is 1, here 0"),
        (lambda c: c["fit"].update(scores=[[1.0]]), "scores"),
        (lambda c: c["state_dict"].update({"architect.alpha": c["state_dict"]["architect.alpha"].cfloat()}), "complex"),
        (lambda c: c["optimizer_states"][0].update(state={10**6: {}}), "list index"),
        (lambda c: c["lr_schedulers"][0].update(last_epoch=10**400), "last_epoch"),
        (lambda c: c["fit"].pop("means"), "means"),
        (lambda c: c["fit"]["means"].update(a=[1, "b"]), "means: 'a'"),
        (lambda c: c["state_dict"].update(other=torch.zeros(1)), "other is"),
        (lambda c: c["state_dict"].update({"architect.alpha": torch.zeros(1)}), "architect.alpha is"),
        (lambda c: c.update(optimizer_states=[]), "shorter|argument"),
        (lambda c: state(c).update(momentum_buffer=torch.zeros(3, 3, 3)), "momentum_buffer' is"),
        (lambda c: c["optimizer_states"][0]["param_groups"][0].update(colour=1), "param_groups.0 has other names"),
        (lambda c: c["lr_schedulers"][0].update(__class__=1), "lr_schedulers.0 has other names"),
        (lambda c: c["lr_schedulers"][0].update(last_epoch="x"), "last_epoch is 'x'"),
    ],
)
def test_a_foreign_checkpoint_is_refused(tmp_path, checkpoint, change, message):
    data, content = digits(batch_size=16, train_size=64), copy.deepcopy(checkpoint)
    change(content)
    torch.save(content, tmp_path / "changed.ckpt")
    with pytest.raises(InputError, match=f"the checkpoint does not fit this run .*({message})"):
        fitted(configured("darts", data), tmp_path / "again", tmp_path / "changed.ckpt")
