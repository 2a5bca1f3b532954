"""Habits of Lightning's users: what each does here, or why it is refused. docs/lightning.md has a table of this list.

`python scripts/habits.py` writes the table; tests/fitting/test_lightning.py tries each line of it.
"""

import csv
import math
import signal
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as lightning
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.plugins.precision import MixedPrecision
from pytorch_lightning.tuner import Tuner

import oneshot
from oneshot.fitting.base import Fit

from .support import QUIET, Keep

BEGIN, END = "<!-- made by scripts/habits.py -->", "<!-- end -->"
EPOCHS, UPDATES = 2, 4  # updates an epoch of a search
SAVING = {**QUIET, "enable_checkpointing": True}


class Habit(NamedTuple):
    """A line of the table.

    Args:
        text: What a user writes, as Markdown.
        says: What it does. Of what is refused: the message, or what comes after the setting.
        check: Tries it, with a folder. Of what is refused: does it, with a search and a retraining.
    """

    text: str
    says: str
    check: Callable[..., None]


def search(start: int = 0, log_every: int = 3, **settings: Any) -> oneshot.Search:
    """A search of two weight steps and two architecture steps an epoch. start: seed of its weights."""
    data = oneshot.data.digits(batch_size=16, train_size=64)
    torch.manual_seed(start)
    space = oneshot.spaces.NASBench201(data, cells=1, channels=4)
    return oneshot.Search(space, oneshot.architects.DARTS(space), data, log_every=log_every, **settings)


