"""The Python interface: what a user's ten lines import, and that a run in a folder continues exactly."""

import ast
import inspect
import json
import os
import signal
import subprocess
import sys
import warnings

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import ARCHITECTS, OWN, QUIET, ROOT, published, small_space
from hydra.utils import get_class, instantiate
from omegaconf import OmegaConf

import oneshot
from oneshot.errors import InputError, Lost

SAME = ("metrics.jsonl", "architecture.json", "scores.json", "supernet.safetensors", "architect.safetensors")
FOLDER = {"config.yaml", "metrics.jsonl", "timings.jsonl", "status.json", "result.json", "architecture.json"}
CPU = {"accelerator": "cpu", "show": False}


class Enough(Exception):
    """Ends a run in the middle."""


def make(data, seed=0, record=None, start=0, **settings):
    torch.manual_seed(start)
    space = small_space(data, nodes=1)
    return oneshot.Search(
        space, oneshot.architects.DARTS(space, **settings), data, log_every=1, seed=seed, record=record
    )


def content(folder, names=SAME):
    return {name: (folder / name).read_bytes() for name in names}


def raises_at(number, error=Enough):
    """A record that ends the run at its row of this number."""
    rows = []

    def record(row):
        rows.append(row)
        if len(rows) == number:
            raise error

    return record


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search of two epochs that nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("api") / "whole"
    search = make(oneshot.data.digits(batch_size=32, train_size=160))
    result = oneshot.fit(search, 2, folder, **CPU)
    assert len(search.rows) == 11
    return search, folder, result


def test_ten_lines(tmp_path, pictures):
    data = oneshot.data.digits(train_size=256)
    space = oneshot.spaces.NASBench201(data, cells=1, channels=4)
    search = oneshot.Search(space, oneshot.architects.DARTS(space), data)
    result = oneshot.fit(search, epochs=2, out=tmp_path / "found", accelerator="cpu")
    files = {path.name for path in (tmp_path / "found").iterdir()}
    drawn = {f"{name}.{kind}" for name in ("cells", "scores", "curves") for kind in ("png", "svg")}
    assert {*FOLDER, *SAME, *drawn} <= files
    assert json.loads((tmp_path / "found" / "result.json").read_text()) == result
    assert result["status"] == "finished" and result["found_valid_accuracy"] == search.found_valid["accuracy"]
    assert json.loads((tmp_path / "found" / "status.json").read_text())["status"] == "finished"

    retrain = oneshot.Retrain(space.network(search.found), data, space=space, architecture=search.found)
    result = oneshot.fit(retrain, epochs=1, out=str(tmp_path / "trained"), **CPU)
    assert result["test_accuracy"] == retrain.tested["accuracy"] and result["architecture"]["cell/0->1"]
    files = {path.name for path in (tmp_path / "trained").iterdir()}
    assert {*FOLDER, "network.safetensors", "cells.png", "curves.svg"} <= files
    assert (tmp_path / "trained" / "architecture.json").read_text() == space.to_json(search.found)


def test_a_network_of_ones_own_is_trained_without_a_space(tmp_path, data):
    def new():
        torch.manual_seed(0)
        return oneshot.Retrain(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), data)

    result = oneshot.fit(new(), 1, tmp_path / "run", **CPU)
    assert result["parameters"] == 650 and "architecture" not in result
    again = new()
    assert oneshot.fit(again, 1, tmp_path / "run", **CPU) == result
    assert again.tested["accuracy"] == result["test_accuracy"]
    space = small_space(data)
    with pytest.raises(InputError, match="space and architecture: must be given together"):
        oneshot.Retrain(torch.nn.Flatten(), data, space=space)


def as_published():
    """Of each file in conf/architect: its settings, those that differ from the constructor's defaults, its class."""
    for name in ARCHITECTS:
        config = published(name)
        composition = config.technique or config.stages or config.stop  # tests/techniques has its defaults
        if composition and name not in OWN:
            continue
        made = get_class(config.architect._target_)
        defaults = {n: p.default for n, p in inspect.signature(made).parameters.items()}
        settings = instantiate(config.architect, _partial_=True, _convert_="all").keywords
        if "optimizer" in settings:
            default = defaults.pop("optimizer")
            ours, theirs = ((o.func, normalized(o.keywords)) for o in (settings.pop("optimizer"), default))
            assert ours == theirs, name
        differing = {key: value for key, value in settings.items() if defaults[key] != value}
        yield pytest.param(config, made, differing, id=name)


