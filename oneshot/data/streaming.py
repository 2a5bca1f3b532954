"""Images that do not fit into memory: decoded by worker processes when a batch needs them, in an order given before.

What a worker reads is a function of the indices that it gets, so any number of workers gives the same batches.
"""

import atexit
import contextlib
import random
import signal
import threading
import traceback
import warnings
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, get_worker_info

from ..draws import seed_of
from ..errors import InputError, Lost, named

PREFETCH = 2  # batches that each worker reads ahead
PIECE = 64  # images that are read at once where no training batch says how many
# what ends a run is the business of its main process: it saves, and then closes its workers
LEFT_TO_PARENT = {getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)}
_open: "weakref.WeakSet[Reader]" = weakref.WeakSet()
SHAPES = "there is a target of shape {} and one of shape {}; all must have one shape"


class Source(ABC):
    """Examples that are read one by one: what is streamed.

    A source is copied to worker processes, so it must be picklable, and it should hold paths as one array and not as a
    list of many strings.

    Attributes:
        targets: What is predicted, as a task has it, (n, ...). None: `read` gives it with the image, because a target a
            pixel is as large as the images.
        random: Whether `read` draws from the generators of torch, numpy or Python. It is then called with these seeded
            by (seed, step), so that a batch is still a function of both.
    """

    targets: Tensor | None = None
    random: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abstractmethod
    def read(self, index: int) -> Any:
        """Read one example.

        Args:
            index: Its number, from 0.

        Returns:
            The image, an array or a tensor (height, width, channels), all of one size: uint8, or float32 on the same
            scale of 0 to 255. Where `targets` is None, a pair of the image and its target.

        Raises:
            InputError: If it cannot be read; the message names the file.
        """

    def name(self, index: int) -> str:
        """Return what messages call an example.

        Args:
            index: Its number, from 0.
        """
        return f"image {index}"


class InMemory(Source):
    """Images in host memory as a source, so that data.residence=stream holds for every data set.

    Args:
        images: uint8 (n, height, width, channels).
        targets: (n, ...).
    """

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        self.images, self.targets = images.cpu(), targets.cpu()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def read(self, index: int) -> Tensor:
        """Return one image, (height, width, channels)."""
        return self.images[index]


class Joined(Source):
    """Sources one after the other.

    Args:
        sources: At least one. All have targets in memory, or none has.
    """

    def __init__(self, *sources: Source) -> None:
        targets = [source.targets for source in sources]
        self.sources, self.random = sources, any(source.random for source in sources)
        self.targets = None if any(t is None for t in targets) else torch.cat([t for t in targets if t is not None])

    def __len__(self) -> int:
        """Return the number of examples in all."""
        return sum(map(len, self.sources))

    def read(self, index: int) -> Any:
        """Read one example from the source that has it."""
        source, index = self._place(index)
        return source.read(index)

    def name(self, index: int) -> str:
        """Return what the source that has it calls an example."""
        source, index = self._place(index)
        return source.name(index)

    def _place(self, index: int) -> tuple[Source, int]:
        for source in self.sources:
            if index < len(source):
                return source, index
            index -= len(source)
        raise IndexError(index)


class Resized(Source):
    """A source whose images have another size.

    Args:
        source: The images.
        side: Pixels a side.
    """

    def __init__(self, source: Source, side: int) -> None:
        self.source, self.side, self.random, self.targets = source, side, source.random, source.targets

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.source)

    def read(self, index: int) -> Any:
        """Read one example and resize it, with a target a pixel too."""
        found = self.source.read(index)
        image, target = found if self.targets is None else (found, None)
        resized = resize(torch.as_tensor(np.array(image))[None], self.side)[0]
        return resized if target is None else (resized, resize_targets(torch.as_tensor(target)[None], self.side)[0])

    def name(self, index: int) -> str:
        """Return what messages call an example."""
        return self.source.name(index)


def resize(images: Tensor, side: int) -> Tensor:
    """Resize images, bilinear with antialiasing.

    Args:
        images: (n, height, width, channels), uint8, or float32 from 0 to 255.
        side: Pixels a side.

    Returns:
        (n, side, side, channels), of the same type.
    """
    x = functional.interpolate(
        images.permute(0, 3, 1, 2).float(), (side, side), mode="bilinear", antialias=True
    ).permute(0, 2, 3, 1)
    return x.contiguous() if images.is_floating_point() else x.round().clamp(0, 255).to(torch.uint8).contiguous()


