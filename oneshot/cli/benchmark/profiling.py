"""Count saved bytes and operations of a computation. These do not depend on how busy the machine is."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, UntypedStorage
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
FREE = {aten.detach.default, aten.empty.memory_format, aten.empty_like.default, aten.empty_strided.default}
FREE |= {aten._unsafe_view.default, aten.lift_fresh.default, aten.new_empty.default, aten.new_empty_strided.default}


def saved_bytes(compute: Callable[[], Tensor], parameters: Iterable[Tensor] = ()) -> int:
    """Return the bytes that `compute` saves for its backward pass. Each storage counts once, `parameters` not."""
    known = {p.untyped_storage().data_ptr() for p in parameters}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = compute()  # kept until the sum is taken, so that no address is used twice
        total = sum(storages.values())
    del kept
    return total


class Saved:
    """Inside, `peak` is the largest number of bytes that autograd keeps at a time. Each storage counts once.

    Args:
        parameters: Tensors that do not count.
    """

    def __init__(self, parameters: Iterable[Tensor] = ()) -> None:
        self.known = {p.untyped_storage().data_ptr() for p in parameters}
        self.users: Counter[int] = Counter()  # by the address of a storage, which lives as long as it is used
        self.bytes = self.peak = 0
        self.hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: _Kept(self, tensor), lambda kept: kept.tensor
        )

    def __enter__(self) -> "Saved":
        self.hooks.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.hooks.__exit__(*error)


class _Kept:
    """A tensor that is saved, until it is freed."""

    def __init__(self, saved: Saved, tensor: Tensor) -> None:
        self.saved, self.tensor = saved, tensor
        storage = tensor.untyped_storage()
        self.place, self.size = storage.data_ptr(), storage.nbytes()
        if self.place in saved.known:
            self.size = 0
        saved.users[self.place] += 1
        if saved.users[self.place] == 1:
            saved.bytes += self.size
            saved.peak = max(saved.peak, saved.bytes)

    def __del__(self) -> None:
        self.saved.users[self.place] -= 1
        if not self.saved.users[self.place]:
            self.saved.bytes -= self.size


class Alive(TorchDispatchMode):
    """Inside, `peak` is the largest number of bytes of the tensors that are alive at a time. Each storage counts once.

    These are the results of ATen operations, also those of a backward pass; not the memory that an operation takes and
    frees by itself. It does not depend on the device.

    Args:
        given: Tensors from before, which do not count.
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.given = [StorageWeakRef(tensor.untyped_storage()) for tensor in given]
        self.known = {reference.cdata for reference in self.given}
        self.storages: dict[int, tuple[StorageWeakRef, int]] = {}
        self.bytes = self.peak = 0  # `bytes` counts some that have been freed, as long as it is below the peak

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        if self.bytes > self.peak:
            self.storages = {key: entry for key, entry in self.storages.items() if not entry[0].expired()}
            self.bytes = sum(size for _, size in self.storages.values())
            self.peak = max(self.peak, self.bytes)
        return results

    def _add(self, storage: UntypedStorage) -> None:
        reference = StorageWeakRef(storage)  # as long as it is kept, no other storage gets its number
        if reference.cdata not in self.known and reference.cdata not in self.storages:
            self.storages[reference.cdata] = reference, storage.nbytes()
            self.bytes += storage.nbytes()


class Operations(TorchDispatchMode):
    """Counts ATen operations, also those of a backward pass. Views and allocations do not count.

    The count approximates kernel launches and does not depend on the device. `counts` holds it by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func not in FREE:
            self.counts[func.overloadpacket._qualified_op_name.removeprefix("aten::")] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """Number of all operations."""
        return self.counts.total()
