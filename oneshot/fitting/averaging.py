"""An average of the weights over the updates of a training."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from ..errors import check_range


class Average(nn.Module):
    """An exponential moving average of a network's weights and of its running statistics.

    After update t, average = d average + (1 - d) weights, with d = min(decay, (1 + t) / (10 + t)). The smaller d at the
    start keeps the first weights, which are random, from counting for long. Means and variances of batch norms are
    averaged in the same way, so that no pass over the training images is needed at the end. Counters are copied.

    It is a module of its own, so a checkpoint of what holds it has the average too. It is never computed with.

    Args:
        network: Whose weights are averaged. The average starts from them.
        decay: The largest d, in [0, 1).

    Raises:
        InputError: If `decay` is out of range.

    References:
        Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992. The smaller d at the start is
        that of `tf.train.ExponentialMovingAverage`.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        check_range("weights.average", decay, 0.0, 1 - 1e-9)
        self.decay = decay
        self.network = deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, t: int) -> None:
        """Take in the weights of the network.

        Args:
            network: After an update.
            t: Number of updates so far, from 1.
        """
        own, new = _floats(self.network), _floats(network)
        torch._foreach_lerp_(own, new, 1 - min(self.decay, (1 + t) / (10 + t)))
        for mine, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
            if not mine.is_floating_point():
                mine.copy_(theirs)

    @torch.no_grad()
    def copy_to(self, network: nn.Module) -> None:
        """Give the average to the network.

        Args:
            network: Its weights are overwritten.
        """
        network.load_state_dict(self.network.state_dict())


def _floats(network: nn.Module) -> list[Tensor]:
    """Weights and running statistics."""
    return [tensor.detach() for tensor in (*network.parameters(), *network.buffers()) if tensor.is_floating_point()]