def resize_targets(targets: Tensor, side: int) -> Tensor:
    """Resize targets of a number a pixel to the nearest pixel; other targets stay as they are.

    Args:
        targets: (n, height, width), or (n, ...) with other targets.
        side: Pixels a side.
    """
    if targets.dim() != 3:
        return targets
    return functional.interpolate(targets[:, None].double(), (side, side), mode="nearest")[:, 0].to(targets.dtype)


class Streamed:
    """Some examples of a source, in an order.

    Args:
        source: The examples.
        workers: Number of processes that read; 0 reads in this process.
        indices: int64 (n,), which examples; None: all.
        shape: (height, width, channels) of every image; None: of the first one, which is read.
    """

    def __init__(
        self,
        source: Source,
        workers: int,
        indices: Tensor | None = None,
        shape: tuple[int, ...] | None = None,
    ) -> None:
        self.source, self.workers, self._shape = source, workers, shape
        self.indices = torch.arange(len(source)) if indices is None else indices

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.indices)

    @property
    def labels(self) -> Tensor | None:
        """Their targets, (n, ...); None if these are read with the images."""
        return None if self.source.targets is None else self.source.targets[self.indices]

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of every image."""
        if self._shape is None:
            self._shape = tuple(self.few(1)[0].shape[1:])
        return self._shape

    def take(self, chosen: Tensor) -> "Streamed":
        """Return some of the examples.

        Args:
            chosen: Their positions, or a mask.
        """
        return Streamed(self.source, self.workers, self.indices[chosen.cpu()], self.shape)

    def resized(self, side: int) -> "Streamed":
        """Return the same examples in another size.

        Args:
            side: Pixels a side.
        """
        return Streamed(Resized(self.source, side), self.workers, self.indices)

    def few(self, number: int) -> tuple[Tensor, Tensor]:
        """Read the first examples in this process.

        Args:
            number: How many, if there are so many.

        Returns:
            Images and targets, as in `read`.
        """
        with contextlib.closing(self.read(iter([torch.arange(min(number, self.size))]), workers=0)) as reader:
            return next(reader)

    def read(
        self,
        order: Iterable[Tensor],
        seed: Callable[[int], int] | None = None,
        pin: bool = False,
        workers: int | None = None,
    ) -> "Reader":
        """Return the examples in batches, which are read ahead.

        Args:
            order: The positions of each batch, int64, from 0 to `size`. It may be endless.
            seed: From the number of a batch to the seed of what its reading draws. None: an image always gets the same.
            pin: Whether batches come in page-locked memory, so that a copy to a GPU need not wait.
            workers: Number of processes; None: as given.

        Returns:
            An iterator over pairs of images (batch, height, width, channels) and targets (batch, ...).
        """
        return Reader(self, order, seed, pin, self.workers if workers is None else workers)

    def decoded(self) -> tuple[Tensor, Tensor]:
        """Read all examples. The processes of the stream share the work.

        Returns:
            Images, (n, height, width, channels), and targets, (n, ...).
        """
        images, targets, start = torch.empty(0), [], 0
        with contextlib.closing(self.read(torch.arange(self.size).split(PIECE))) as reader:
            for pixels, some in reader:
                if start == 0:
                    images = torch.empty((self.size, *pixels.shape[1:]), dtype=pixels.dtype)
                if pixels.dtype != images.dtype:
                    images = images.float()
                images[start : start + len(pixels)] = pixels
                start += len(pixels)
                targets.append(some)
        return images, _one_shape(targets)

    def read_targets(self) -> Tensor:
        """Read all examples and return their targets alone, (n, ...)."""
        with contextlib.closing(self.read(torch.arange(self.size).split(PIECE))) as reader:
            return _one_shape([targets for _, targets in reader])


def _one_shape(targets: Sequence[Tensor]) -> Tensor:
    """The targets of several batches."""
    for some in targets:
        if some.shape[1:] != targets[0].shape[1:]:
            raise InputError(SHAPES.format(*(tuple(t.shape[1:]) for t in (some, targets[0]))))
    return torch.cat([*targets])


class Reader:
    """Batches of a stream, read ahead by processes of their own. At most `workers * 2 + 1` batches are in memory.

    The processes end with `close`, with this object, and with this process, however it ends.

    Args:
        examples: What is read.
        order: The positions of each batch.
        seed: From the number of a batch to a seed, or None.
        pin: Whether batches come in page-locked memory.
        workers: Number of processes; 0 reads in this process when a batch is asked for.
    """

    def __init__(
        self,
        examples: Streamed,
        order: Iterable[Tensor],
        seed: Callable[[int], int] | None,
        pin: bool,
        workers: int,
    ) -> None:
        self.examples, self._positions = examples, iter(order)
        self._seed = seed
        self._chosen: list[Tensor] = []  # what was asked for and has not come yet
        with warnings.catch_warnings():  # data.workers may be above the number of cores
            warnings.filterwarnings("ignore", message="This DataLoader will create")
            with _undisturbed():
                self._iterator: Any = iter(self._loader(examples, pin, workers))
        self._end = Finalize(self, _end_workers, (self._iterator,), exitpriority=10)  # only in the process that made it
        _open.add(self)

    def _loader(self, examples: Streamed, pin: bool, workers: int) -> Any:
        return DataLoader(
            _Reads(examples.source, examples._shape),
            batch_sampler=self._keys(),
            collate_fn=_same,
            num_workers=workers,
            prefetch_factor=PREFETCH if workers else None,
            pin_memory=pin,
            worker_init_fn=_begin,
            generator=torch.Generator().manual_seed(0),  # else it draws from torch's global one
        )

    def __iter__(self) -> "Reader":
        """Return itself."""
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        """Return the next batch.

        Raises:
            InputError: If an example cannot be read, or has another size than the first one.
            Lost: If a worker process was ended.
        """
        try:
            found = next(self._iterator)
        except (RuntimeError, OSError, EOFError) as error:  # by the moment at which the process ends
            code = _ended(getattr(self._iterator, "_workers", []))
            self.close()
            if code is None:
                raise
            raise Lost(f"a process that reads images {_how(code)}; data.workers=N sets their number", 1) from error
        except BaseException:
            self.close()
            raise
        if isinstance(found, _Failure):
            self.close()
            raise InputError(found.text) from RuntimeError(found.trace)
        images, targets = found
        chosen = self._chosen.pop(0)
        if targets is None:
            assert self.examples.source.targets is not None
            targets = self.examples.source.targets[chosen]
        return images, targets

    def close(self) -> None:
        """End the processes. The rest is not read."""
        self._iterator = iter(())
        self._end()
        _open.discard(self)

    def _keys(self) -> Iterator[list[Any]]:
        """What the processes get for each batch: indices of the source, with seeds where it draws."""
        for number, positions in enumerate(self._positions):
            chosen = self.examples.indices[positions]
            self._chosen.append(chosen)
            indices = chosen.tolist()
            if not self.examples.source.random:
                yield indices
            elif self._seed is None:
                yield [(i, seed_of(0, "read", i)) for i in indices]
            else:
                seed = self._seed(number)
                yield [(i, seed_of(seed, "read", k)) for k, i in enumerate(indices)]


class _Failure(NamedTuple):
    """Why a batch cannot be read: one line, and where in the code."""

    text: str
    trace: str


class _Reads(Dataset[Any]):
    """Reads batches of a source; runs in the worker processes.

    Args:
        source: The examples.
        shape: Of every image; None: that of the first one of each batch.
    """

    def __init__(self, source: Source, shape: tuple[int, ...] | None) -> None:
        self.source, self.shape = source, shape

    def __getitems__(self, keys: Sequence[Any]) -> Any:
        """Return images and targets of a batch, or why there are none. Targets are None if the source has them."""
        images: list[np.ndarray] = []
        targets: list[Tensor] = []
        for key in keys:
            index, seed = key if self.source.random else (key, None)
            try:
                found = self._read(index, seed)
                image, target = found if self.source.targets is None else (found, 0)
                images.append(self._checked(index, np.asarray(image), images, keys))
                targets.append(torch.as_tensor(target))
                if targets[-1].shape != targets[0].shape:
                    shapes = [tuple(t.shape) for t in (targets[-1], targets[0])]
                    raise InputError(f"{self.source.name(index)}: {SHAPES.format(*shapes)}")
            except InputError as error:
                return _Failure(str(error), traceback.format_exc())
            except Exception as error:  # of a user's data set, or of a library that decodes
                text = f"{self.source.name(index)}: cannot be read ({named(error)})"
                return _Failure(text, traceback.format_exc())
        batch = _empty((len(images), *images[0].shape), np.result_type(*{image.dtype for image in images}))
        view = batch.numpy()
        for k, image in enumerate(images):
            view[k] = image
        return batch, None if self.source.targets is not None else torch.stack(targets)

    def _read(self, index: int, seed: int | None) -> Any:
        if seed is None:
            return self.source.read(index)
        with drawing(seed):
            return self.source.read(index)

    def _checked(self, index: int, image: np.ndarray, before: list[np.ndarray], keys: Sequence[Any]) -> np.ndarray:
        shape = self.shape or (before[0].shape if before else image.shape)
        if image.ndim != 3 or image.shape != tuple(shape):
            sizes = ("x".join(map(str, s)) for s in (image.shape, shape))
            raise InputError(
                "{}: is {} (height, width, channels), the first image is {}; all must have one size".format(
                    self.source.name(index), *sizes
                )
            )
        if image.dtype not in (np.uint8, np.float32):
            raise InputError(f"{self.source.name(index)}: has pixels of type {image.dtype}; must be uint8")
        return image


@contextlib.contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Return a context in which torch, numpy and Python draw from this seed; then their states are as before.

    Args:
        seed: Of 63 bits.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would start CUDA in a worker
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _empty(shape: tuple[int, ...], kind: np.dtype) -> Tensor:
    """A tensor for a batch; in a worker in shared memory, where the main process finds it without a copy."""
    dtype = torch.uint8 if kind == np.uint8 else torch.float32
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = torch.UntypedStorage._new_shared(int(np.prod(shape)) * dtype.itemsize)
    empty: Any = torch.empty(0, dtype=dtype)
    return empty.set_(storage, 0, shape)


def _same(batch: Any) -> Any:
    return batch


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Start processes in which no signal runs a handler of this one.

    torch sets a handler for SIGCHLD that raises in the middle of anything; `Reader` looks for lost workers itself.
    """
    before = signal.getsignal(signal.SIGCHLD)
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_PARENT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGCHLD, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)


