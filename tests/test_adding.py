"""Adding is one Python file and one YAML file: an architect, a strategy, a space, an estimator and a data set.

They are in a folder of the user's. Commands, help, settings page and contract tests find them there.
"""

import json
import os
import re
import subprocess
import sys

import pytest
from helpers.commands import call
from helpers.groups import VARIABLE
from helpers.support import ROOT

from oneshot.cli.comparison import methods
from oneshot.cli.conf import choices
from oneshot.cli.settings import page

PARTS = {  # group and name -> the Python file, the YAML file
    "architect/sigmoid": (
        '''
import torch
from torch import nn

from oneshot.architects import Architect
from oneshot.architecture import Gates


class Sigmoid(Architect):
    """Independent gates sigmoid(alpha): the candidates of an edge do not compete."""

    def __init__(self, space, optimizer, criterion=None, cost=None):
        super().__init__(space, optimizer, criterion, cost)
        self.alpha = nn.Parameter(1e-3 * torch.randn(space.shape))

    def gates(self, step):
        return Gates(torch.sigmoid(self.alpha) * self.mask)

    def loss(self, supernet, train, valid, weight_optimizer, step):
        x, y = valid
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self):
        gates = torch.sigmoid(self.alpha) * self.mask
        return gates / gates.sum(dim=1, keepdim=True)
''',
        """# @package _global_
# Independent gates, a sigmoid for each candidate
architect:
  _target_: own_sigmoid.Sigmoid
  optimizer:
    _target_: torch.optim.Adam
    _partial_: true
    lr: 0.1   # learning rate of the gates
selection:
  _target_: oneshot.search.by_scores
  _partial_: true
""",
    ),
    "strategy/greedy": (
        '''
from oneshot.architecture import Query
from oneshot.errors import check_range
from oneshot.strategies import Strategy


class Greedy(Strategy):
    """Asks for a mutation of the best architecture so far, and now and then for a random one."""

    def __init__(self, space, seed=0, metric="accuracy", explore=0.2):
        super().__init__(space, seed, metric)
        check_range("strategy.explore", explore, 0.0, 1.0)
        self.explore, self.best, self.score = explore, None, -float("inf")

    def ask(self):
        if self.best is None or self.rng.random() < self.explore:
            return Query(self.space.sample(self.rng))
        return Query(self.space.mutate(self.best, self.rng))

    def learn(self, query, score):
        if score > self.score:
            self.best, self.score = query.architecture, score
''',
        """# Mutations of the best so far
_target_: own_greedy.Greedy
explore: 0.2   # share of random architectures
""",
    ),
    "space/kernels": (
        '''
import torch
from torch import nn

from oneshot.architecture import Choice
from oneshot.spaces import SearchSpace

KERNELS = (1, 3, 5)


class Chain(SearchSpace):
    """Layers in a row; each chooses the kernel of its convolution."""

    name = "chain"

    def __init__(self, image_shape, classes, layers=3, channels=4):
        self.image_shape, self.classes, self.channels = image_shape, classes, channels
        names = tuple(f"conv_{k}x{k}" for k in KERNELS)
        self.choices = tuple(Choice(f"chain/{i}->{i + 1}", names, f"layer {i}") for i in range(layers))
        self.settings = {"layers": layers, "channels": channels}

    def allowed(self, prefix):
        return tuple(range(len(KERNELS)))

    def supernet(self):
        return Net(self, [KERNELS] * len(self.choices), affine=False)

    def network(self, architecture, inherit=None):
        net = Net(self, [(KERNELS[k],) for k in architecture.decisions], affine=inherit is None)
        if inherit is not None:
            weights = inherit.state_dict()
            net.load_state_dict({name: weights[name] for name in net.state_dict()})
        return net

    def discretize(self, scores):
        return self.architecture(scores.argmax(dim=1).tolist())

    def operations(self):
        shape = (self.channels, *self.image_shape[1:])
        for i in range(len(self.choices)):
            for k, kernel in enumerate(KERNELS):
                yield i, k, convolution(self.channels, kernel), shape


def convolution(channels, kernel):
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2)


class Net(nn.Module):
    """The chain with these kernels in each layer; with gates it mixes them."""

    def __init__(self, space, kernels, affine):
        super().__init__()
        c = space.channels
        self.stem, self.head = nn.Conv2d(space.image_shape[0], c, 3, padding=1), nn.Linear(c, space.classes)
        self.layers = nn.ModuleList(nn.ModuleDict({f"k{k}": convolution(c, k) for k in layer}) for layer in kernels)
        norm = dict(affine=affine, track_running_stats=affine)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c, **norm) for _ in kernels)

    def forward(self, x, gates=None):
        x = self.stem(x)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            active = range(len(layer)) if gates is None or gates.active is None else gates.active[i]
            operations = list(layer.values())
            weight = torch.ones(1) if gates is None else gates.weight[i]
            x = norm(sum(weight[k] * operations[k](torch.relu(x)) for k in active))
        return self.head(x.mean(dim=(2, 3)))
''',
        """# Layers in a row, each chooses the kernel of its convolution
_target_: own_kernels.Chain
layers: 3     # number of choices
channels: 4   # of every layer
""",
    ),
    "estimator/convolutions": (
        '''
class Convolutions:
    """The share of edges with a convolution, which costs nothing."""

    metrics = ("accuracy",)

    def __init__(self, space, weight=1.0):
        self.space, self.weight = space, weight

    def __call__(self, queries):
        return [{"accuracy": self.weight * self.share(query.architecture)} for query in queries]

    def share(self, architecture):
        pairs = zip(self.space.choices, architecture.decisions, strict=True)
        return sum("conv" in choice.candidates[k] for choice, k in pairs) / len(self.space.choices)
''',
        """# The share of edges with a convolution
_target_: own_convolutions.Convolutions
weight: 1.0   # what convolutions alone get
""",
    ),
    "data/blobs": (
        '''
import torch

from oneshot.data import Augmentation, ImageData, LabelledImages, Splits


def blobs(batch_size=16, architecture_fraction=0.5, train_size=0):
    """Grey noise of 8x8 pixels with a bright corner; the class is the corner."""

    def images(number, seed):
        draws = torch.Generator().manual_seed(seed)
        labels = torch.arange(number) % 4
        pixels = torch.randint(100, (number, 8, 8, 1), generator=draws, dtype=torch.uint8)
        for label in range(4):
            row, column = 4 * (label // 2), 4 * (label % 2)
            pixels[labels == label, row : row + 4, column : column + 4] += 100
        return LabelledImages(pixels, labels)

    splits = Splits(("a", "b", "c", "d"), lambda: images(96, 0), lambda: images(32, 1))
    return ImageData(splits, batch_size, Augmentation([0.3], [0.2], pad=1), architecture_fraction, train_size)
''',
        """# Bright corners on grey noise
_target_: own_blobs.blobs
batch_size: 16               # images per update
train_size: 0                # number of training images; 0: all
architecture_fraction: 0.5   # share of the training images that the architecture learns from
""",
    ),
}
NAMES = dict(part.split("/") for part in PARTS)  # by group
TESTED = {  # group -> the folder of its contract tests
    "architect": "architects",
    "strategy": "strategies",
    "space": "spaces",
    "estimator": "estimators",
    "data": "data",
}
QUICK = ["epochs=1", "logger=none", "data.batch_size=16"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: Python files, and beside them the folder of settings called parts."""
    root = tmp_path_factory.mktemp("user")
    for part, (code, settings) in PARTS.items():
        group, name = part.split("/")
        (root / f"own_{name}.py").write_text(code)
        (root / "parts" / group).mkdir(parents=True)
        (root / "parts" / f"{part}.yaml").write_text(settings)
    return root


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Run a command with the folder of settings; returns what it printed."""
    monkeypatch.chdir(folder)

    def command(name, *words):
        code = call(name, "--config-dir", "parts", *words)
        out, err = capsys.readouterr()
        assert (code or 0, err) == (0, ""), out
        return out

    return command


def result(folder, out):
    return json.loads((folder / out / "result.json").read_text())


def test_a_search_and_its_retraining_of_a_space_of_ones_own(run, folder):
    parts = ["space=kernels", "data=blobs"]
    run("search", "architect=sigmoid", *parts, "cost=multiply_accumulates", *QUICK, "out=found")
    assert set(result(folder, "found")["architecture"]) == {f"chain/{i}->{i + 1}" for i in range(3)}
    run("retrain", "architecture=found", *parts, *QUICK, "out=trained")
    assert 0 <= result(folder, "trained")["test_accuracy"] <= 1


def test_every_space_of_the_package_takes_the_architect(run, folder):
    run("search", "architect=sigmoid", "space=nasbench201", "space.channels=4", "data=blobs", *QUICK, "out=cells")
    assert len(result(folder, "cells")["architecture"]) == 6


@pytest.mark.parametrize(
    ("estimator", "space"), [("convolutions", "nasbench201"), ("one_shot", "kernels"), ("training", "nasbench201")]
)
def test_a_baseline(run, folder, estimator, space):
    sizes = ["estimator.epochs=1"] if estimator == "training" else []
    words = ["strategy=greedy", f"estimator={estimator}", f"space={space}", "space.channels=4", "data=blobs", *sizes]
    run("baseline", *words, *QUICK, "budget.queries=4", f"out={estimator}")
    assert result(folder, estimator)["architecture"]


def test_architects_are_compared_with_it(run, folder):
    """In processes of their own, as compare starts them."""
    run("compare", "methods=[sigmoid]", "seeds=1", "space=kernels", "data=blobs", *QUICK, "out=compared")
    (row,) = json.loads((folder / "compared" / "results.json").read_text())
    assert row["method"] == "sigmoid" and 0 <= row["test"]["published"] <= 1


def test_it_is_one_of_all(folder):
    """What methods=all is with the folder of settings."""
    found = {method.name: method.kind for method in methods.chosen("all", (folder / "parts",))}
    assert set(found) == {*choices("architect"), *choices("strategy"), "sigmoid", "greedy", "random"}
    assert (found["sigmoid"], found["greedy"], found["largest"]) == ("architect", "strategy", "control")


def test_its_steps_are_timed(run, folder):
    sizes = ["quick=true", "space.channels=4", "space.nodes=1", "size=8", "batch=4", "rounds=1", "warmup=0"]
    out = run("benchmark", "architects=[sigmoid]", *sizes, "device=cpu", "out=times.json")
    names = {figure["name"] for figure in json.loads((folder / "times.json").read_text())["figures"]}
    assert {"sigmoid: weight step", "sigmoid: architecture step"} <= names and "sigmoid: both steps" in out


@pytest.mark.parametrize(
    ("command", "groups"),
    [("search", ["architect", "space", "data"]), ("baseline", ["strategy", "estimator", "space", "data"])],
)
def test_help_lists_it(run, command, groups):
    parts = re.split(r"\n  (\w+)=", run(command, "--help"))  # a group, and its choices on one line or several
    lines = dict(zip(parts[1::2], parts[2::2], strict=True))
    for group in groups:
        assert re.search(rf"\b{NAMES[group]}\b", lines[group])


def test_help_explains_it(run):
    out = run("search", "--help", "architect")
    assert "sigmoid" in out and "Independent gates, a sigmoid for each candidate" in out
    assert "learning rate of the gates" in run("search", "--help", "architect.optimizer", "architect=sigmoid")


def test_the_settings_page_has_it(folder):
    text = page(folders=(folder / "parts",))
    for group, name in NAMES.items():
        assert f"#### {group}={name}\n" in text
        settings = PARTS[f"{group}/{name}"][1]
        assert all(meaning in text for meaning in re.findall("   # (.*)", settings))
    assert not any(f"={name}" in page() for name in NAMES.values())


def test_the_contract_tests_take_it(folder):
    """`pytest --config-dir parts tests/architects/test_contract.py -k sigmoid`, and so on."""
    files = [ROOT / "tests" / where / "test_contract.py" for where in TESTED.values()]
    chosen = ["-k", " or ".join(NAMES.values()), "-p", "no:cacheprovider", "-rA"]
    command = [sys.executable, "-m", "pytest", "--config-dir", folder / "parts", *files, *chosen]
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE and "PYTEST" not in key}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SKIPPED" not in done.stdout
    for group, where in TESTED.items():
        assert len(re.findall(rf"^PASSED tests/{where}/test_contract.py::.*{NAMES[group]}", done.stdout, re.M)) >= 4


def test_each_is_one_python_file_and_one_yaml_file_and_the_package_names_none(folder):
    assert len(list(folder.glob("*.py"))) == len(list(folder.glob("parts/*/*.yaml"))) == len(PARTS)
    files = [
        path for kind in ("oneshot", "conf") for path in (ROOT / kind).rglob("*") if path.suffix in (".py", ".yaml")
    ]
    named = re.compile("|".join(f"own_{name}|={name}" for name in NAMES.values()))
    assert not [path for path in files if named.search(path.read_text(encoding="utf-8"))]
