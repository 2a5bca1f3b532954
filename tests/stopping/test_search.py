"""A search that a rule ends: what it goes back to, what it leaves, and that it resumes exactly."""

import copy
import json
import shutil

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, REINFORCE, Keep, composed, configured, learns
from hydra.utils import instantiate

import oneshot
from oneshot.cli.conf import choices, load
from oneshot.cli.objects import make
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.fitting.checkpoints import Checkpointing, Checkpoints
from oneshot.selection import by_scores
from oneshot.stopping import EigenvalueRise, SkipCount, Stop, StoppingRule
from oneshot.training.outcome import stopped

EPOCHS, SAVING = 5, {**QUIET, "enable_checkpointing": True}


class At(StoppingRule):
    """Ends a search after an epoch and keeps another one."""

    def __init__(self, epoch, kept, back=2):
        self.epoch, self.kept, self.back = epoch, kept, back

    def __call__(self, history):
        assert history.epoch == len(history.scores) - 1 and [row["epoch"] for row in history.rows] == [
            *range(1, history.epoch + 1)
        ]
        return Stop("as I say", self.kept) if history.epoch == self.epoch else None


class Rise(EigenvalueRise):
    """The same of another number, which falls."""

    rows = ("valid_loss",)

    def __call__(self, history):
        rows = [{"valid_loss": 1 / row["valid_loss"]} for row in history.rows]
        return super().__call__(type(history)(history.space, rows, history.scores))


class States(pl.Callback):
    """The state of the search at each epoch's end."""

    def __init__(self):
        self.found = []

    def on_train_epoch_end(self, trainer, module):
        self.found.append({name: tensor.clone() for name, tensor in module.state_dict().items()})


def small(images=32):
    """Two updates an epoch, with more images more."""
    return digits(batch_size=16, train_size=images)


def fitted(module, ckpt_path=None, callbacks=(), epochs=EPOCHS, **options):
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[*callbacks], **{**QUIET, **options})
    trainer.fit(module, ckpt_path=ckpt_path)
    return module


