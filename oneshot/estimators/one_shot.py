"""One-shot estimation: the metric of an architecture with the weights that it inherits from a trained supernet."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from ..architecture import Query
from ..data import Part
from ..errors import InputError, check_integer
from ..fitting.evaluation import Criterion, evaluate, one_path
from ..spaces.base import SearchSpace
from ..tasks.metric import OF_TASK


class OneShot:
    """Metric and loss of single paths of a trained supernet.

    Nothing is trained. The batch norm of the supernet uses the statistics of each batch. The fidelity of a query is the
    share of the images that are used. Scores: that of the part's metric (`accuracy`, a share, in a classification), and
    `negative_loss`, minus the mean of `criterion`.

    Args:
        space: The search space.
        supernet: A trained supernet of this space. It is moved to `device`.
        part: Images (and labels) that the supernet was not trained on. They are moved to `device`.
        criterion: From logits (batch, classes) and labels (batch,) to a scalar loss.
        device: Where to compute; None is where the supernet is.
        images: Number of images, each class with its share; 0 is all of them.
        batch_size: Number of images in a forward pass, at least 2.

    Raises:
        InputError: If a number is out of range.

    Reference:
        Bender, Kindermans, Zoph, Vasudevan and Le, Understanding and simplifying one-shot architecture search, ICML
        2018. Guo et al., Single path one-shot neural architecture search with uniform sampling, arXiv:1904.00420.
    """

    metrics = (OF_TASK, "negative_loss")

    def __init__(
        self,
        space: SearchSpace,
        supernet: nn.Module,
        part: Part,
        criterion: Criterion = functional.cross_entropy,
        device: torch.device | None = None,
        images: int = 0,
        batch_size: int = 100,
    ) -> None:
        check_integer("estimator.images", images, 0)
        check_integer("estimator.batch_size", batch_size, 2)
        if images > len(part):
            raise InputError(f"estimator.images={images}: the {part.name} part has only {len(part)}")
        self.space, self.criterion, self.batch_size = space, criterion, batch_size
        self.device = device or next(supernet.parameters()).device
        self.supernet = supernet.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.part = part.sample(images) if images else part
        self.part.to(self.device)
        self.shares = {len(self.part): self.part}  # by number of images

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        return [self._score(query) for query in queries]

    def _score(self, query: Query) -> Mapping[str, float]:
        images = max(2, round(query.fidelity * len(self.part)))
        if images not in self.shares:
            self.shares[images] = self.part.sample(images)
        gates = one_path(self.space, query.architecture, self.device)
        metric, batches = self.part.metric, self.shares[images].passes(self.batch_size)
        means = evaluate(self.supernet, self.criterion, batches, lambda _: gates, metric)
        return {metric.quantity.score_name: metric.quantity.score(means[metric.name]), "negative_loss": -means["loss"]}
