"""Every configuration composes, and what it names exists."""

import pytest
from helpers.support import ROOT
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import OmegaConf

CONF = ROOT / "conf"
SHARED = ("space", "data", "trainer", "logger")
SEARCHED = (*SHARED, "architect", "cost", "experiment")
GROUPS = (*SEARCHED, "strategy", "estimator", "executor")
FILES = [(g, path.stem) for g in GROUPS for path in sorted((CONF / g).glob("*.yaml"))]
TUNING = sorted(path.stem for path in (CONF / "tuning").glob("*.yaml"))
HAVE = {
    "search": SEARCHED,
    "retrain": (*SHARED, "experiment"),
    "evaluate": SHARED,
    "latency": ("space", "data", "trainer", "experiment"),
    "baseline": GROUPS,
    "rank": (*SEARCHED, "estimator", "executor"),
    "compare_strategies": (*SEARCHED, "estimator"),
}
NEEDED = {
    "images": ["data.source=somewhere"],
    "latency": ["cost.table=somewhere"],
    "tabular": ["estimator.table=somewhere"],
}
TABLE = ["reference.table=somewhere"]


def composed(script, *overrides):
    with initialize_config_dir(str(CONF), version_base=None):
        return compose(script, list(overrides))


def targets(node):
    if isinstance(node, dict):
        if "_target_" in node:
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)


def test_count():
    assert len(FILES) == 2 + 3 + 4 + 4 + 7 + 4 + 7 + 13 + 3 + 4
    assert len(TUNING) == 16
    sizes = [path for script in ("search", "retrain") for path in (CONF / script).glob("*.yaml")]
    assert len(sizes) == 8
    sizes += (CONF / "sizes").glob("*.yaml")
    assert len(sizes) == 22
    sweeps = list((CONF / "sweeps").glob("*.yaml"))
    assert len(sweeps) == 4
    assert len(list(CONF.rglob("*.yaml"))) == 13 + len(FILES) + len(TUNING) + len(sizes) + len(sweeps)


@pytest.mark.parametrize(("script", "group", "name"), [(s, g, name) for s in HAVE for g, name in FILES if g in HAVE[s]])
def test_composes(script, group, name):
    table = TABLE if script in ("rank", "compare_strategies") else []
    config = OmegaConf.to_container(composed(script, f"{group}={name}", *table, *NEEDED.get(name, [])), resolve=True)
    found = list(targets(config))
    assert len(found) >= (1 if script == "evaluate" else 4)
    for target in found:
        assert callable(get_method(target)), target


@pytest.mark.parametrize("sizes", ["benchmark", "benchmark_quick"])
def test_benchmark_composes(sizes):
    config = OmegaConf.to_container(composed("benchmark", f"sizes={sizes}"), resolve=True)
    assert set(config["architects"]) == {name for group, name in FILES if group == "architect"}
    assert all(callable(get_method(target)) for target in targets(config)) and config["rounds"] > 0


@pytest.mark.parametrize("name", TUNING)
def test_tuning_is_of_an_experiment_and_an_architect(name):
    experiment = next(e for e in ("cifar10_cpu", "digits", "nb201_cifar10", "rank_nb201") if name.startswith(f"{e}_"))
    architect = name.removeprefix(f"{experiment}_")
    published = composed("search", "experiment=darts_cifar10", f"architect={architect}")
    tuned = composed("search", f"experiment={experiment}", f"architect={architect}")
    assert (tuned.architect, tuned.schedule, tuned.epochs) != (
        published.architect,
        published.schedule,
        published.epochs,
    )
    assert set(tuned.architect) == set(published.architect)


@pytest.mark.parametrize("experiment", ["digits", "cifar10_cpu", "darts_cifar10"])
def test_what_a_method_needs_is_set(experiment):
    found = {
        name: composed("search", f"experiment={experiment}", f"architect={name}", "seed=7")
        for group, name in FILES
        if group == "architect"
    }
    optimizer = found["proxyless"].architect.optimizer  # what was not drawn must not move
    assert optimizer.betas[0] == 0 and optimizer.weight_decay == 0
    assert {name for name, config in found.items() if config.schedule.joint} == {"snas"}
    sampled = {name for name, config in found.items() if config.selection._target_ == "oneshot.selection.BestOf"}
    assert sampled == {"enas", "path_dropout", "uniform"}
    assert all(found[name].selection.seed == 7 for name in sampled)
    fixed = {name for name, config in found.items() if "optimizer" not in config.architect}
    assert fixed == {"path_dropout", "uniform"}
    assert all((config.schedule.architecture_steps == 0) == (name in fixed) for name, config in found.items())


def test_compare_composes():
    config = composed("compare")
    assert set(config.architects) == {*(n for g, n in FILES if g == "architect"), "random"}
    assert list(config.seeds) == [0, 1, 2]


def test_experiments_size_both_scripts():
    search, retrain = (composed(s, "experiment=darts_cifar10") for s in ("search", "retrain"))
    assert (search.epochs, search.space.cells, search.space.channels, search.data.batch_size) == (50, 8, 16, 64)
    assert (retrain.epochs, retrain.space.cells, retrain.space.channels, retrain.data.batch_size) == (
        600,
        20,
        36,
        96,
    )
    assert retrain.data.augmentation.cutout == 16 and retrain.space.auxiliary
    assert search.data.augmentation.cutout == 0 and search.architect.optimizer.lr == 3e-4
    for experiment in ("digits", "darts_cifar10", "cifar10_cpu"):
        assert all((CONF / script / f"{experiment}.yaml").is_file() for script in ("search", "retrain"))


def test_the_command_line_wins():
    assert composed("search", "experiment=darts_cifar10", "epochs=3", "space.cells=5").space.cells == 5


def test_experiments_of_strategies():
    config = composed("compare_strategies", "experiment=nb201_strategies", *TABLE)
    assert set(config.strategies) == {name for group, name in FILES if group == "strategy"}
    assert (config.seeds, config.queries, config.space._target_) == (20, 200, "oneshot.spaces.NASBench201")
    config = composed("rank", "experiment=rank_nb201", *TABLE)
    assert (config.space.cells, config.space.channels, config.architectures) == (1, 16, 200)
    assert config.architect.fairness and config.epochs == 33 and config.estimator.batch_size == 250
    assert config.architect._target_ == "oneshot.architects.uniform.Uniform"
