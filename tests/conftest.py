"""Fixtures."""

import os
from collections.abc import Iterator

import pytest
import torch

from oneshot.data import ImageData, digits

os.environ["WANDB_MODE"] = "disabled"  # here and in the processes that tests start, but for those about W&B


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


@pytest.fixture
def data() -> ImageData:
    return digits(batch_size=32, train_size=160)
