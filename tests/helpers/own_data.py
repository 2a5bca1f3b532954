"""Data sets as users have them, for tests of data=own."""

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from oneshot.data import Source


def images(n=24, side=4, channels=1, seed=0):
    """uint8 (n, side, side, channels), no two alike, and labels 0, 1, 2, 0, 1, 2, ..."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, side, side, channels), generator=draws, dtype=torch.uint8), torch.arange(n) % 3


class Pairs(Dataset):
    """A map-style data set of these images, with a transform of each."""

    def __init__(self, x, y, transform=lambda image: image):
        self.x, self.y, self.transform = x, y, transform

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.transform(self.x[index]), self.y[index]


class Stream(IterableDataset):
    """The same as an iterable; without an end if `again`."""

    def __init__(self, x, y, again=False):
        self.x, self.y, self.again = x, y, again

    def __iter__(self):
        while True:
            yield from zip(self.x, self.y, strict=True)
            if not self.again:
                return


class Jpegs(Source):
    """JPEG files of a folder, decoded when they are read."""

    def __init__(self, folder):
        self.paths = np.array(sorted(map(str, folder.glob("*.jpg"))))
        self.targets = torch.arange(len(self.paths)) % 3

    def __len__(self):
        return len(self.paths)

    def read(self, index):
        with Image.open(self.paths[index]) as file:
            return np.asarray(file.convert("RGB"))

    def name(self, index):
        return str(self.paths[index])


def small(size=8, train=72, test=24, task="classification"):
    """What a user's function returns: a training and a test set in colour, with targets of a task."""

    def pairs(number, seed):
        x, y = images(number, size, 3, seed)
        if task == "multilabel":
            y = torch.stack([y == 0, y < 2], dim=1).float()
        return Pairs(x, torch.arange(number)[:, None] / 7 if task == "regression" else y)

    return pairs(train, 0), pairs(test, 1)
