"""Every configuration composes, what it names exists and takes what is set, and the published numbers are there."""

from fnmatch import fnmatchcase
from functools import cache

import pytest
from hydra.utils import get_method
from omegaconf import OmegaConf

from oneshot.cli.composition import configuration, fits, groups
from oneshot.cli.conf import COMMANDS, CONF, choices
from oneshot.cli.experiments import KEY, leaves
from oneshot.cli.meanings import included
from oneshot.cli.signatures import signature

EXPERIMENTS = list(choices("experiment"))
SWEEPS = "sweeps"  # in the format of W&B


@cache
def groups_of(command):
    """The groups of a command, as its command line names them."""
    return list(dict.fromkeys(group for name in included(command) for group in groups(name)))


CHOICES = [
    (command, group, name)
    for command in COMMANDS
    for group in groups_of(command)
    for name, path in choices(group.partition("@")[0]).items()
    if fits(path, command)
]


def once(found):
    """Each choice with one command, `search` before others; an experiment with all; each group of a command once."""
    seen, kept = set(), []
    for command, group, name in sorted(found, key=lambda one: one[0] != "search"):
        choice, place = (group.partition("@")[0], name), (command, group)
        if group == "experiment" or choice not in seen or place not in seen:
            kept.append((command, group, name))
        seen |= {choice, place}
    return kept


TRIED = once(CHOICES)


def nodes(node):
    """Every mapping with a _target_."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from nodes(value)


def composed(command, *words):
    return configuration(command, list(words))


def test_every_file_is_some_commands():
    """A choice of a group, a command's own file, or one that these include."""
    seen = {CONF / f"{name}.yaml" for command in COMMANDS for name in included(command)}
    seen |= {choices(group.partition("@")[0])[name] for _, group, name in CHOICES}
    seen |= {*(CONF / SWEEPS).glob("*.yaml")}
    assert seen == {*CONF.rglob("*.yaml")}


@pytest.mark.parametrize(("command", "group", "name"), TRIED, ids=[f"{c} {g}={n}" for c, g, n in TRIED])
def test_composes(command, group, name):
    """And what it names can be imported and takes what is set."""
    config = OmegaConf.to_container(composed(command, f"{group}={name}"), resolve=True)
    assert KEY not in config
    for node in nodes(config):
        assert callable(get_method(node["_target_"])), node["_target_"]
        found = signature(node["_target_"])
        if found and not found.open:
            given = {key for key, value in node.items() if not key.startswith("_") and value is not None}
            assert given <= {*found.parameters}, node["_target_"]


def test_a_search_names_what_it_makes():
    """The test above sees something."""
    config = OmegaConf.to_container(composed("search"), resolve=True)
    assert {"space", "architect", "data", "trainer", "schedule", "selection"} <= {
        key for key, value in config.items() if isinstance(value, dict) and "_target_" in value
    }


def blocks(experiment):
    content = OmegaConf.to_container(OmegaConf.load(choices("experiment")[experiment]))
    return content.get(KEY, {})


def one_choice(word):
    """A condition as an override: of a pattern, the first choice that fits it."""
    group, _, pattern = word.partition("=")
    return f"{group}={next((name for name in choices(group) if fnmatchcase(name, pattern)), pattern)}"


BLOCKS = [(experiment, condition) for experiment in EXPERIMENTS for condition in blocks(experiment)]


@pytest.mark.parametrize(("experiment", "condition"), BLOCKS, ids=[f"{e}: {c}" for e, c in BLOCKS])
def test_every_block_is_used_and_sets_what_exists(experiment, condition):
    """By one command at least with the choices that it names: it has all the settings, and takes some of the values."""
    words = condition.split()
    named = [word for word in words if "=" not in word]
    chosen = [one_choice(word) for word in words if "=" in word]
    with_it = [command for command in COMMANDS if "experiment" in groups_of(command)]
    for command in named:
        with_it = [one for one in with_it if one == command or (command == "search" and one != "retrain")]
    with_it = [one for one in with_it if all(word.partition("=")[0] in groups_of(one) for word in chosen)]
    assert with_it, "holds for no command"
    lacking, taken = {name for name, _ in leaves(blocks(experiment)[condition])}, False
    for command in with_it:
        config = composed(command, f"experiment={experiment}", *chosen)
        for name, value in leaves(blocks(experiment)[condition]):
            here = OmegaConf.select(config, name, default=KEY)
            lacking -= set() if here == KEY else {name}
            taken |= here == value
        if taken and not lacking:
            return
    assert not lacking, "no such settings"
    assert taken, "later blocks win always"