def _begin(worker: int) -> None:
    """Set signals in a worker: those that end a run are left to its main process, whose end is this one's too.

    Without the last, the workers of a killed run would keep its folder locked for some seconds.
    """
    for number in LEFT_TO_PARENT:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_PARENT)
    with contextlib.suppress(AttributeError):  # Linux has it
        torch.multiprocessing._prctl_pr_set_pdeathsig(signal.SIGKILL)  # type: ignore[attr-defined]


def _end_workers(iterator: Any) -> None:
    """Ask the processes of a loader to end and wait; one that takes too long is killed."""
    if hasattr(iterator, "_shutdown_workers"):  # torch has no public way; it would wait for the last reference
        iterator._shutdown_workers()
    for worker in getattr(iterator, "_workers", []):
        if worker.is_alive():
            worker.kill()
            worker.join()


def _ended(workers: Sequence[Any]) -> int | None:
    """The exit code of a process that has ended, or ends within five seconds; None if there is none."""
    wait([worker.sentinel for worker in workers], timeout=5.0)  # a busy machine takes its time
    return next((worker.exitcode for worker in workers if not worker.is_alive()), None)


def _how(code: int) -> str:
    """How a process has ended, from its exit code."""
    if code >= 0:
        return f"has ended with exit code {code}"
    reason = " (memory ran out?)" if -code == signal.SIGKILL else ""
    reason = " (the shared memory, /dev/shm, is full?)" if -code == signal.SIGBUS else reason
    return f"was ended by {signal.Signals(-code).name}{reason}"


@atexit.register
def _close_all() -> None:
    """End all workers while torch can still ask them to."""
    for reader in list(_open):
        reader.close()