def normalized(keywords):
    return {name: tuple(value) if isinstance(value, list) else value for name, value in keywords.items()}


PUBLISHED = list(as_published())


@pytest.mark.parametrize("made", sorted({p.values[1] for p in PUBLISHED}, key=lambda c: c.__name__))
def test_constructor_defaults_are_the_published_settings(made):
    """One file of a class has its defaults and no others; more files are variants, such as DARTS of second order."""
    same = []
    for config, _, differing in (p.values for p in PUBLISHED if p.values[1] is made):
        selection = instantiate(config.selection, _convert_="all")
        selection = selection.func if config.selection.get("_partial_") else selection
        same.append(not differing and made.schedule == instantiate(config.schedule) and made.selection == selection)
    assert same.count(True) == 1


@pytest.mark.parametrize(("config", "made", "differing"), PUBLISHED)
def test_defaults_search_as_conf_does(config, made, differing, data):
    def rows(build, **options):
        torch.manual_seed(3)
        space = small_space(data, nodes=1)
        search = oneshot.Search(space, build(space), data, log_every=1, seed=5, **options)
        pl.Trainer(max_epochs=2, **QUIET).fit(search)
        return search.rows, search.scores, search.found

    config.seed = 5
    selection, schedule = (instantiate(config[name], _convert_="all") for name in ("selection", "schedule"))
    configured = instantiate(config.architect, _partial_=True, _convert_="all")
    criterion = torch.nn.functional.cross_entropy
    by_conf = rows(
        lambda space: configured(space=space, criterion=criterion, cost=None), schedule=schedule, selection=selection
    )
    variant = {"schedule": schedule} if differing else {}  # the class has that of its own paper
    assert rows(lambda space: made(space, **differing), **variant) == by_conf


def test_defaults_of_searches_trainings_and_spaces_are_those_of_conf():
    for command, made in (("search", oneshot.Search), ("retrain", oneshot.Retrain)):
        config = OmegaConf.load(ROOT / "conf" / f"{command}.yaml")
        defaults = {name: p.default for name, p in inspect.signature(made).parameters.items()}
        theirs = instantiate(config.weights.optimizer)
        ours = defaults["optimizer"]
        assert (ours.func, ours.keywords) == (theirs.func, theirs.keywords)
        seen = (set(defaults) & set(config)) - {"criterion", "schedule", "architecture", "network", "controls"}
        assert {"seed", "log_every"} <= seen
        assert defaults.get("controls", 0) == 0  # a search inside of something else has none
        assert {name: defaults[name] for name in seen} == {name: config[name] for name in seen}
        for name in set(config.weights) - {"optimizer"}:
            assert defaults[name] == config.weights[name]
    for path in sorted((ROOT / "conf" / "space").glob("*.yaml")):
        config = OmegaConf.to_container(OmegaConf.load(path))
        if "_target_" not in config:  # it changes another one
            continue
        made = inspect.signature(get_class(config.pop("_target_"))).parameters
        for name, value in config.items():
            default = made[name].default
            default = list(default) if isinstance(default, tuple) else default
            assert value == default or (value == {} and default is None), name


@pytest.mark.parametrize(("number", "every"), [(1, None), (3, None), (4, 1), (6, None), (10, 2)])
def test_an_interrupted_run_continues_to_the_same_bytes(tmp_path, data, whole, number, every):
    """Also where the next process starts with other weights: what it continues from has them all."""
    search, folder, result = whole
    with pytest.raises(Enough):
        oneshot.fit(make(data, record=raises_at(number)), 2, tmp_path, checkpoint_every=every, **CPU)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["status"] == "failed" and "Enough" in status["reason"]
    resumed = make(data, start=1 if number > 1 else 0)
    again = oneshot.fit(resumed, 2, tmp_path, checkpoint_every=every, **CPU)
    assert content(tmp_path) == content(folder)
    assert again["valid_accuracy"] == result["valid_accuracy"] and resumed.found == search.found
    assert len((tmp_path / "timings.jsonl").read_text().splitlines()) == len(search.rows)


