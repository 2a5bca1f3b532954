"""Measure the streaming of images from JPEG files against a plain torch DataLoader, in one interleaved run.

    python scripts/streaming.py
    python scripts/streaming.py images=4096 workers=2 rounds=7

Makes a folder of JPEG files, natural-looking (random fields with the spectrum of photographs, in colour). Measures
`Part.batch` of a streamed part and a plain loader with the same decoding, number of workers and batch size, both with
the same augmentation of each batch in the main process, and both with none. In turns in each round;
prints images a second (medians of the rounds), the median of the rounds' ratios, and the largest memory of this process
with its workers (shared pages once).
"""

import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
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

    targets: torch.Tensor

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


class Bytes(Augmentation):
    """No augmentation at all: what is left is the streaming."""

    def __call__(self, images: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        return images


def streamed(source: Jpegs, batch: int, workers: int, augmentation: Augmentation) -> Iterator[Any]:
    """The training batches of a part."""
    splits = Splits(tuple(map(str, range(CLASSES))), lambda: source, lambda: source)
    part = ImageData(splits, batch, augmentation, residence="stream", workers=workers).train()
    try:
        for step in count():
            yield part.batch(0, step)
    finally:
        part.close()


def plain(source: Jpegs, batch: int, workers: int, augmentation: Augmentation) -> Iterator[Any]:
    """The batches of a plain loader, pass after pass, as in any training."""
    options: Any = {"shuffle": True, "num_workers": workers, "drop_last": True, "persistent_workers": True}
    loader, draws = DataLoader(Plain(source), batch, **options), torch.Generator().manual_seed(0)
    while True:
        for images, labels in loader:
            yield augmentation(images, draws), labels


def memory() -> int:
    """Bytes of this process and of its children: proportional set size, in which shared pages count once."""
    total = 0
    here = os.getpid()
    children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
    for process in (here, *children):
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        total += 1024 * int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
    return total


def rate(batches: Iterator[Any], number: int, ahead: int) -> tuple[float, int]:
    """Batches a second after the first ones, which were read ahead, and the memory; then the workers end."""
    for _ in range(ahead):
        next(batches)
    start = time.perf_counter()
    for _ in range(number):
        next(batches)
    found = number / (time.perf_counter() - start), memory()
    batches.close()  # type: ignore[attr-defined]
    gc.collect()
    return found


def main() -> None:
    """Make the files, measure and print."""
    given = SETTINGS | {name: int(value) for name, value in (word.split("=") for word in sys.argv[1:])}
    torch.set_num_threads(given["threads"])
    channels = [0.5] * 3, [0.25] * 3
    augmentations = {"augmented": Augmentation(*channels, pad=4, flip=True), "bytes alone": Bytes(*channels)}
    kinds = {"streamed": streamed, "plain loader": plain}
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), given["images"], given["side"])
        size = statistics.mean(path.stat().st_size for path in Path(name).iterdir())
        print(f"{given['images']} JPEG files of {size / 1e3:.0f} kB; {given}")
        source = Jpegs(Path(name))
        for how, augmentation in augmentations.items():
            rates: dict[str, list[float]] = {kind: [] for kind in kinds}
            peaks = dict.fromkeys(kinds, 0)
            for number in range(given["rounds"] + 1):  # the first warms up
                for kind in list(kinds)[:: -1 if number % 2 else 1]:
                    batches = kinds[kind](source, given["batch"], given["workers"], augmentation)
                    found, used = rate(batches, given["batches"], 2 * given["workers"] + 1)
                    peaks[kind] = max(peaks[kind], used)
                    if number:
                        rates[kind].append(found * given["batch"])
            for kind, every in rates.items():
                low, middle, high = min(every), statistics.median(every), max(every)
                print(f"{how}, {kind}: {middle:.0f} images/s ({low:.0f} to {high:.0f}), {peaks[kind] / 1e6:.0f} MB")
            ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
            print(f"{how}, ratio: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
