"""Fixtures."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.groups import VARIABLE

from oneshot import plots
from oneshot.data import ImageData, digits

os.environ["WANDB_MODE"] = "disabled"  # here and in the processes that tests start, but for those about W&B
os.environ["ONESHOT_PICTURES"] = "none"  # of commands, as `no_pictures` of what is called here


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --config-dir FOLDER`: the contract tests then also run over FOLDER/architect/*.yaml and so on."""
    parser.addoption("--config-dir", metavar="FOLDER", help="a folder of settings, tested with those of conf/")


def pytest_configure(config: pytest.Config) -> None:
    """Let tests find the folder of settings, and the Python files beside it."""
    if name := config.getoption("--config-dir"):
        folder = Path(config.invocation_params.dir, name).resolve()
        if not folder.is_dir():
            raise pytest.UsageError(f"--config-dir {name}: there is no such folder")
        os.environ[VARIABLE] = str(folder)
        sys.path.append(str(folder.parent))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Nets this small gain nothing from more, and lose much on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def no_pictures() -> Iterator[None]:
    """Most tests look at none, and they take longer than a small search; the fixture `pictures` has them drawn."""
    with plots.width("none"):
        yield


@pytest.fixture
def double() -> Iterator[None]:
    """Everything in float64, for oracles."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node; one for all tests, as it takes seconds to start."""
    utils = pytest.importorskip("ray.cluster_utils", reason="the extra ray is not installed")
    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


@pytest.fixture
def data() -> ImageData:
    return digits(batch_size=32, train_size=160)


@pytest.fixture
def pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs draw their pictures, as for a user."""
    monkeypatch.setenv("ONESHOT_PICTURES", "screen")
    with plots.width("screen"):
        yield
