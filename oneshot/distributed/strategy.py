"""Lightning's strategy for several processes: it starts and connects them."""

import torch
from pytorch_lightning.strategies import DDPStrategy


class SharedBatches(DDPStrategy):
    """Lightning's DDP without its wrapper. It starts and connects the processes; the modules share their networks.

    Every process has the whole state, so only the first writes a checkpoint, at any time.
    """

    @property
    def world_size(self) -> int:
        """1, because a process trains on whole batches. Otherwise Lightning's loops would exchange messages."""
        return 1

    def configure_ddp(self) -> None:
        """Give all processes the state of the first. Where only seeds decide, they already have it."""
        assert self.model is not None
        for tensor in self.model.state_dict().values():
            torch.distributed.broadcast(tensor, 0)

    def barrier(self, name: str | None = None) -> None:
        """Wait for all processes, except around a checkpoint, which the first one writes alone."""
        if name != "Trainer.save_checkpoint":
            super().barrier(name)
