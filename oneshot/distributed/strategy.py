"""Several processes under Lightning: what starts and connects them."""

import torch
from pytorch_lightning.strategies import DDPStrategy


class SharedBatches(DDPStrategy):
    """Lightning's DDP without its wrapper: it starts and connects the processes, the modules share their networks.

    Every process has the whole state, so a checkpoint is written by the first one alone and at any time.
    """

    @property
    def world_size(self) -> int:
        """One, as a process trains on whole batches; Lightning's loops would else send messages among ours."""
        return 1

    def configure_ddp(self) -> None:
        """Give all processes the state of the first; where seeds alone decide, they have it already."""
        assert self.model is not None
        for tensor in self.model.state_dict().values():
            torch.distributed.broadcast(tensor, 0)

    def barrier(self, name: str | None = None) -> None:
        if name != "Trainer.save_checkpoint":
            super().barrier(name)
