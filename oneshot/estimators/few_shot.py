"""Few-shot estimation: several supernets, each for a part of the space (arXiv:2006.06863, arXiv:2203.15207)."""

import random
from collections.abc import Callable, Mapping, Sequence

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from ..architects.base import Architect, Examples, Step
from ..architecture import Gates, Query
from ..data import ImageData
from ..draws import seed_of
from ..errors import check_integer
from ..fitting.evaluation import Criterion, one_path
from ..schedule import Schedule
from ..search import Search
from ..spaces.base import SearchSpace
from ..tasks.metric import OF_TASK
from ..techniques.base import unmoved
from .one_shot import OneShot
from .splitting import Subspace, best_split, gradient_matching

MOST = 6  # splits, which are 64 supernets


class FewShot:
    """Metric and loss of single paths, each in the supernet of the part of the space that it belongs to.

    The trained supernet is split before the first answer. Of the choices that are whole, that one is split whose
    candidates agree least on the weights that they share, by gradient matching: the mean of the scores over `batches`
    training batches, each with a random path. Its candidates become two groups (`best_split`), and the space two parts.
    The supernet of a part starts from the weights of the whole one, and is trained further with random paths of its
    part. Each of these is split again, `splits` times in all. With 0 splits this is `OneShot`.

    In few-shot NAS every candidate of a choice becomes a group. GM-NAS makes two groups by gradient matching. Its code
    for NAS-Bench-201 takes groups of 2 and 3 as here, resamples paths that `none` interrupts, and can begin again from
    random weights after a split. No number of epochs is published for a further training; 10 is a guess.

    Args:
        space: The search space.
        supernet: A trained supernet of this space. It is moved to `device`.
        data: The images. The test images are not read.
        search: From an architect to the search that trains a supernet with it.
        trainer: From a number of epochs to a pytorch_lightning Trainer.
        criterion: From logits (batch, classes) and labels (batch,) to a scalar loss.
        device: Where to compute; None is where the supernet is.
        seed: Seed of batches and paths.
        splits: Splits of each part, from 0 to 6: there are 2 to this power supernets.
        epochs: Epochs of each supernet after each split.
        batches: Training batches of a gradient matching.
        images: Number of images of the architecture part that a query is measured on; 0 is all of them.
        batch_size: Number of images in a forward pass of a query, at least 2.

    Raises:
        InputError: If a number is out of range, or the space does not give its candidates (`SearchSpace.branches`).

    Reference:
        Zhao, Wang, Tian, Fonseca and Guo, Few-shot Neural Architecture Search, arXiv:2006.06863.
        Hu, Wang, Hong, Li, Hsieh and Feng, Generalizing Few-Shot NAS with Gradient Matching, arXiv:2203.15207.
    """

    metrics = (OF_TASK, "negative_loss")

    def __init__(
        self,
        space: SearchSpace,
        supernet: nn.Module,
        data: ImageData,
        search: Callable[[Architect], Search],
        trainer: Callable[[int], pl.Trainer],
        criterion: Criterion = functional.cross_entropy,
        device: torch.device | None = None,
        seed: int = 0,
        splits: int = 1,
        epochs: int = 10,
        batches: int = 20,
        images: int = 0,
        batch_size: int = 100,
    ) -> None:
        check_integer("estimator.splits", splits, 0, MOST)
        check_integer("estimator.epochs", epochs, 1)
        check_integer("estimator.batches", batches, 1)
        if splits:
            space.branches(supernet)
        self.training, part = data.split()

        def one_shot(supernet: nn.Module) -> OneShot:
            return OneShot(space, supernet, part, criterion, device, images, batch_size)

        self.one_shot, self.whole = one_shot, one_shot(supernet)
        self.space, self.search, self.trainer, self.criterion = space, search, trainer, criterion
        self.seed, self.splits, self.epochs, self.batches = seed, splits, epochs, batches
        self.parts: list[tuple[Subspace, OneShot]] = []

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        if queries and not self.parts:
            with torch.random.fork_rng(devices=[]):
                self.parts = self._split()
        return [self._of(query)([query])[0] for query in queries]

    def _of(self, query: Query) -> OneShot:
        """The estimator of the part that the architecture belongs to."""
        return next(one_shot for part, one_shot in self.parts if part.has(query.architecture))

    def _split(self) -> list[tuple[Subspace, OneShot]]:
        """All parts with their trained supernets."""
        parts = [(Subspace.whole(self.space), self.whole)]
        for _ in range(self.splits):
            parts = [half for part, one_shot in parts for half in self._halves(part, one_shot.supernet)]
        return parts

    def _halves(self, part: Subspace, supernet: nn.Module) -> list[tuple[Subspace, OneShot]]:
        """The two parts of a part; the part itself where no choice is left to split."""
        candidates = [len(choice.candidates) for choice in self.space.choices]
        whole = [i for i, number in enumerate(candidates) if 1 < number == len(part.kept[i])]
        if not whole:
            return [(part, self.one_shot(supernet))]
        found = [(*best_split(self._matching(part, supernet, choice)), choice) for choice in whole]
        groups, _, choice = min(found, key=lambda one: one[1])
        return [(half, self.one_shot(self._trained(half, supernet))) for half in part.split(choice, groups)]

    def _matching(self, part: Subspace, supernet: nn.Module, choice: int) -> Tensor:
        """The mean gradient matching of the candidates of a choice."""
        self.training.to(self.whole.device)
        scores = []
        for n in range(self.batches):
            torch.manual_seed(seed_of(self.seed, "few_shot/matching", n))
            rng = random.Random(seed_of(self.seed, "few_shot/paths", n))
            x, y = self.training.batch(self.seed, n)

            def loss(gates: Gates, x: Tensor = x, y: Tensor = y) -> Tensor:
                return self.criterion(supernet(x, gates), y)

            architecture = part.sample(self.space, rng)
            with unmoved(supernet):
                scores.append(gradient_matching(self.space, supernet, loss, architecture, choice, part.kept[choice]))
        return torch.stack(scores).mean(0)

    def _trained(self, part: Subspace, supernet: nn.Module) -> nn.Module:
        """A supernet that starts from the weights of another one and is trained with paths of a part."""
        torch.manual_seed(seed_of(self.seed, "few_shot/training", 0))
        search = self.search(_Paths(self.space, part))
        search.supernet.load_state_dict(supernet.state_dict())
        self.trainer(self.epochs).fit(search)
        result = self.space.supernet()
        result.load_state_dict(search.supernet.state_dict())
        return result


class _Paths(Architect):
    """Uniform paths of a part of the space. Only weights are trained.

    Args:
        space: The search space.
        part: The part.
    """

    schedule = Schedule(architecture_steps=0)

    def __init__(self, space: SearchSpace, part: Subspace) -> None:
        super().__init__(space, None)
        self.part = part
        kept = torch.tensor([[k in row for k in range(space.shape[1])] for row in part.kept])
        self.register_buffer("kept", kept, persistent=False)
        self.kept: Tensor

    def gates(self, step: Step) -> Gates:
        """Return the gates of one drawn architecture of the part."""
        rng = random.Random(step.generator("few_shot").initial_seed())
        return one_path(self.space, self.part.sample(self.space, rng), self.kept.device)

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the criterion of one drawn path."""
        x, y = valid
        return self.criterion(supernet(x, self.gates(step)), y)

    def scores(self) -> Tensor:
        """Return uniform probabilities of the candidates of the part, (choices, candidates)."""
        return self.kept / self.kept.sum(1, keepdim=True)
