"""The retraining: a LightningModule that trains one discrete network from scratch and tests it once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR

from .architects.base import Criterion, OptimizerFactory, check_optimizer
from .data import ImageData, TrainAndTest
from .distributed.sharing import share
from .draws import seed_of
from .errors import check_range
from .fitting.acceleration import accelerate
from .fitting.base import Fit
from .fitting.metrics import Means, accuracy, check_forward, clip
from .spaces.base import set_drop_path


class Retrain(Fit):
    """Train `network` on all training images under a pytorch_lightning Trainer of max_epochs, then test it.

    As published for DARTS: SGD, the rate on a cosine to minimum_learning_rate over the epochs, drop path rising
    linearly to `drop_path`, auxiliary logits (where the network has that head) weighted by
    auxiliary_weight. criterion: label smoothing is its own affair. gradient_clip, log_every, record, rows,
    compile: as in Search. Afterwards: `test_accuracy`, measured once, with running statistics.
    """

    def __init__(
        self,
        network: nn.Module,
        data: ImageData | TrainAndTest,
        optimizer: OptimizerFactory = lambda w: SGD(w, lr=0.025, momentum=0.9, weight_decay=3e-4),
        minimum_learning_rate: float = 0.0,
        criterion: Criterion | None = None,
        drop_path: float = 0.2,
        auxiliary_weight: float = 0.4,
        gradient_clip: float = 5.0,
        log_every: int = 50,
        seed: int = 0,
        record: Callable[[Mapping[str, Any]], None] | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__(log_every, seed, record)
        check_optimizer("weights.optimizer", optimizer)
        check_range("minimum_learning_rate", minimum_learning_rate, 0.0)
        check_range("drop_path", drop_path, 0.0, 0.95)
        check_range("auxiliary_weight", auxiliary_weight, 0.0)
        check_range("gradient_clip", gradient_clip, 0.0)
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.part, self.test = data.train(), data.test()  # bad test images end it here, not behind the last epoch
        self.optimizer, self.minimum_learning_rate = optimizer, minimum_learning_rate
        self.criterion = criterion or nn.CrossEntropyLoss(label_smoothing=0.1)
        self.drop_path, self.auxiliary_weight, self.gradient_clip = drop_path, auxiliary_weight, gradient_clip
        x, y = self.part.first()
        check_forward(lambda: self.criterion(self.network.eval()(x), y))
        self.network.train()
        accelerate(self.network, compile, cuda_graph=False)

    def updates_of(self, epochs: int) -> int:
        return epochs * self.part.batches

    def remaining(self) -> Iterator[int]:
        return iter(range(self.done, self.updates_of(self.ended + 1)))

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.network.parameters())
        cosine = CosineAnnealingLR(optimizer, T_max=self.epochs, eta_min=self.minimum_learning_rate)
        return [optimizer], [cosine]

    def setup(self, stage: str) -> None:
        share(self.network, self.part.batch_size)
        self.part.to(self.device)

    def on_train_epoch_start(self) -> None:
        set_drop_path(self.network, self.drop_path * self.ended / self.epochs)

    def training_step(self, step: int, _: int) -> None:
        torch.manual_seed(seed_of(self.seed, "retrain", step))
        x, y = self.part.batch(self.seed, step)
        output = self.network(x)
        logits, auxiliary = output if isinstance(output, tuple) else (output, None)
        loss = self.criterion(logits, y)
        if auxiliary is not None:
            loss = loss + self.auxiliary_weight * self.criterion(auxiliary, y)
        optimizer: Any = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(loss)
        self.watch(f"step {step}", loss, clip(self.network.parameters(), self.gradient_clip))
        optimizer.step()
        self.means.add("train_loss", loss)
        self.means.add("train_accuracy", accuracy(logits, y))
        self.done = step + 1
        if self.done % self.log_every == 0 or self.done % self.part.batches == 0:
            self.write({"epoch": self.ended + 1, "step": self.done, **self.means.read()})

    @torch.no_grad()
    def on_train_end(self) -> None:
        self.test.to(self.device)
        means = Means()
        self.network.eval()
        with self.trainer.precision_plugin.forward_context():
            for x, y in self.test.passes():
                means.add("test_accuracy", accuracy(self.network(x), y), len(y))
        self.network.train()
        result = means.read()
        self.test_accuracy = result["test_accuracy"]
        self.write({"epoch": self.epochs, "step": self.total, **result})
