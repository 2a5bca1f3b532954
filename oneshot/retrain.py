"""The retraining: a LightningModule that trains one discrete network from scratch and tests it once."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import SGD

from .architects.base import Criterion, OptimizerFactory, check_optimizer, evaluating
from .architecture import Architecture
from .data import ImageData, Text, TrainAndTest
from .data.transforms import Mixing
from .distributed.sharing import share
from .draws import generator, seed_of
from .errors import InputError, check_boolean, check_integer, check_range
from .fitting.acceleration import accelerate
from .fitting.averaging import Average
from .fitting.base import Fit
from .fitting.evaluation import Meter
from .fitting.metrics import check_forward, clip
from .fitting.rates import check_warmup, cosine, weights_of
from .spaces.base import SearchSpace, set_drop_path
from .tasks import Classification, Task

WEIGHT_OPTIMIZER: OptimizerFactory = partial(SGD, lr=0.025, momentum=0.9, weight_decay=3e-4, foreach=True)


class Retrain(Fit):
    """Train a network on all training images under a `pytorch_lightning.Trainer` of `max_epochs`, then test it once.

    As published for DARTS: SGD, a learning rate on a cosine over the epochs, drop path rising linearly, and an
    auxiliary head where the network has one. The test is made once, after the last epoch, with running statistics.
    After the fit `tested` is there: the metric of the data's task on the test images, by its name (`accuracy`).

    Args:
        network: forward(x) -> logits (batch, classes); with an auxiliary head, in training mode, a pair of logits.
        data: Gives the training images and the test images.
        optimizer: Makes the optimizer of the weights. Default: SGD as published for DARTS.
        minimum_learning_rate: Its learning rate falls on a cosine to this over the epochs.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the data's task; of a classification,
            cross-entropy with label smoothing 0.1.
        drop_path: Probability that a path of a cell is dropped; rises from 0 towards this over the epochs.
        auxiliary_weight: Weight of the auxiliary head's loss.
        gradient_clip: Largest norm of the weights' gradient; 0 for no limit.
        warmup_epochs: Epochs in which the learning rate rises, before its cosine.
        decay_norms: Whether weight decay also acts on biases and on the weights of norms.
        average: Decay of a moving average of the weights, which is tested and kept in their place; None for none.
        mixup: alpha of mixup; 0 for none. With mixup or cutmix the training metric is measured against the target
            with the larger share of the mixed image.
        cutmix: alpha of cutmix; 0 for none. With mixup too, each batch is mixed by one of them.
        log_every: Updates between two rows.
        seed: Seed of batches and draws.
        record: Called with each row, a dict of numbers.
        compile: Whether `torch.compile` compiles the cells.
        space: The space that `network` was made by. `oneshot.fit` draws the cells of `architecture` with it.
        architecture: What `network` was made of.

    Raises:
        InputError: If a setting is out of range, or network, data and criterion do not fit together.
    """

    instead: ClassVar = {
        "validate": "a retraining has no validation images; `rows` holds its numbers",
        "test": "the test is made once, at the end of the fit; `tested` holds it",
        "predict": "call `network(images)` in evaluation mode",
    }

    def __init__(
        self,
        network: nn.Module,
        data: ImageData | Text | TrainAndTest,
        optimizer: OptimizerFactory = WEIGHT_OPTIMIZER,
        minimum_learning_rate: float = 0.0,
        criterion: Criterion | None = None,
        drop_path: float = 0.2,
        auxiliary_weight: float = 0.4,
        gradient_clip: float = 5.0,
        warmup_epochs: int = 0,
        decay_norms: bool = True,
        average: float | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        log_every: int = 50,
        seed: int = 0,
        record: Callable[[Mapping[str, Any]], None] | None = None,
        compile: bool = False,
        space: SearchSpace | None = None,
        architecture: Architecture | None = None,
    ) -> None:
        super().__init__(log_every, seed, record)
        check_optimizer("weights.optimizer", optimizer)
        check_range("minimum_learning_rate", minimum_learning_rate, 0.0)
        check_range("drop_path", drop_path, 0.0, 0.95)
        check_range("auxiliary_weight", auxiliary_weight, 0.0)
        check_range("gradient_clip", gradient_clip, 0.0)
        check_integer("weights.warmup_epochs", warmup_epochs, 0)
        check_boolean("weights.decay_norms", decay_norms)
        self.warmup_epochs, self.decay_norms, self.mixing = warmup_epochs, decay_norms, Mixing(mixup, cutmix)
        if (space is None) != (architecture is None):
            raise InputError("space and architecture: must be given together, or none of them")
        self.space, self.architecture = space, architecture
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.part: Any = data.train()
        self.test = data.test()  # bad test images end it here, not after the last epoch
        self.optimizer, self.minimum_learning_rate = optimizer, minimum_learning_rate
        self.task, self.metric = data.task, data.metric
        self.classes = () if isinstance(data, TrainAndTest) else data.splits.classes
        self.criterion = criterion or published_criterion(data.task)
        self.drop_path, self.auxiliary_weight, self.gradient_clip = drop_path, auxiliary_weight, gradient_clip
        self.average = None if average is None else Average(self.network, average)
        x, y = self.part.first()
        self.mixing.check(x)
        check_forward(lambda: self.criterion(self.network.eval()(x), y))
        self.network.train()
        accelerate(self.network, compile, cuda_graph=False)

    def updates_of(self, epochs: int) -> int:
        """Return the number of updates of so many epochs."""
        return epochs * self.at_most(self.part.batches)

    def check(self, epochs: int) -> None:
        """Raise InputError unless a training of so many epochs is longer than its warm-up."""
        check_warmup(self.warmup_epochs, epochs)

    def remaining(self) -> Iterator[int]:
        """Yield the numbers of the updates that are left of the current epoch."""
        return iter(range(self.done, self.updates_of(self.ended + 1)))

    def configure_optimizers(self) -> Any:
        """Make the optimizer of the weights with its cosine."""
        optimizer = self.optimizer(weights_of(self.network, self.decay_norms))
        warmup = 0 if self.trial else self.warmup_epochs
        return [optimizer], [cosine(optimizer, self.epochs, self.minimum_learning_rate, warmup)]

    def setup(self, stage: str) -> None:
        """Move the training images to the training device."""
        share(self.network, self.part.batch_size)
        self.part.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Set the drop path of this epoch."""
        set_drop_path(self.network, self.drop_path * self.ended / self.epochs)

    def training_step(self, step: int, _: int) -> None:
        """Take one update."""
        torch.manual_seed(seed_of(self.seed, "retrain", step))
        x, y = self.part.batch(self.seed, step)
        mixed = self.mixing(x, y, generator(self.seed, f"{self.part.name}/mixing", step))
        output, y = self.network(mixed.x), mixed.y
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = mixed.loss(self.criterion, logits)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * mixed.loss(self.criterion, auxiliary)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.watch(f"step {step}", loss, clip(self.network.parameters(), self.gradient_clip))
        optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step + 1)
        self.means.add("train_loss", loss)
        if self.metric.of_all is None:
            self.means.add(f"train_{self.metric.name}", self.metric.of_batch(logits, y))
        self.count(step + 1)
        if self.done % self.log_every == 0 or self.epoch_is_over:
            self.write({"epoch": self.ended + 1, "step": self.done, **self.means.read()})

    @torch.no_grad()
    def end(self) -> None:
        """Test the network once, with running statistics, and write the last row."""
        self.test.to(self.device)
        if self.average is not None:
            self.average.copy_to(self.network)
        meter = Meter([self.metric])
        with evaluating(self.network), self.trainer.precision_plugin.forward_context():
            for x, y in self.few(self.test.passes()):
                meter.add(self.network(x), y)
        self.tested = meter.read()
        self.write({"epoch": self.epoch, "step": self.done, **{f"test_{n}": v for n, v in self.tested.items()}})


def published_criterion(task: Task) -> Criterion:
    """Return the loss of a retraining: label smoothing 0.1 as published for DARTS in a classification.

    Args:
        task: The task of the data.
    """
    return nn.CrossEntropyLoss(label_smoothing=0.1) if isinstance(task, Classification) else task.criterion()