def test_a_folder_that_is_replaced_ends_the_fit_with_an_error(tmp_path, data):
    def replace(row):
        if row["step"] == 3:
            (tmp_path / "run").rename(tmp_path / "moved")
            (tmp_path / "run").mkdir()

    with pytest.raises(Lost, match=r"cannot be written any more \(.*run: is another folder now\)"):
        oneshot.fit(make(data, record=replace), 2, tmp_path / "run", **CPU)
    assert not any((tmp_path / "run").iterdir())


def test_the_same_search_continues_after_an_interrupt(tmp_path, data, whole):
    """As in a notebook: Ctrl-C, and the cell once more."""
    rows = []

    def record(row):
        rows.append(row)
        if len(rows) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    search = make(data, record=record)
    with pytest.raises(KeyboardInterrupt, match="the same call continues"):
        oneshot.fit(search, 2, tmp_path, **CPU)
    assert json.loads((tmp_path / "status.json").read_text())["status"] == "interrupted"
    assert signal.getsignal(signal.SIGINT) == before and search.record is record
    oneshot.fit(search, 2, tmp_path, **CPU)
    assert content(tmp_path) == content(whole[1])
    assert rows == whole[0].rows


def test_a_retraining_continues_to_the_same_bytes(tmp_path, data):
    def new(record=None):
        torch.manual_seed(0)
        space = small_space(data, nodes=1)
        found = space.discretize(torch.rand(space.shape))
        return oneshot.Retrain(
            space.network(found), data, drop_path=0.5, log_every=1, record=record, space=space, architecture=found
        )

    oneshot.fit(new(), 2, tmp_path / "whole", **CPU)
    with pytest.raises(Enough):
        oneshot.fit(new(raises_at(7)), 2, tmp_path / "part", checkpoint_every=2, **CPU)
    oneshot.fit(new(), 2, tmp_path / "part", **CPU)
    names = ("metrics.jsonl", "architecture.json", "network.safetensors")
    assert content(tmp_path / "part", names) == content(tmp_path / "whole", names)


