"""Search a toy on which first-order DARTS collapses to the skip connection, with every architect.

    python scripts/collapse.py
    python scripts/collapse.py 'architects=darts,darts schedule.warmup_epochs=25' seeds=10

An edge maps a vector x to A x with its own matrix A, which is four fifths of the identity and a rest. The skip
connection gives x at once. The convolution is a matrix of fixed size that the weight steps turn slowly towards A: alone
it is exact in the end, and the skip connection never is. So a search that decides while the weights are young takes the
skip connection. Prints how many edges of all seeds take the convolution, and its mean share at quarters of the search.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor, nn
from torch.nn import functional

from oneshot.architects import Step
from oneshot.architecture import Architecture, Choice, Gates, Query
from oneshot.cli.composition import configuration
from oneshot.cli.conf import choices
from oneshot.cli.objects import architect_for
from oneshot.fitting.evaluation import one_path
from oneshot.fitting.updates import Components, architecture_step, joint_step, weight_step
from oneshot.spaces import SearchSpace
from oneshot.tasks import Regression

SIZE, BATCH = 8, 64  # numbers of a vector; vectors of a step
EPOCHS, WEIGHT_STEPS = 50, 6  # weight steps an epoch
IDENTITY = 0.8  # cosine between A and the identity
RATE, WEIGHT_RATE = 0.1, 0.015  # learning rates of the architecture and, at the start of its cosine, of the weights
RATES = {"enas": 0.003}  # of the architecture, for others
CONTROLS = {"largest"}  # learns nothing here
Batch = tuple[Tensor, Tensor]


class Toy(SearchSpace):
    """Four edges in each of two cells that share their choices: a skip connection or a convolution."""

    name, settings = "toy", {}

    def __init__(self) -> None:
        names = ("skip_connect", "sep_conv_3x3")
        self.choices = tuple(Choice(f"cell/{i}->{i + 1}", names, f"cell/{i + 1}") for i in range(4))
        self.kinds = ("cell", "cell")

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        return (0, 1)

    def supernet(self) -> nn.Module:
        return Supernet(self)

    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> nn.Module:
        raise NotImplementedError("a toy is only searched")

    def discretize(self, scores: Tensor) -> Architecture:
        return self.architecture(scores.argmax(1).tolist())


class Supernet(nn.Module):
    """x (batch, edges, SIZE) -> what each edge of each cell makes of it, flat."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.cells = len(space.kinds)
        self.weight = nn.Parameter(0.1 * torch.randn(self.cells, len(space.choices), SIZE, SIZE))

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        found = []
        for cell, weight in enumerate(normed(self.weight)):
            skip, convolution = gates.of_cell(cell).weight.unbind(1)
            found.append(skip[:, None] * x + convolution[:, None] * torch.einsum("eij,nej->nei", weight, x))
        return torch.stack(found, 1).flatten(1)


def normed(matrices: Tensor) -> Tensor:
    """Matrices of the size of the identity, as a batch norm would make them."""
    return matrices * (SIZE**0.5 / matrices.flatten(-2).norm(dim=-1)[..., None, None])


def batches(space: SearchSpace, seed: int) -> Iterator[Batch]:
    """Endless batches of vectors and what they become."""
    draws = torch.Generator().manual_seed(seed)
    shape = len(space.kinds), len(space.choices), SIZE, SIZE
    rest = torch.linalg.qr(torch.randn(shape, generator=draws))[0]
    identity = torch.eye(SIZE)
    rest = normed(rest - rest.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * identity)
    truth = IDENTITY * identity + (1 - IDENTITY**2) ** 0.5 * rest
    while True:
        x = torch.randn(BATCH, len(space.choices), SIZE, generator=draws)
        yield x, torch.einsum("ceij,nej->ncei", truth, x).flatten(1)


def search(name: str, seed: int) -> tuple[Architecture, list[float]]:
    """Search the toy with an architect, at its published settings but for its rate.

    Args:
        name: Of the architect; further settings may follow.
        seed: Of all that is drawn.

    Returns:
        The architecture, and the mean score of the convolution after each epoch.
    """
    torch.manual_seed(seed)
    space, task = Toy(), Regression()
    config = configuration("search", [f"epochs={EPOCHS}", *f"architect={name}".split()])
    criterion, metric = functional.mse_loss, task.metric(1)
    architect = architect_for(config, space, criterion, None)
    architect.measure_by(criterion, metric)
    supernet, data = space.supernet(), batches(space, seed)
    weights = torch.optim.SGD(supernet.parameters(), lr=WEIGHT_RATE, momentum=0.9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(weights, EPOCHS)
    moving = []
    if parameters := list(architect.parameters()):
        assert architect.optimizer is not None
        moving = [architect.optimizer(parameters)]
        for group in moving[0].param_groups:
            group["lr"] = RATES.get(name, RATE)
    parts = Components(supernet, architect, criterion, weights, moving)
    schedule: Any = instantiate(config.schedule)
    if not moving:
        schedule = replace(schedule, architecture_steps=0)
    total, scores = schedule.total(EPOCHS, WEIGHT_STEPS), []
    for epoch in range(EPOCHS):
        for update in schedule.epoch(epoch, WEIGHT_STEPS):
            step = Step(seed, update.index, total)
            if update.kind == "joint":
                joint_step(parts, next(data), step)
            elif update.kind == "architecture":
                architecture_step(parts, next(data), next(data), step)
            else:
                train = next(data)
                weight_step(parts, train, step, next(data) if architect.compares_gradients else None)
        cosine.step()
        scores.append(float(architect.scores()[:, 1].detach().mean()))
    x, y = next(data)

    @torch.no_grad()
    def estimate(queries: Sequence[Query]) -> list[Mapping[str, float]]:
        losses = [float(criterion(supernet(x, one_path(space, q.architecture, x.device)), y)) for q in queries]
        return [{metric.quantity.score_name: -loss} for loss in losses]

    @torch.no_grad()
    def evaluate(gates: Callable[[int], Gates], batches: int = 0) -> dict[str, float]:
        return {name: float(criterion(supernet(x, gates(0)), y)) for name in ("loss", metric.name)}

    selection: Any = instantiate(config.selection, _convert_="all")
    measured = SimpleNamespace(metric=metric, estimate=estimate, evaluate=evaluate)
    return selection(space, architect, measured), scores


def main() -> None:
    """Search with each architect and seed, and print a row for each architect."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    names = given.get("architects", ",".join(name for name in choices("architect") if name not in CONTROLS)).split(",")
    seeds = int(given.get("seeds", 3))
    torch.set_num_threads(1)
    edges = len(Toy().choices) * seeds
    print(f"| architect | edges with the convolution, of {edges} | its mean share at quarters of the search |")
    print("|---|---|---|")
    for name in names:
        found = [search(name, seed) for seed in range(seeds)]
        convolutions = sum(sum(architecture.decisions) for architecture, _ in found)
        marks = [EPOCHS * k // 4 - 1 for k in range(1, 5)]
        shares = ", ".join(f"{sum(scores[i] for _, scores in found) / seeds:.2f}" for i in marks)
        print(f"| {name} | {convolutions} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
