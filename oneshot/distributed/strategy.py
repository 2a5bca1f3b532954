"""Lightning's strategy for several processes: it starts and connects them."""

import atexit
import os

import torch
from pytorch_lightning.strategies import DDPStrategy

MEETING = "ONESHOT_MEETING"  # environment variable: a file where the processes of one machine find each other


class SharedBatches(DDPStrategy):
    """Lightning's DDP without its wrapper. It starts and connects the processes; the modules share their networks.

    Every process has the whole state, so only the first writes a checkpoint, at any time.
    """

    @property
    def world_size(self) -> int:
        """1, because a process trains on whole batches. Otherwise Lightning's loops would exchange messages."""
        return 1

    def setup_distributed(self) -> None:
        """Connect the processes. Those of one machine meet in a file and talk over its loopback interface only."""
        meeting, environment = os.environ.get(MEETING), self.cluster_environment
        if meeting and environment is not None and not torch.distributed.is_initialized():
            self.set_world_ranks()
            backend = self._get_process_group_backend()
            torch.distributed.init_process_group(
                backend,
                init_method=f"file://{meeting}",
                rank=environment.global_rank(),
                world_size=environment.world_size(),
                timeout=self._timeout,
                device_id=self.root_device if self.root_device.type != "cpu" else None,
            )
            if backend == "nccl":
                atexit.register(_disconnect)
        super().setup_distributed()  # which finds them connected

    def configure_ddp(self) -> None:
        """Give all processes the state of the first. Where only seeds decide, they already have it."""
        assert self.model is not None
        for tensor in self.model.state_dict().values():
            torch.distributed.broadcast(tensor, 0)

    def barrier(self, name: str | None = None) -> None:
        """Wait for all processes, except around a checkpoint, which the first one writes alone."""
        if name != "Trainer.save_checkpoint":
            super().barrier(name)


def _disconnect() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
