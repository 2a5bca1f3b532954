"""Measure the streaming of images from JPEG files against a plain torch DataLoader, in one interleaved run.

    python scripts/streaming.py
    python scripts/streaming.py images=4096 workers=2 rounds=7

Makes a folder of JPEG files, natural-looking (random fields with the spectrum of photographs, in colour), and prints
images a second of three: `Part.batch` of a streamed part, and a plain loader with the same decoding, number of workers
and batch size, with the same augmentation of each batch and with none. Medians of all rounds, ratios of the medians,
and the largest memory of this process and of its workers (their own pages, and what they share).
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from oneshot.data import Augmentation, ImageData, Source, Splits

SETTINGS = {"images": 2048, "workers": 2, "rounds": 5, "batches": 24, "batch": 64, "side": 224, "threads": 1}
CLASSES = 10


class Jpegs(Source):
    """Files of a folder, decoded when they are read."""

    def __init__(self, folder: Path) -> None:
        self.paths = np.array(sorted(map(str, folder.glob("*.jpg"))))
        self.targets = torch.arange(len(self.paths)) % CLASSES

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> np.ndarray:
        with Image.open(self.paths[index]) as file:
            return np.asarray(file.convert("RGB"))


class Plain(Dataset[Any]):
    """The same files as anybody's data set."""

    def __init__(self, source: Jpegs) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.array(self.source.read(index))), int(self.source.targets[index])


def make(folder: Path, number: int, side: int) -> None:
    """Write JPEG files: random phases with amplitudes that fall as 1 / frequency, as those of photographs do."""
    rng = np.random.default_rng(0)
    down, right = np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij")
    amplitude = 1 / np.maximum(np.hypot(down, right), 1 / side)
    for i in range(number):
        waves = rng.normal(size=(2, 3, *amplitude.shape))
        field = np.fft.irfft2((waves[0] + 1j * waves[1]) * amplitude, s=(side, side), axes=(1, 2))
        field = field + 1.5 * field.mean(0)  # channels of photographs go together
        pixels = 128 + 50 * field / field.std()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).save(
            folder / f"{i:06}.jpg", quality=90
        )


def plain(source: Jpegs, batch: int, workers: int) -> Iterator[Any]:
    """The batches of a plain loader, pass after pass, as in any training."""
    loader = DataLoader(
        Plain(source), batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=True
    )
    while True:
        yield from loader


def memory() -> int:
    """Bytes of this process and of its children: proportional set size, in which shared pages count once."""
    total = 0
    here = os.getpid()
    children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
    for process in (here, *children):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += 1024 * int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return total


def seconds(batches: int, take: Callable[[], Any]) -> float:
    """The time of so many batches."""
    start = time.perf_counter()
    for _ in range(batches):
        take()
    return time.perf_counter() - start


def main() -> None:
    """Make the files, measure and print."""
    words = dict(word.split("=") for word in sys.argv[1:])
    given = SETTINGS | {name: int(value) for name, value in words.items()}
    batch, workers, batches = given["batch"], given["workers"], given["batches"]
    torch.set_num_threads(given["threads"])
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), given["images"], given["side"])
        size = statistics.mean(path.stat().st_size for path in Path(name).iterdir())
        source = Jpegs(Path(name))
        augmentation = Augmentation([0.5] * 3, [0.25] * 3, pad=4, flip=True)
        splits = Splits(tuple(map(str, range(CLASSES))), lambda: source, lambda: source)
        data = ImageData(splits, batch, augmentation, residence="stream", workers=workers)
        print(f"{len(source)} JPEG files of {given['side']} pixels, {size / 1e3:.0f} kB each; {given}")
        part, draws, step = data.train(), torch.Generator().manual_seed(0), iter(range(10**9))

        def streamed() -> Any:
            return part.batch(0, next(step))

        rates: dict[str, list[float]] = {"streamed": [], "plain, augmented": [], "plain, bytes only": []}
        peaks = dict.fromkeys(rates, 0)
        for round in range(given["rounds"] + 1):  # the first warms up
            for what in rates:  # each alone: its workers end before the next begins
                loader = plain(source, batch, workers)
                takes: dict[str, Callable[[], Any]] = {
                    "streamed": streamed,
                    "plain, augmented": lambda loader=loader: augmentation(next(loader)[0], draws),
                    "plain, bytes only": lambda loader=loader: next(loader),
                }
                seconds(2 * workers + 1, takes[what])  # what is read ahead at the start
                taken = seconds(batches, takes[what])
                peaks[what] = max(peaks[what], memory())
                if round:
                    rates[what].append(batches * batch / taken)
                part.close()
                loader.close()
        middle = {what: statistics.median(found) for what, found in rates.items()}
        for what, found in rates.items():
            low, high = min(found), max(found)
            print(f"{what}: {middle[what]:.0f} images/s ({low:.0f} to {high:.0f}), memory {peaks[what] / 1e6:.0f} MB")
        for what in list(middle)[1:]:
            print(f"streamed / {what}: {middle['streamed'] / middle[what]:.2f}")


if __name__ == "__main__":
    main()
