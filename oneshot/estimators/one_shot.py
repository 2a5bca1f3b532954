"""One-shot estimation: an architecture's accuracy with the weights that it inherits from a trained supernet."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ..architecture import Query
from ..data import Part
from ..errors import InputError, check_integer
from ..fitting.evaluation import Criterion, evaluate, one_path
from ..spaces.base import SearchSpace


class OneShot:
    """Accuracy and loss of single paths of a supernet (Bender et al., 2018; Guo et al., arXiv:1904.00420).

    Nothing is trained: the supernet's batch norm takes the statistics of each batch. supernet: of this space, trained;
    it and the images are moved to `device` once. part: images it was not trained on. images: how many of
    them, each class its share, 0 for all. batch_size: images in one forward pass. A query's fidelity is the share
    of those images that is looked at. Scores: `accuracy`, a share, and `negative_loss`, minus the mean of `criterion`.
    Raises InputError for numbers out of range.
    """

    metrics = ("accuracy", "negative_loss")

    def __init__(
        self,
        space: SearchSpace,
        supernet: nn.Module,
        part: Part,
        criterion: Criterion,
        device: torch.device,
        images: int = 0,
        batch_size: int = 100,
    ) -> None:
        check_integer("estimator.images", images, 0)
        check_integer("estimator.batch_size", batch_size, 2)
        if images > len(part):
            raise InputError(f"estimator.images={images}: the {part.name} part has {len(part)}")
        self.space, self.criterion, self.device, self.batch_size = space, criterion, device, batch_size
        self.supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.part = part.sample(images) if images else part
        self.part.to(device)
        self.shares = {len(self.part): self.part}  # by number of images

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        return [self._score(query) for query in queries]

    def _score(self, query: Query) -> Mapping[str, float]:
        images = max(2, round(query.fidelity * len(self.part)))
        if images not in self.shares:
            self.shares[images] = self.part.sample(images)
        gates = one_path(self.space, query.architecture, self.device)
        means = evaluate(self.supernet, self.criterion, self.shares[images].passes(self.batch_size), lambda _: gates)
        return {"accuracy": means["accuracy"], "negative_loss": -means["loss"]}
