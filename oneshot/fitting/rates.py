"""What an optimizer of weights gets: which weights decay, and the learning rate of each epoch."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from ..errors import InputError


def weights_of(network: nn.Module, decay_norms: bool = True) -> Iterable[Any]:
    """Return what an optimizer of a network's weights is made of.

    Args:
        network: The network.
        decay_norms: Whether weight decay also acts on biases and on the weights of norms: all that have at most one
            dimension.

    Returns:
        The parameters; or two groups, where the second has no weight decay.

    Reference:
        He et al., Bag of Tricks for Image Classification with Convolutional Neural Networks, arXiv:1812.01187,
        section 3.1 (no bias decay).
    """
    if decay_norms:
        return network.parameters()
    matrices = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in network.parameters() if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def check_warmup(warmup_epochs: int, epochs: int) -> None:
    """Check that a training is longer than its warm-up.

    Args:
        warmup_epochs: Epochs of the warm-up.
        epochs: Epochs of the training.

    Raises:
        InputError: If it is not.
    """
    if warmup_epochs and warmup_epochs >= epochs:
        raise InputError(f"weights.warmup_epochs={warmup_epochs}: must be below epochs={epochs}")


def cosine(optimizer: Optimizer, epochs: int, minimum: float, warmup_epochs: int = 0) -> LRScheduler:
    """Return the schedule of the learning rate, which takes one step an epoch.

    The rate falls on a cosine from the optimizer's own to `minimum`. In W epochs of warm-up before, it rises in a line:
    1 / (W + 1) of the optimizer's own in the first epoch, W / (W + 1) in the last.

    Args:
        optimizer: The optimizer.
        epochs: Epochs of the whole training.
        minimum: The rate after the last epoch.
        warmup_epochs: Epochs of the warm-up.

    Raises:
        InputError: If the warm-up is not shorter than the training.

    References:
        Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983. Goyal et al.,
        Accurate, Large Minibatch SGD, arXiv:1706.02677, section 2.2 (there the warm-up takes a step each update).
    """
    check_warmup(warmup_epochs, epochs)
    fall = CosineAnnealingLR(optimizer, T_max=epochs - warmup_epochs, eta_min=minimum)
    if not warmup_epochs:
        return fall
    rise = LinearLR(optimizer, start_factor=1 / (warmup_epochs + 1), total_iters=warmup_epochs)
    return SequentialLR(optimizer, [rise, fall], milestones=[warmup_epochs])