def test_blocks_are_seen():
    assert {experiment for experiment, _ in BLOCKS} == {*EXPERIMENTS}


ARCHITECTS = list(choices("architect"))
DECIDED = {"largest"}  # neither learns nor draws: the space says what it finds


@pytest.mark.parametrize("name", ARCHITECTS)
def test_what_a_method_needs_is_set_in_every_experiment(name):
    """Whoever does not learn takes no architecture steps and draws what is found; draws follow the run's seed.

    An experiment changes values of the architect, and adds none.
    """
    published = composed("search", "experiment=darts_cifar10", f"architect={name}")
    for experiment in EXPERIMENTS:
        config = composed("search", f"experiment={experiment}", f"architect={name}", "seed=7")
        learns, drawn = "optimizer" in config.architect, config.selection._target_.endswith("BestOf")
        assert (config.schedule.architecture_steps > 0) == learns and (learns or drawn or name in DECIDED), experiment
        assert not drawn or config.selection.seed == 7, experiment
        assert not config.schedule.joint or learns, experiment
        assert set(config.architect) == set(published.architect), experiment


def test_what_single_methods_need():
    optimizer = composed("search", "architect=proxyless").architect.optimizer  # what was not drawn must not move
    assert optimizer.betas[0] == 0 and optimizer.weight_decay == 0
    assert composed("search", "architect=snas").schedule.joint


def test_the_published_setting_of_darts():
    """arXiv:1806.09055, section 3.1 and appendix A.1."""
    search, retrain = (composed(command, "experiment=darts_cifar10") for command in ("search", "retrain"))
    assert (search.epochs, search.space.cells, search.space.channels, search.data.batch_size) == (50, 8, 16, 64)
    assert (search.weights.optimizer.lr, search.weights.minimum_learning_rate) == (0.025, 0.001)
    assert (search.weights.optimizer.momentum, search.weights.optimizer.weight_decay) == (0.9, 3e-4)
    optimizer = search.architect.optimizer
    assert (optimizer.lr, list(optimizer.betas), optimizer.weight_decay) == (3e-4, [0.5, 0.999], 1e-3)
    assert search.data.augmentation.cutout == 0 and search.data.architecture_fraction == 0.5
    sizes = retrain.epochs, retrain.space.cells, retrain.space.channels, retrain.data.batch_size
    assert sizes == (600, 20, 36, 96)
    assert retrain.data.augmentation.cutout == 16 and retrain.space.auxiliary
    assert (retrain.drop_path, retrain.auxiliary_weight, retrain.criterion.label_smoothing) == (0.2, 0.4, 0.0)
    assert retrain.weights.gradient_clip == search.weights.gradient_clip == 5.0


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_sizes_a_search(experiment):
    """Its own sizes and not the defaults of the space, whichever command trains the supernet."""
    sized = composed("search", f"experiment={experiment}")
    for command in ("baseline", "compare"):
        other = composed(command, f"experiment={experiment}", "space=darts", "architect=darts")
        mine = composed("search", f"experiment={experiment}", "space=darts", "architect=darts")
        assert (other.space, other.epochs, other.data) == (mine.space, mine.epochs, mine.data)
    assert sized.epochs >= 1


def test_the_command_line_wins():
    config = composed("search", "experiment=darts_cifar10", "epochs=3", "space.cells=5")
    assert (config.epochs, config.space.cells, config.space.channels) == (3, 5, 16)
    assert composed("benchmark", "quick=true", "rounds=9").rounds == 9


def test_the_benchmark_takes_every_architect():
    assert composed("benchmark").architects == "all"


def test_quick_is_smaller():
    usual, quick = composed("benchmark"), composed("benchmark", "quick=true")
    for name in ("space.cells", "space.channels", "size", "batch", "rounds"):
        assert OmegaConf.select(quick, name) < OmegaConf.select(usual, name)


def test_a_supernet_that_ranks():
    """The numbers of the ranking in docs/results."""
    config = composed("rank", "experiment=nb201_cifar10")
    assert (config.space.cells, config.space.channels, config.architectures) == (1, 16, 200)
    assert config.architect.fairness and config.epochs == 33 and config.estimator.batch_size == 250
    assert config.architect._target_ == composed("search", "architect=uniform").architect._target_
    assert composed("baseline", "experiment=nb201_cifar10").epochs == 21
