"""Fixtures."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from oneshot.data import ImageData, digits


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Nets this small gain nothing from more, and lose much on a busy machine."""
    torch.set_num_threads(1)


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