def test_a_finished_folder_answers(tmp_path, data, whole):
    first, folder, result = whole
    rows = []
    again = make(data, start=1, record=rows.append)
    assert oneshot.fit(again, 2, folder, **CPU) == result
    assert rows == [] and again.rows == first.rows and again.scores == first.scores and again.found == first.found
    assert (again.valid, again.found_valid["accuracy"]) == (first.valid, first.found_valid["accuracy"])
    for one, other in zip(again.state_dict().values(), first.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    with pytest.raises(InputError, match="resume=false"):
        oneshot.fit(make(data), 2, folder, resume=False, **CPU)
    with pytest.raises(InputError, match="was trained before, 8 updates; make a new Search"):
        oneshot.fit(again, 2, tmp_path, **CPU)


def test_other_settings_are_refused_by_name(data, whole):
    _, folder, _ = whole
    adam = torch.optim.Adam
    for search, epochs, message in [
        (make(data), 3, "epochs=2 and not 3"),
        (make(data, seed=1), 2, "seed=0 and not 1"),
        (make(data, order=2), 2, "architect.order=1 and not 2"),
        (make(data, optimizer=lambda w: adam(w, 0.1)), 2, "architect.optimizer.lr=0.0003 and not 0.1"),
        (make(oneshot.data.digits(16, train_size=160)), 2, "data.weight.batch_size=32 and not 16"),
        (make(oneshot.data.digits(32, train_size=180)), 2, "data.weight.images=80 and not 90"),
    ]:
        with pytest.raises(InputError, match=f"was started with .*{message}"):
            oneshot.fit(search, epochs, folder, **CPU)
    space = oneshot.spaces.DARTSCells(data, cells=4, channels=4, nodes=1)
    search = oneshot.Search(space, oneshot.architects.DARTS(space), data, log_every=1)
    with pytest.raises(InputError, match="space.cells=3 and not 4"):
        oneshot.fit(search, 2, folder, **CPU)


def test_all_settings_of_architects_are_kept(tmp_path, data):
    """Whatever a constructor takes: other values give other settings."""
    from oneshot.training.settings import settings_of

    trainer = pl.Trainer(max_epochs=2, **QUIET)
    space = small_space(data, nodes=1)
    for config, made, _ in (p.values for p in PUBLISHED):
        base = settings_of(oneshot.Search(space, made(space), data), 2, trainer)
        for name, parameter in inspect.signature(made).parameters.items():
            if not isinstance(parameter.default, bool | int | float):
                continue
            value = parameter.default
            other = not value if isinstance(value, bool) else 2 if isinstance(value, int) else value / 2
            other = 3 if other == value else other
            search = oneshot.Search(space, made(space, **{name: other}), data)
            assert settings_of(search, 2, trainer) != base, (config, name)


def test_bad_arguments(tmp_path, data):
    for call, message in [
        (lambda: oneshot.fit(torch.nn.Flatten(), 1, tmp_path), "module: Flatten cannot be fitted"),
        (lambda: oneshot.fit(make(data), 0, tmp_path), "epochs=0"),
        (lambda: oneshot.fit(make(data), 1, tmp_path, checkpoint_every="often"), "checkpoint.every='often'"),
        (lambda: oneshot.fit(make(data), 1, tmp_path, accelerator="abacus"), "trainer: "),
        (lambda: oneshot.fit(make(data), 1, tmp_path, trainer=pl.Trainer(max_epochs=2, **QUIET)), "max_epochs=2"),
        (
            lambda: oneshot.fit(
                make(data), 1, tmp_path, trainer=pl.Trainer(max_epochs=1, accelerator="cpu", logger=False)
            ),
            "enable_checkpointing=False",
        ),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    assert not list(tmp_path.iterdir())


def test_a_trainer_of_ones_own(tmp_path, data, whole):
    trainer = pl.Trainer(max_epochs=2, **QUIET)
    oneshot.fit(make(data), 2, tmp_path, trainer=trainer, show=False)
    assert content(tmp_path) == content(whole[1]) and not trainer.callbacks


def test_a_plain_trainer_needs_no_settings(tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search, quiet = make(data), make(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pl.Trainer(max_epochs=1, accelerator="cpu").fit(search)
    shown = [str(w.message) for w in caught if not issubclass(w.category, DeprecationWarning)]
    assert [text for text in shown if "LeafSpec" not in text] == []
    pl.Trainer(max_epochs=1, **QUIET).fit(quiet)
    assert search.rows == quiet.rows and search.found == quiet.found


def test_public_names():
    tree = ast.parse((ROOT / "oneshot" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name for node in block.body if node.level for alias in node.names}  # relative imports: ours
    assert declared == set(oneshot.__all__) - {"__version__"}
    assert sorted(oneshot.__all__) == oneshot.__all__ and set(oneshot.__all__) <= set(dir(oneshot))
    for name in oneshot.__all__:
        value = getattr(oneshot, name)
        assert name == "__version__" or value.__doc__, name
    folders = {path.parent.name for path in (ROOT / "oneshot").glob("*/__init__.py")}
    assert folders - set(oneshot.__all__) == {"cli", "distributed", "fitting", "runs", "training"} & folders
    assert inspect.ismodule(oneshot.search) and inspect.ismodule(oneshot.retrain) and inspect.isfunction(oneshot.fit)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = oneshot.nothing
    assert (ROOT / "oneshot" / "py.typed").is_file()


def test_import_needs_no_torch():
    code = (
        "import sys, oneshot; oneshot.__version__; dir(oneshot); oneshot.InputError; from oneshot import errors;"
        "heavy = {'torch', 'pytorch_lightning', 'numpy', 'matplotlib', 'hydra', 'wandb', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