def retraining(start: int = 0, **settings: Any) -> oneshot.Retrain:
    """A training of four updates an epoch."""
    data = oneshot.data.digits(batch_size=16, train_size=64)
    space = oneshot.spaces.NASBench201(data, cells=1, channels=4)
    scores = torch.rand(space.shape, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(start)
    return oneshot.Retrain(space.network(space.discretize(scores)), data, log_every=3, **settings)


def fitted(module: Any, ckpt_path: Any = None, **options: Any) -> pl.Trainer:
    """The trainer after it has fitted a module."""
    trainer = pl.Trainer(**{**QUIET, "max_epochs": EPOCHS, **options})
    trainer.fit(module, ckpt_path=ckpt_path)
    return trainer


def state(module: Any) -> list[Any]:
    """All that a fit leaves."""
    weights = {name: value.tolist() for name, value in module.state_dict().items()}
    if isinstance(module, oneshot.Retrain):
        return [module.rows, module.tested, weights]
    return [module.rows, module.scores, module.found, module.valid, module.found_valid, weights]


@cache
def plain(make: Callable[[], Fit] = search, epochs: int = EPOCHS) -> list[Any]:
    """What a fit leaves with a trainer of no settings but its epochs."""
    module = make()
    fitted(module, max_epochs=epochs)
    return state(module)


def same(**options: Any) -> Callable[[Path], None]:
    """A check that these settings change nothing."""

    def check(folder: Path) -> None:
        module = search()
        fitted(module, default_root_dir=folder, **options)
        assert state(module) == plain()

    return check


def metrics_are_there(folder: Path) -> None:
    module = search()
    trainer = fitted(module)
    expected = {f"{part}_{n}": v for part in ("valid", "found_valid") for n, v in getattr(module, part).items()}
    for numbers in (trainer.callback_metrics, trainer.logged_metrics, trainer.progress_bar_metrics):
        assert expected.items() <= {name: float(value) for name, value in numbers.items()}.items()
        assert {"weight_loss", "weight_accuracy", "architecture_loss", "entropy"} <= set(numbers)
    assert all(value.device.type == "cpu" for value in trainer.callback_metrics.values())
    module = retraining()
    trainer = fitted(module)
    assert trainer.callback_metrics["test_accuracy"].item() == module.tested["accuracy"]
    assert {"train_loss", "train_accuracy"} <= set(trainer.callback_metrics)


def stops_early(folder: Path) -> None:
    """As a plain loop over the rows of a search that nothing stops says. Accuracies grow, so `min` is sure to stop."""
    rows = plain(epochs=6)[0]
    valid = [row["valid_accuracy"] for row in rows if "valid_accuracy" in row]
    best, waited, stop = 2.0, 0, 0
    while stop < 6 and waited < 2:
        best, waited = (valid[stop], 0) if valid[stop] < best else (best, waited + 1)
        stop += 1
    assert stop < 6  # else nothing is tried
    module = search()
    fitted(module, max_epochs=6, callbacks=[lightning.EarlyStopping("valid_accuracy", mode="min", patience=2)])
    assert module.rows == [row for row in rows if row["step"] <= UPDATES * stop] and module.ended == stop
    assert len(module.scores) == stop + 1 and module.found_valid == module.measure(module.found)
    training = retraining()
    stopping = lightning.EarlyStopping("train_loss", stopping_threshold=1e9)
    fitted(training, max_epochs=6, callbacks=[stopping])
    last = {"epoch": 1, "step": 4, "test_accuracy": training.tested["accuracy"]}
    assert training.rows[-1] == last and training.rows[:-1] == plain(retraining, 6)[0][: len(training.rows) - 1]


def waits_for_min_epochs(folder: Path) -> None:
    module = search()
    fitted(module, max_epochs=6, min_epochs=3, callbacks=[lightning.EarlyStopping("entropy", stopping_threshold=9.0)])
    assert module.ended == 3 and module.done == 3 * UPDATES


class StopAt(pl.Callback):
    """Tells the trainer to stop after an update, as Timer does."""

    def __init__(self, update: int) -> None:
        self.update = update

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        trainer.should_stop = module.done >= self.update


def stops_within_an_epoch(folder: Path) -> None:
    """Its row is none of a whole epoch, and a checkpoint of there continues exactly."""
    module = search()
    keep = lightning.ModelCheckpoint(folder)
    fitted(module, callbacks=[StopAt(6), keep], **{**SAVING})
    row = {"epoch": 2, "step": 6, **{f"valid_{n}": v for n, v in module.valid.items()}}
    said = {name: value for name, value in module.rows[-1].items() if not name.startswith("table_")}
    assert said == {**row, "entropy": said["entropy"]}
    assert (module.done, module.ended, len(module.scores)) == (6, 1, 2)
    assert module.found_valid == module.measure(module.found)
    assert module.rows[:-1] == [row for row in plain()[0] if row["step"] <= 6]
    again = search(1)
    fitted(again, keep.best_model_path)
    assert [again.rows.pop(len(module.rows) - 1)] == module.rows[-1:] and state(again) == plain()


def stops_in_time(folder: Path) -> None:
    module = search()
    fitted(module, max_epochs=10_000, max_time=timedelta(milliseconds=1))
    assert 1 <= module.done < UPDATES and module.ended == 0
    assert module.rows[-1]["step"] == module.done and module.found_valid and "valid_loss" in module.rows[-1]


def keeps_the_best(folder: Path) -> None:
    module = search()
    keep = lightning.ModelCheckpoint(folder, "{epoch}-{step}-{valid_accuracy:.3f}", "valid_accuracy", mode="max")
    keep.save_top_k = -1
    trainer = fitted(module, max_epochs=4, callbacks=[keep], **SAVING)
    valid = [row["valid_accuracy"] for row in module.rows if "valid_accuracy" in row]
    assert keep.best_model_score == max(valid) and trainer.global_step == module.done
    names = {f"epoch={n}-step={UPDATES * (n + 1)}-valid_accuracy={v:.3f}.ckpt" for n, v in enumerate(valid)}
    assert {path.name for path in folder.iterdir()} == names
    again = search(1)
    fitted(again, keep.best_model_path, max_epochs=4)
    assert state(again) == state(module) == plain(epochs=4)


def keeps_all(folder: Path) -> None:
    """Files between the ends of epochs; both kinds of module continue from each."""
    for make in (search, retraining):
        path = folder / make.__name__
        module = make()
        keep = lightning.ModelCheckpoint(path, "{step}", every_n_train_steps=3, save_top_k=-1, save_last=True)
        fitted(module, callbacks=[keep], **SAVING)
        assert {file.name for file in path.iterdir()} == {"step=3.ckpt", "step=6.ckpt", "last.ckpt"}
        for name in ("step=3", "step=6"):
            again = make(1)
            fitted(again, path / f"{name}.ckpt")
            assert state(again) == state(module) == plain(make)


def continues(folder: Path) -> None:
    fitted(search(), callbacks=[Keep(folder / "one.ckpt")], **SAVING)
    again = search(1)
    trainer = fitted(again, folder / "one.ckpt")
    assert trainer.current_epoch == EPOCHS and trainer.global_step == again.done == EPOCHS * UPDATES
    assert state(again) == plain()


def keeps_by_default(folder: Path) -> None:
    trainer = fitted(search(), default_root_dir=folder, **SAVING)
    again = search(1)
    path = trainer.checkpoint_callback.best_model_path
    assert path.endswith(f"epoch={EPOCHS - 1}-step={EPOCHS * UPDATES}.ckpt")
    pl.Trainer(max_epochs=EPOCHS, **QUIET).fit(again, ckpt_path=path, weights_only=True)  # it holds data alone
    assert state(again) == plain()


def rates_are_logged(folder: Path) -> None:
    """By the closed form of the cosine, and by a continued fit too."""
    low, high = 0.001, 0.025
    expected = [(UPDATES * n, low + (high - low) * (1 + math.cos(math.pi * n / 3)) / 2) for n in range(3)]
    for start in (0, 1):
        logger = CSVLogger(folder, version=start)
        calls = [lightning.LearningRateMonitor("epoch"), Keep(folder / f"{start}.ckpt")]
        options = {**SAVING, "max_epochs": 3, "logger": logger, "callbacks": calls}
        fitted(search(start), folder / "0.ckpt" if start else None, **options)
        written = [(int(row["step"]), float(row["lr-SGD"])) for row in read(logger) if row["lr-SGD"]]
        assert written == [(step, pytest.approx(rate)) for step, rate in expected[start:]]


def read(logger: CSVLogger) -> list[dict[str, str]]:
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def rows_are_logged(folder: Path) -> None:
    """Those of a continued fit too, with the steps of the whole."""
    module = search()
    keep = lightning.ModelCheckpoint(folder, "{step}", save_top_k=-1)
    logger = CSVLogger(folder, version="whole")
    fitted(module, logger=logger, callbacks=[keep], **{k: v for k, v in SAVING.items() if k != "logger"})
    found = {f"found_valid_{name}": value for name, value in module.found_valid.items()}
    expected = [*module.rows, {"epoch": EPOCHS, "step": module.done, **found}]
    assert [{n: float(v) for n, v in row.items() if v} for row in read(logger)] == expected
    rest = CSVLogger(folder, version="rest")
    fitted(search(1), folder / f"step={UPDATES}.ckpt", logger=rest)
    later = [row for row in expected if row["step"] > UPDATES]
    assert [{n: float(v) for n, v in row.items() if v} for row in read(rest)] == later


def tensorboard_has_the_rows(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    module = search()
    logger = TensorBoardLogger(folder)
    fitted(module, logger=logger)
    events = EventAccumulator(logger.log_dir).Reload()
    written = [(event.step, event.value) for event in events.Scalars("valid_accuracy")]
    assert written == [(row["step"], row["valid_accuracy"]) for row in module.rows if "valid_accuracy" in row]


class Logs(pl.Callback):
    """Logs a number of its own after each update."""

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
        module.log("mine", float(module.done))


def others_log_too(folder: Path) -> None:
    module = search()
    logger = CSVLogger(folder)
    trainer = fitted(module, logger=logger, log_every_n_steps=1, callbacks=[Logs()])
    assert trainer.callback_metrics["mine"] == module.done
    assert [float(row["mine"]) for row in read(logger) if row["mine"]] == [*range(1, module.done + 1)]
    assert state(module) == plain()


def trial(setting: bool | int) -> Callable[[Path], None]:
    """A check of fast_dev_run."""

    def check(folder: Path) -> None:
        taken: list[Any] = []
        module = search(log_every=1, warmup_epochs=1, record=taken.append)  # a warm-up as long as the trial
        trainer = fitted(module, fast_dev_run=setting, max_epochs=1, **{**SAVING, "default_root_dir": folder})
        number = int(setting)
        kinds = {"weight_loss", "architecture_loss"}
        assert taken[-1]["step"] == 2 * number and kinds <= set().union(*taken)
        assert trainer.callback_metrics["found_valid_accuracy"] == module.found_valid["accuracy"]
        assert (module.done, module.rows, module.scores, list(folder.iterdir())) == (0, [], [], [])
        assert trainer.limit_train_batches == trainer.max_steps == number  # as they were
        module.warmup_epochs, module.log_every, module.record = 0, 3, None
        fitted(module)  # and now in earnest
        assert state(module) == plain()
        training = retraining()
        fitted(training, fast_dev_run=setting)
        assert training.tested and training.done == 0
        fitted(training)
        assert state(training) == plain(retraining)

    return check


def a_trainer_fits_again(folder: Path) -> None:
    trainer = pl.Trainer(max_epochs=EPOCHS, **QUIET)
    for make in (search, retraining, search):
        module = make()
        trainer.fit(module)
        assert state(module) == plain(make)


class Enough(Exception):
    """Ends a fit."""


class Interrupt(pl.Callback):
    """Ctrl-C, or another error, within an update."""

    def __init__(self, update: int, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.update, self.error = update, error

    def on_before_optimizer_step(self, trainer: pl.Trainer, module: Any, optimizer: Any) -> None:
        if module.done == self.update:
            raise self.error


def ctrl_c(folder: Path) -> None:
    module = search()
    keep = lightning.ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit):
            fitted(module, callbacks=[keep, Interrupt(6)], **SAVING)
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    assert module.done == 6
    for again in (search(1), module):
        fitted(again, folder / "step=6.ckpt")
        assert state(again) == plain()


def precision(name: str) -> Callable[[Path], None]:
    """A check of a precision."""

    def check(folder: Path) -> None:
        module = search()
        trainer = fitted(module, precision=name)
        assert trainer.precision == name and math.isfinite(module.valid["loss"]) and module.found

    return check


def in_a_folder(folder: Path) -> None:
    """An interrupted run stops where the whole does: what a callback counts is in the checkpoints."""
    found = []
    for name, broken in (("whole", 0), ("parts", 10)):
        for stop in dict.fromkeys((broken, 0)):  # 0 is the call that is not interrupted
            module = search()
            calls: list[pl.Callback] = [lightning.EarlyStopping("valid_accuracy", mode="min", patience=2)]
            calls += [Interrupt(broken, Enough)] if stop else []
            trainer = pl.Trainer(max_epochs=6, callbacks=calls, **{**QUIET, "logger": CSVLogger(folder / "logs")})
            try:
                result = oneshot.fit(module, 6, folder / name, trainer=trainer, show=False)
            except Enough:
                assert stop
        assert result["stopped"] == {"epochs": module.ended, "updates": module.done} and module.ended < 6
        again = search(1)
        assert oneshot.fit(again, 6, folder / name, show=False, accelerator="cpu") == result
        assert (again.done, again.ended, again.rows) == (module.done, module.ended, module.rows)
        found.append((folder / name / "metrics.jsonl").read_bytes())
    assert found[0] == found[1]


WORKS = (
    Habit(
        "`trainer.callback_metrics`, `logged_metrics`, `progress_bar_metrics`",
        "hold the newest numbers of the rows, by their names; `found_...` and `test_...` after the fit",
        metrics_are_there,
    ),
    Habit(
        '`EarlyStopping(monitor="valid_accuracy", mode="max")`',
        "the search selects and measures at the end of that epoch, a retraining tests there (it can "
        "monitor `train_loss`). Schedules are those of `max_epochs`",
        stops_early,
    ),
    Habit("`min_epochs=3`", "`EarlyStopping` waits for it", waits_for_min_epochs),
    Habit(
        '`ModelCheckpoint(monitor="valid_accuracy", mode="max")`',
        "keeps the best; `{step}` in a name is the number of updates. Each file continues exactly (`ckpt_path=`)",
        keeps_the_best,
    ),
    Habit(
        "`ModelCheckpoint(every_n_train_steps=3)`",
        "saves after each third update, of whatever kind. Lightning's warning about manual "
        "optimization does not matter",
        keeps_all,
    ),
    Habit("`enable_checkpointing=True` (Lightning's default)", "saves at each end of an epoch", keeps_by_default),
    Habit(
        "`LearningRateMonitor()`", "logs the rate of the weights and, in a search, the architect's", rates_are_logged
    ),
    Habit(
        "`enable_progress_bar=True`, `enable_model_summary=True`",
        "work; the bar shows the newest numbers, and no end as epochs differ in length",
        same(enable_progress_bar=True, enable_model_summary=True),
    ),
    Habit("`CSVLogger`", "gets each row once, with its own step, and what was found", rows_are_logged),
    Habit("`TensorBoardLogger` and other loggers", "the same", tensorboard_has_the_rows),
    Habit(
        "`module.log(...)` in a callback of yours, `log_every_n_steps=1`",
        "works as everywhere; rows are written every `log_every` updates of the module, whatever this is",
        others_log_too,
    ),
    Habit(
        "`fast_dev_run=True`",
        "a trial: one weight step and one architecture step (of a retraining: one step), no warm-up, all "
        "that is measured is measured on one batch. It leaves the module as it was, to "
        "be fitted afterwards",
        trial(True),
    ),
    Habit("`fast_dev_run=2`", "the same with two batches of each", trial(2)),
    Habit(
        "`max_time=...`",
        "stops after the update that runs; the last row has the epoch and the step of there. A search "
        "selects from what it has",
        stops_in_time,
    ),
    Habit(
        "`trainer.should_stop = True` in a callback",
        "the same; a checkpoint of there continues exactly, in the middle of the epoch",
        stops_within_an_epoch,
    ),
    Habit(
        "`trainer.fit(search, ckpt_path=...)`",
        "continues to the same numbers as without the interruption, also a module with other weights",
        continues,
    ),
    Habit("one trainer for several modules", "each is fitted from its first epoch", a_trainer_fits_again),
    Habit(
        "Ctrl-C",
        "Lightning ends the process (`SystemExit`), perhaps within an update; a checkpoint from before continues "
        "exactly. `oneshot.fit` finishes the update and saves it",
        ctrl_c,
    ),
    *(Habit(f'`precision="{name}"`', "works", precision(name)) for name in ("32-true", "bf16-mixed", "64-true")),
    Habit('`profiler="simple"`', "works; the numbers are the same", same(profiler="simple")),
    Habit('`profiler="advanced"`', "works; the numbers are the same", same(profiler="advanced")),
    Habit("`detect_anomaly=True`", "works; the numbers are the same", same(detect_anomaly=True)),
    Habit("`deterministic=True`", "works; on a CPU the numbers are the same", same(deterministic=True)),
    Habit("`benchmark=True`", "works; on a GPU a second run may differ", same(benchmark=True)),
    Habit(
        "`barebones=True`",
        "works; the numbers are the same",
        same(barebones=True, **dict.fromkeys(QUIET, None) | {"accelerator": "cpu"}),
    ),
    Habit("`inference_mode=False`", "has no effect: measuring uses `no_grad`", same(inference_mode=False)),
    Habit(
        "`num_sanity_val_steps=0`, or any",
        "has no effect: the forward pass is tried when a module is made",
        same(num_sanity_val_steps=0),
    ),
    Habit(
        "`oneshot.fit(..., trainer=Trainer(callbacks=[EarlyStopping(...)], logger=...))`",
        "works, with `enable_checkpointing=False`: the folder has checkpoints, which hold the callbacks' states too. "
        "`result.json` says where it was `stopped`",
        in_a_folder,
    ),
)


def given(**options: Any) -> Callable[..., None]:
    """A fit with these settings of the trainer."""
    return lambda module, training, folder: pl.Trainer(**{**QUIET, "max_epochs": 1, **options}).fit(module)


def calling(make: Callable[[], pl.Callback], **options: Any) -> Callable[..., None]:
    """A fit with this callback."""
    return lambda module, training, folder: given(callbacks=[make()], **options)(module, training, folder)


def loader() -> Any:
    return torch.utils.data.DataLoader([(torch.zeros(1, 8, 8), 0)])


def trained_before(module: Any, training: Any, folder: Path) -> None:
    again = search()
    fitted(again, max_epochs=1)
    fitted(again)


def no_time(module: Any, training: Any, folder: Path) -> None:
    fitted(search(), max_time=timedelta(0))


def other_epochs(module: Any, training: Any, folder: Path) -> None:
    fitted(search(), max_epochs=1).save_checkpoint(folder / "one.ckpt")
    fitted(search(), folder / "one.ckpt", max_epochs=2)


def tuned(method: str) -> Callable[..., None]:
    return lambda module, training, folder: getattr(Tuner(pl.Trainer(**QUIET, max_epochs=1)), method)(module)


def called(method: str, of_training: bool, *data: Any) -> Callable[..., None]:
    """A call of another method of the trainer."""
    return lambda module, training, folder: getattr(pl.Trainer(**QUIET), method)(
        training if of_training else module, *data
    )


def in_folder(**options: Any) -> Callable[..., None]:
    """A call of oneshot.fit with a trainer of these settings."""
    return lambda module, training, folder: oneshot.fit(
        module, 1, folder / "run", trainer=pl.Trainer(**{**QUIET, "max_epochs": 1, **options})
    )


def half_precision(module: Any, training: Any, folder: Path) -> None:
    """On a CPU Lightning would take bf16-mixed in its place, with a warning."""
    given(plugins=[MixedPrecision("16-mixed", "cuda")])(module, training, folder)


PASS = "an epoch is a pass over the data, as learning rates and temperatures follow it; give less data (train_size=)"
LENGTH = "must be a number, at least 1, as learning rates and temperatures follow the epochs"
ALL = "the numbers are those of all images, as they decide what is found; give less data (train_size=)"
ENDS = "the numbers are measured at the end of each epoch, and only then"
BATCH = "each batch is an update; give the data a larger batch_size"
CLIP = "gradients are clipped here; use gradient_clip="
WITHIN = (
    "an error may come within an update, which no checkpoint can continue; ModelCheckpoint saves after updates, and so "
    "does oneshot.fit"
)
BITS = (
    "must be one of 32-true, bf16-mixed, 64-true; 16 bits lose small updates of weights, and scaled gradients would be "
    "clipped and checked before they are scaled back"
)
DATA = "data is given to Search(data=...), not to fit; oneshot.data.own takes yours"

REFUSED = (  # text without Trainer(...) around it where the message names a setting of the trainer
    Habit("max_epochs=None", LENGTH, given(max_epochs=None)),
    Habit("max_epochs=-1", LENGTH, given(max_epochs=-1)),
    Habit("max_epochs=0", LENGTH, given(max_epochs=0)),
    Habit("max_steps=5", "learning rates and temperatures follow the epochs; give max_epochs", given(max_steps=5)),
    Habit("limit_train_batches=10", PASS, given(limit_train_batches=10)),
    Habit("limit_train_batches=0.5", PASS, given(limit_train_batches=0.5)),
    Habit("limit_train_batches=1", PASS, given(limit_train_batches=1)),
    Habit("overfit_batches=1", PASS, given(overfit_batches=1)),
    Habit("overfit_batches=0.1", PASS, given(overfit_batches=0.1)),
    Habit("limit_val_batches=0", ALL, given(limit_val_batches=0)),
    Habit("limit_val_batches=0.2", ALL, given(limit_val_batches=0.2)),
    Habit(
        "limit_test_batches=3",
        "the test is of all test images, as its number is what is reported",
        given(limit_test_batches=3),
    ),
    Habit("check_val_every_n_epoch=2", ENDS, given(check_val_every_n_epoch=2)),
    Habit("val_check_interval=0.5", ENDS, given(val_check_interval=0.5)),
    Habit("val_check_interval=10", ENDS, given(val_check_interval=10)),
    Habit("val_check_interval=60 seconds", ENDS, given(val_check_interval="00:00:01:00")),
    Habit("accumulate_grad_batches=4", BATCH, given(accumulate_grad_batches=4)),
    Habit("gradient_clip_val=1.0", CLIP, given(gradient_clip_val=1.0)),
    Habit("gradient_clip_val=0", CLIP, given(gradient_clip_val=0)),
    Habit(
        "gradient_clip_algorithm='value'",
        "gradients are clipped by their norm; use gradient_clip=",
        given(gradient_clip_algorithm="value"),
    ),
    Habit(
        "reload_dataloaders_every_n_epochs=1",
        "data is read once, by whatever was given as data=",
        given(reload_dataloaders_every_n_epochs=1),
    ),
    Habit("precision='16-mixed'", BITS, half_precision),
    Habit("precision='16-true'", BITS, given(precision="16-true")),
    Habit("precision='bf16-true'", BITS, given(precision="bf16-true")),
    Habit("strategy=DDPStrategy", "must be auto: it splits batches and gradients of its own", given(strategy="ddp")),
    Habit(
        "callbacks=[StochasticWeightAveraging]",
        "it changes learning rates and epochs; Retrain(average=0.999) averages weights",
        calling(lambda: lightning.StochasticWeightAveraging(0.01)),
    ),
    Habit(
        "callbacks=[EMAWeightAveraging]",
        "it exchanges weights in checkpoints, which then do not continue; use Retrain(average=0.999)",
        calling(lightning.EMAWeightAveraging),
    ),
    Habit(
        "callbacks=[GradientAccumulationScheduler]",
        BATCH,
        calling(lambda: lightning.GradientAccumulationScheduler({0: 2})),
    ),
    Habit(
        "callbacks=[LearningRateFinder]",
        "its trial steps are none of this fit; set the rate in optimizer=",
        tuned("lr_find"),
    ),
    Habit(
        "callbacks=[BatchSizeFinder]",
        "its trial steps are none of this fit; set batch_size= of the data",
        tuned("scale_batch_size"),
    ),
    Habit(
        "callbacks=[ModelPruning]",
        "it renames weights, which then fit no checkpoint",
        calling(lambda: lightning.ModelPruning("l1_unstructured", amount=0.5)),
    ),
    Habit(
        "callbacks=[BackboneFinetuning]",
        "it freezes weights that a step here moves",
        calling(lightning.BackboneFinetuning),
    ),
    Habit(
        "callbacks=[OnExceptionCheckpoint]",
        WITHIN,
        calling(lambda: lightning.OnExceptionCheckpoint(tempfile.mkdtemp()), enable_checkpointing=True),
    ),
    Habit(
        "callbacks=[ModelCheckpoint(save_on_exception=True)]",
        WITHIN,
        calling(lambda: lightning.ModelCheckpoint(save_on_exception=True), enable_checkpointing=True),
    ),
    Habit(
        "callbacks=[ModelCheckpoint(train_time_interval=...)]",
        "Lightning saves none by time here; use every_n_train_steps=, or oneshot.fit(checkpoint_every=)",
        calling(lambda: lightning.ModelCheckpoint(train_time_interval=timedelta(1)), enable_checkpointing=True),
    ),
)

CALLS = (  # with the whole message
    Habit("`trainer.fit(search, train_dataloaders=...)`", f"Trainer.fit: {DATA}", called("fit", False, loader())),
    Habit("`trainer.fit(search, val_dataloaders=...)`", f"Trainer.fit: {DATA}", called("fit", False, None, loader())),
    Habit(
        "`trainer.fit(search, datamodule=...)`",
        f"Trainer.fit: {DATA}",
        called("fit", False, pl.LightningDataModule.from_datasets([(torch.zeros(1, 8, 8), 0)])),
    ),
    Habit(
        "`trainer.validate(search)`",
        "Trainer.validate: `valid` and `found_valid` hold the numbers after a fit, and `measure(architecture)` "
        "gives others",
        called("validate", False),
    ),
    Habit(
        "`trainer.validate(retrain)`",
        "Trainer.validate: a retraining has no validation images; `rows` holds its numbers",
        called("validate", True),
    ),
    Habit(
        "`trainer.test(search)`",
        "Trainer.test: a search reads no test images; train what it found with a Retrain, which tests it",
        called("test", False),
    ),
    Habit(
        "`trainer.test(retrain)`",
        "Trainer.test: the test is made once, at the end of the fit; `tested` holds it",
        called("test", True),
    ),
    Habit(
        "`trainer.predict(search)`",
        "Trainer.predict: a supernet is no network to predict with; train what it found with a Retrain",
        called("predict", False, loader()),
    ),
    Habit(
        "`trainer.predict(retrain)`",
        "Trainer.predict: call `network(images)` in evaluation mode",
        called("predict", True, loader()),
    ),
    Habit(
        "`trainer.fit(search)` a second time",
        "module: was trained before, 4 updates; make a new Search, or give fit a ckpt_path",
        trained_before,
    ),
    Habit(
        "`max_time=...` that is over before the first update",
        "the trainer was told to stop before the first update (max_time?); nothing was done",
        no_time,
    ),
    Habit(
        "`ckpt_path=` of a fit with other `max_epochs`",
        "the checkpoint does not fit this run (epochs is 1, here 2)",
        other_epochs,
    ),
    Habit(
        "`oneshot.fit(..., trainer=Trainer(fast_dev_run=True))`",
        "trainer: fast_dev_run gives no result to keep in a folder; call trainer.fit(module) for it",
        in_folder(fast_dev_run=True),
    ),
    Habit(
        "`oneshot.fit(..., trainer=Trainer(callbacks=[ModelCheckpoint()]))`",
        "trainer: must have enable_checkpointing=False; the folder has checkpoints of its own",
        in_folder(enable_checkpointing=True),
    ),
    Habit(
        "`oneshot.fit(..., trainer=Trainer(devices=2))`",
        "devices=2: one is used here; the commands with trainer=ddp use several",
        in_folder(devices=2),
    ),
)


def message(habit: Habit) -> str:
    """The message of what is refused."""
    return habit.says if habit in CALLS else f"Trainer({habit.text}): {habit.says}"


def tables() -> str:
    """The part of docs/lightning.md that is made of the lists."""
    refused = [Habit(f"`{habit.text}`", habit.says, habit.check) for habit in REFUSED]
    return "\n".join(
        [
            BEGIN,
            "## What works",
            "",
            *table("what it does", WORKS),
            "",
            "## What is refused",
            "",
            "Each with an `InputError` before the first update, which names the setting and says:",
            "",
            *table("reason", (*refused, *CALLS)),
            END,
        ]
    )


def table(heading: str, habits: tuple[Habit, ...]) -> list[str]:
    """Lines of a table in Markdown."""
    return [f"| habit | {heading} |", "|---|---|", *(f"| {habit.text} | {habit.says} |" for habit in habits)]


def page(text: str) -> str:
    """A page with the tables in their place.

    Args:
        text: The page as it is.
    """
    before, _, rest = text.partition(BEGIN)
    return before + tables() + rest.partition(END)[2]
