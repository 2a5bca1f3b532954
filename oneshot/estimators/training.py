"""Stand-alone training: the metric of an architecture after a short training of its own, the costly reference."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

from ..architecture import Architecture, Query
from ..data import ImageData, TrainAndTest
from ..draws import seed_of
from ..errors import InputError, check_integer, check_range, is_number, unknown
from ..retrain import Retrain
from ..runs.files import is_file, make_folder
from ..runs.folder import read_weights, write_weights
from ..spaces.base import SearchSpace
from ..tasks.metric import OF_TASK

KNOBS = ("epochs", "fraction", "resolution")
SMALLEST_IMAGE = 8


class Training:
    """Trains each architecture from scratch on the weight part and measures it on the architecture part.

    If a query names a parent and `folder` is given, the training starts from the parent's weights wherever name and
    shape agree (Real et al.). All networks share one seed: what is trained depends only on the seed and the query.
    Score: that of the data's metric (`accuracy`, a share, in a classification).

    Args:
        spaces: From (image shape, sizes) to the search space with these sizes.
        data: The images. The test images are not read.
        trainer: From a number of epochs to a pytorch_lightning Trainer.
        retrain: From (network, data, seed) to the module that is trained.
        epochs: Epochs of each training, from 1 to 100,000.
        fraction: Share of the weight part that is trained on, in (0, 1].
        resolution: Height and width of the images in pixels, up to 4096; 0 is the data's own.
        sizes: Sizes of the trained networks, numbers by the name of a setting of the space, as {"cells": 3}. The others
            are those of the space.
        fidelity: What a query's fidelity scales: "epochs", "fraction", "resolution" or one of `sizes`. Successive
            halving and Hyperband were made for "epochs".
        seed: Seed of initial weights and of training.
        folder: Where the weights of trained networks are kept for their children. None trains always from scratch.

    Raises:
        InputError: If a number is out of range.

    Reference:
        Real et al., Large-scale evolution of image classifiers, arXiv:1703.01041 (inherited weights).
    """

    metrics = (OF_TASK,)

    def __init__(
        self,
        spaces: Callable[[tuple[int, int, int], Mapping[str, float]], SearchSpace],
        data: ImageData,
        trainer: Callable[[int], pl.Trainer],
        retrain: Callable[[nn.Module, TrainAndTest, int], Retrain],
        epochs: int = 3,
        fraction: float = 1.0,
        resolution: int = 0,
        sizes: Mapping[str, float] | None = None,
        fidelity: str = "epochs",
        seed: int = 0,
        folder: Path | None = None,
    ) -> None:
        check_integer("estimator.epochs", epochs, 1, 100_000)
        check_range("estimator.fraction", fraction, 0.0, 1.0, open_low=True)
        check_integer("estimator.resolution", resolution, 0, 4096)
        self.sizes = {} if sizes is None else checked_sizes(sizes)
        if fidelity not in (*KNOBS, *self.sizes):
            raise unknown("estimator.fidelity", fidelity, (*KNOBS, *self.sizes))
        self.spaces, self.data, self.trainer, self.retrain = spaces, data, trainer, retrain
        self.parts = data.split()
        own = {"epochs": epochs, "fraction": fraction, "resolution": resolution or data.image_shape[1]}
        self.knobs: dict[str, float] = {**own, **self.sizes}
        self.fidelity, self.seed, self.folder = fidelity, seed, folder

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        with torch.random.fork_rng(devices=[]):
            metric = self.data.metric
            return [{metric.quantity.score_name: metric.quantity.score(self._train(query))} for query in queries]

    def _train(self, query: Query) -> float:
        knobs = self._scaled(query.fidelity)
        parts = self._parts(knobs["fraction"], int(knobs["resolution"]))
        space = self.spaces(_shape(parts), {name: knobs[name] for name in self.sizes})
        torch.manual_seed(seed_of(self.seed, "training", 0))
        network = space.network(query.architecture)
        if query.parent:
            self._inherit(space, network, query.parent)
        module = self.retrain(network, parts, self.seed)
        self.trainer(int(knobs["epochs"])).fit(module)
        if self.folder:
            make_folder(self.folder)
            write_weights(self._file(query.architecture), module.network, root=self.folder.parent)
        return module.tested[self.data.metric.name]

    def _scaled(self, fidelity: float) -> dict[str, float]:
        """The sizes at this fidelity. Whole numbers stay whole, at least 1; a resolution is a multiple of 4."""
        knobs = dict(self.knobs)
        name, full = self.fidelity, knobs[self.fidelity]
        if name == "fraction" or not isinstance(full, int):
            knobs[name] = fidelity * full
        elif name == "resolution":
            knobs[name] = full if fidelity == 1 else max(SMALLEST_IMAGE, 4 * round(fidelity * full / 4))
        else:
            knobs[name] = max(1, round(fidelity * full))
        return knobs

    def _parts(self, fraction: float, resolution: int) -> TrainAndTest:
        weight, architecture = self.parts
        if fraction < 1:
            weight = weight.sample(max(2, round(fraction * len(weight))))
        if resolution != self.data.image_shape[1]:
            weight, architecture = weight.resized(resolution), architecture.resized(resolution)
        return TrainAndTest(weight, architecture)

    def _inherit(self, space: SearchSpace, network: nn.Module, parent: Architecture) -> None:
        file = self._file(parent) if self.folder else None
        if file is not None and is_file(file):
            space.inherit(network, read_weights(file, root=file.parent.parent))

    def _file(self, architecture: Architecture) -> Path:
        assert self.folder is not None
        name = hashlib.blake2b(repr(architecture).encode(), digest_size=12).hexdigest()
        return self.folder / f"{name}.safetensors"


def checked_sizes(sizes: object) -> dict[str, float]:
    """Return sizes of a space.

    Args:
        sizes: Numbers above 0 by name.

    Raises:
        InputError: If they are anything else, or one has the name of another setting.
    """
    good = isinstance(sizes, Mapping) and all(is_number(size) and size > 0 for size in sizes.values())
    if not good or {*KNOBS} & {*sizes}:  # type: ignore[misc]
        raise InputError(
            f"estimator.sizes={sizes!s:.80}: must be numbers above 0 by the name of a setting of space, as "
            "'{cells: 3}'"
        )
    return dict(sizes)  # type: ignore[call-overload, no-any-return]


def _shape(parts: TrainAndTest) -> tuple[int, int, int]:
    """(channels, height, width) of the images."""
    x, _ = parts.training.first()
    return x.shape[1], x.shape[2], x.shape[3]
