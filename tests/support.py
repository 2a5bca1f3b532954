"""Small real components that several test files build on."""

from functools import partial
from pathlib import Path

import torch
from torch.nn import functional

from oneshot.architects import DARTS
from oneshot.data import ImageData
from oneshot.spaces import DARTSCells, SearchSpace

ROOT = Path(__file__).resolve().parent.parent
CIFAR10 = ROOT.parent / "shared" / "data" / "cifar10"
QUIET = dict(
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    accelerator="cpu",
)


def small_space(data: ImageData | None = None, nodes: int = 2) -> DARTSCells:
    """A DARTS cell space that takes milliseconds."""
    shape, classes = (data.image_shape, data.classes) if data else ((1, 8, 8), 10)
    return DARTSCells(shape, classes, cells=3, channels=4, nodes=nodes)


def darts(space: SearchSpace, lr: float = 0.02) -> DARTS:
    adam = partial(torch.optim.Adam, lr=lr, betas=(0.5, 0.999), weight_decay=1e-3)
    return DARTS(space, adam, functional.cross_entropy)
