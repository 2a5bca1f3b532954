"""Every configuration composes, and what it names exists."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import OmegaConf
from support import ROOT

CONF = ROOT / "conf"
GROUPS = ("space", "architect", "data", "trainer", "logger", "experiment")
FILES = [(g, path.stem) for g in GROUPS for path in sorted((CONF / g).glob("*.yaml"))]
SCRIPTS = ("search", "retrain")


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
    assert len(FILES) == 14
    assert len(list(CONF.rglob("*.yaml"))) == 14 + 2 + 2 * 3 + 2  # scripts, sizes of experiments, rates of architects


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("group", "name"), FILES)
def test_composes(script, group, name):
    if script == "retrain" and group == "architect":
        pytest.skip("retrain has no architect")
    overrides = [f"{group}={name}"] + (["data.source=somewhere"] if name == "images" else [])
    config = OmegaConf.to_container(composed(script, *overrides), resolve=True)
    found = list(targets(config))
    assert len(found) >= 5
    for target in found:
        assert callable(get_method(target)), target


def test_experiments_size_both_scripts():
    search, retrain = (composed(s, "experiment=darts_cifar10") for s in SCRIPTS)
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
        assert all((CONF / script / f"{experiment}.yaml").is_file() for script in SCRIPTS)


def test_the_command_line_wins():
    assert composed("search", "experiment=darts_cifar10", "epochs=3", "space.cells=5").space.cells == 5
