"""Fixtures."""

import os
import sys
from collections import Counter
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none, unless it is rehearsed on the CPU (docs/gpu.md)."""
    if torch.cuda.is_available() or os.environ.get("ONESHOT_TEST_DEVICE") == "cpu":
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show in which files the time goes, over all workers: where to look first when the suite gets too slow."""
    seconds = Counter[str]()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[report.nodeid.partition("::")[0]] += report.duration
    terminalreporter.section("slowest 25 files")
    for name, spent in seconds.most_common(25):
        terminalreporter.write_line(f"{spent:.0f}s {name}")


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