def equal(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def part(state, name):
    return {key: value for key, value in state.items() if key.startswith(f"{name}.")}


@pytest.mark.parametrize("settings", ["darts", "pc_darts", "snas", "enas", REINFORCE])
def test_it_goes_back_to_the_kept_epoch(settings):
    """Its weights are those of the last epoch; its architect and what it selects are those of the kept one."""
    states = States()
    whole = fitted(configured(settings, small()), callbacks=[states])
    search = fitted(configured(settings, small(), stop=At(4, 2)))
    assert (search.ended, search.stopped) == (4, Stop("as I say", 2)) and learns(search.architect)
    assert search.rows == [row for row in whole.rows if row["epoch"] <= 4] and search.scores == whole.scores[:5]
    assert equal(part(search.state_dict(), "supernet"), part(states.found[3], "supernet"))
    assert equal(part(search.state_dict(), "architect"), part(states.found[1], "architect"))
    assert search.architect.scores().tolist() == whole.scores[2] != whole.scores[4]
    if search.selection is by_scores:
        assert search.found == search.space.discretize(torch.tensor(whole.scores[2], dtype=torch.float64))
    assert search.found == search.selection(search.space, search.architect, search)
    assert search.found_valid == search.measure(search.found)


@pytest.mark.parametrize(("epoch", "kept"), [(1, 0), (1, 1), (5, 5), (5, 3)])
def test_the_start_the_first_and_the_last_epoch(epoch, kept):
    search = fitted(configured("darts", small(), stop=At(epoch, kept)))
    assert search.architect.scores().tolist() == search.scores[kept]
    end = {"epochs": epoch, "updates": 2 * epoch, "reason": "as I say", "kept_epoch": kept}
    assert stopped(search) == {"stopped": end}


@pytest.mark.parametrize("settings", ["darts", "enas", "uniform"])
def test_a_rule_that_never_ends_it_changes_nothing(settings):
    plain, ruled = (fitted(configured(settings, small(), stop=rule)) for rule in (None, At(99, 99)))
    assert plain.rows == ruled.rows and plain.scores == ruled.scores and equal(plain.state_dict(), ruled.state_dict())
    assert (plain.found, plain.found_valid, plain.stopped) == (ruled.found, ruled.found_valid, ruled.stopped)
    assert stopped(ruled) == {}


class KeepAll(Checkpoints):
    """Copies each checkpoint before a newer one takes its place."""

    def save(self, trainer, done):
        super().save(trainer, done)
        self.folder.with_name("kept").mkdir(exist_ok=True)
        shutil.copy(self.newest(), self.folder.with_name("kept"))


@pytest.mark.parametrize("settings", ["darts", "enas", "pc_darts"])
def test_it_resumes_after_any_update_and_in_between_stop_and_end(tmp_path, settings):
    """The last checkpoint is of the last update of the epoch at whose end the rule ends the search."""
    checkpoints = KeepAll(tmp_path / "checkpoints")
    whole = configured(settings, small(), stop=At(4, 2))
    trainer = pl.Trainer(max_epochs=EPOCHS, callbacks=[Checkpointing(checkpoints, 1)], **QUIET)
    trainer.strategy.checkpoint_io = checkpoints
    trainer.fit(whole)
    paths = sorted((tmp_path / "kept").iterdir())
    assert len(paths) == whole.done == whole.updates_of(4)
    for path in (paths[0], paths[len(paths) // 2], paths[len(paths) // 2 + 1], paths[-1]):
        resumed = configured(settings, small(), start=1, stop=At(4, 2))
        trainer = pl.Trainer(max_epochs=EPOCHS, **QUIET)
        trainer.strategy.checkpoint_io = checkpoints
        trainer.fit(resumed, ckpt_path=path)
        assert_same(whole, resumed)


def assert_same(whole, resumed):
    assert equal(whole.state_dict(), resumed.state_dict()) and resumed.rows == whole.rows
    assert (resumed.found, resumed.scores, resumed.stopped) == (whole.found, whole.scores, whole.stopped)
    assert (resumed.valid, resumed.found_valid, resumed.ended) == (whole.valid, whole.found_valid, whole.ended)


def test_a_checkpoint_of_after_the_stop_ends_at_once(tmp_path):
    keep = Keep(tmp_path / "first.ckpt")
    whole = fitted(configured("darts", small(), stop=At(1, 0)), callbacks=[keep], **SAVING)
    whole.trainer.save_checkpoint(tmp_path / "last.ckpt")
    for path in (keep.path, tmp_path / "last.ckpt"):
        assert_same(whole, fitted(configured("darts", small(), start=1, stop=At(1, 0)), path))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The content of the checkpoint after the first epoch."""
    keep = Keep(tmp_path_factory.mktemp("kept") / "first.ckpt")
    fitted(configured("darts", small(), stop=At(4, 2)), callbacks=[keep], **SAVING)
    return torch.load(keep.path, weights_only=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda stop: stop["architects"].pop(0),
        lambda stop: stop["architects"].update({0: {}}),
        lambda stop: stop["architects"][0].update({"alpha": torch.zeros(2)}),
        lambda stop: stop.update(decided={"reason": "x", "kept_epoch": 7}),
        lambda stop: stop.update(decided={"reason": 1, "kept_epoch": 0}),
        lambda stop: stop.update(decided={"kept": 0}),
        lambda stop: stop.clear(),
    ],
)
def test_a_checkpoint_that_does_not_fit(tmp_path, first, damage):
    content = copy.deepcopy(first)
    damage(content["fit"]["stop"])
    torch.save(content, tmp_path / "first.ckpt")
    with pytest.raises(InputError, match="the checkpoint does not fit this run"):
        fitted(configured("darts", small(), stop=At(4, 2)), tmp_path / "first.ckpt")


def test_a_checkpoint_without_a_rule_does_not_fit_a_search_with_one(tmp_path):
    keep = Keep(tmp_path / "first.ckpt")
    fitted(configured("darts", small()), callbacks=[keep], epochs=2, **SAVING)
    with pytest.raises(InputError, match="the checkpoint does not fit this run .*stop"):
        fitted(configured("darts", small(), stop=At(2, 2)), keep.path, epochs=2)


def test_min_epochs_are_waited_for_and_a_trial_leaves_all_as_it_was():
    class Now(StoppingRule):
        def __call__(self, history):
            return Stop("now", history.epoch)

    assert fitted(configured("darts", small(), stop=Now()), min_epochs=3).stopped == Stop("now", 3)
    search = configured("darts", small(), stop=Now())
    before = {name: tensor.clone() for name, tensor in search.state_dict().items()}
    pl.Trainer(fast_dev_run=2, **QUIET).fit(search)
    assert equal(before, search.state_dict()) and search.stopped is None and search.done == 0
    assert fitted(search).stopped == Stop("now", 1)


def test_a_rise_of_a_number_of_the_rows():
    """Of one over the validation loss, by a loop over the rows of a search without a rule."""
    rows = fitted(configured("darts", small(64)), epochs=8).rows
    losses = [row["valid_loss"] for row in rows if "valid_loss" in row]
    fall = {n: losses[n - 1] / losses[n - 3] for n in range(3, 9)}
    steepest, second = sorted(fall.values())[:2]
    search = fitted(configured("darts", small(64), stop=Rise(1, 1, 2, (steepest + second) / 2, 1)), epochs=8)
    assert fall[search.ended] == steepest < 1 and search.stopped.kept_epoch == search.ended - 2


CALLS = []


class Crash(Exception):
    """What interrupts."""


def fails_once(space, architect, estimator):
    """A selection that a crash interrupts the first time."""
    CALLS.append(1)
    if len(CALLS) == 1:
        raise Crash
    return by_scores(space, architect, estimator)


def test_fit_in_a_folder_continues_between_stop_and_end_with_the_same_bytes(tmp_path):
    def run(out, selection, start=0):
        search = configured("darts", small(), start, stop=At(3, 2))
        search.selection = selection
        return search, oneshot.fit(search, EPOCHS, tmp_path / out, show=False, accelerator="cpu")

    CALLS.clear()
    with pytest.raises(Crash):
        run("parts", fails_once)
    assert not (tmp_path / "parts" / "result.json").exists()
    (search, result), (_, whole) = run("parts", fails_once), run("whole", fails_once)
    assert result["stopped"] == {"epochs": 3, "updates": 6, "reason": "as I say", "kept_epoch": 2} == whole["stopped"]
    for name in ("architecture.json", "scores.json", "metrics.jsonl", "supernet.safetensors", "architect.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again, answer = run("parts", fails_once, start=1)
    assert answer == result and (again.stopped, again.found) == (search.stopped, search.found)
    assert again.architect.scores().tolist() == again.scores[2]
    assert json.loads((tmp_path / "parts" / "scores.json").read_text()) == search.scores
    other = configured("darts", small(), stop=At(4, 2))
    other.selection = fails_once
    with pytest.raises(InputError, match="stop.epoch=3 and not 4"):
        oneshot.fit(other, EPOCHS, tmp_path / "parts", show=False, accelerator="cpu")


class Careless(StoppingRule):
    def __init__(self, said):
        self.said = said

    def __call__(self, history):
        return self.said


class Asking(StoppingRule):
    """Reads a number, and never ends a search."""

    def __init__(self, *rows):
        self.rows = rows

    def __call__(self, history):
        for name in self.rows:
            history.number(name, history.epoch)


@pytest.mark.parametrize("said", [Stop("x", 0), Stop("x", 2), Stop("x", 1.0), (0, 1), True])
def test_a_rule_that_gives_something_else(said):
    with pytest.raises(InputError, match="stop: Careless gives .*; must be a Stop that keeps one of the epochs 1 to 1"):
        fitted(configured("darts", small(), stop=Careless(said)))


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            Asking("loss"),
            "stop: Asking reads loss, which the rows of this search do not have; they have entropy, valid_",
        ),
        (SkipCount(skip="skip"), "unknown stop.skip 'skip'"),
        ("skip_count", "stop: 'skip_count' is no StoppingRule"),
        (SkipCount, "is no StoppingRule"),
    ],
)
def test_a_rule_is_refused_before_the_search_starts(rule, message):
    with pytest.raises(InputError, match=message):
        configured("darts", small(), stop=rule)


def test_a_rule_that_could_never_end_the_search_is_refused():
    search = configured("darts", small(), stop=SkipCount(from_epoch=4))
    search.check(4)
    with pytest.raises(InputError, match="SkipCount can end a search after epoch 4 at the earliest, and .* has 3"):
        search.check(3)


def test_the_row_of_each_epoch_has_what_it_promises():
    rules = {"darts": Asking("skips", "alpha_eigenvalue_largest"), "snas": Asking("flatness"), "uniform": None}
    for settings, rule in rules.items():
        search = fitted(configured(settings, small(), stop=rule), epochs=2)
        ends = [row for row in search.rows if "valid_loss" in row]
        assert len(ends) == 2 and all(search.row_names <= set(row) for row in ends)
        assert rule is None or search.row_names > {*rule.rows}


def test_a_number_without_a_meaning_is_refused_before_the_search_starts():
    search = configured("uniform", small(), stop=Asking("skips"))
    with pytest.raises(InputError, match="diagnostics skips: needs an architect that learns"):
        search.check(2)


@pytest.mark.parametrize("name", choices("stop"))
def test_the_settings_of_the_command_line_are_the_defaults(name):
    rule = make(load(choices("stop")[name]))
    assert isinstance(rule, StoppingRule) and vars(rule) == vars(type(rule)())
    assert instantiate(composed("darts").stop) is None
