"""Tables of accuracies that others have measured for every architecture of a space."""

import io
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from ..architecture import Architecture
from ..runs.files import given

FILES = {"nasbench201:3f6717a72a47": ("NAS-Bench-201", "nasbench201.npz")}  # by the space's fingerprint
SETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}  # of columns -> for readers
UNIT = 1000  # the files hold integers: thousandths of a percent, so that no digit is lost
SHORT, LONG = 12, 200  # epochs; there is validation accuracy after the short training alone
TABLE = "table"  # what was looked up where, in a result
VALIDATION_ACCURACY = f"table_validation_accuracy_{SHORT}_epochs"
VALIDATION_RANK = f"table_validation_rank_{SHORT}_epochs"
TEST_ACCURACY = f"table_test_accuracy_{LONG}_epochs"
TEST_RANK = f"table_test_rank_{LONG}_epochs"

CIFAR = (3, 32, 32)
CIFAR10 = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
OF_CIFAR100 = {"apple", "aquarium_fish", "lawn_mower", "pickup_truck", "sweet_pepper", "willow_tree", "worm"}


class Published:
    """The accuracies of all architectures of a space: a column for each data set, part of it and number of epochs.

    A column is named as `cifar10-val-12`: data set, `val` or `test`, epochs of each training. The rows are in the order
    of the architectures' decisions, the last decision fastest.

    Args:
        name: For readers.
        shape: Number of candidates of each choice.
        columns: Name -> integers (architectures,), thousandths of a percent.

    Attributes:
        percent: Column -> accuracies (architectures,), in percent.
        ranks: Column -> ranks (architectures,); 1 is the best, and equal accuracies share the better rank.
    """

    def __init__(self, name: str, shape: tuple[int, ...], columns: Mapping[str, np.ndarray]) -> None:
        self.name, self.shape = name, shape
        self.percent = {column: values / UNIT for column, values in columns.items()}
        self.ranks = {column: _ranks(values) for column, values in columns.items()}

    def row(self, architecture: Architecture) -> int:
        """Return the row of an architecture of the table's space.

        Args:
            architecture: The architecture.
        """
        row = 0
        for candidates, decision in zip(self.shape, architecture.decisions, strict=True):
            row = candidates * row + decision
        return row


class Lookup:
    """What a published table says of an architecture, for a search whose images it may have been measured on.

    Calling it with an architecture returns the accuracies (shares) and ranks by name; 1 is the best rank.

    Args:
        table: The table.
        dataset: Which columns: `"cifar10"` or `"cifar100"`.
        same: Whether the search has the images of this data set.
    """

    def __init__(self, table: Published, dataset: str, same: bool) -> None:
        self.table, self.dataset, self.same = table, dataset, same

    @property
    def title(self) -> str:
        """Name of the table and of its data set; the images of the search may be others, and the title then says it."""
        cells = f"{self.table.name} ({np.prod(self.table.shape):,} cells)"
        return f"{cells}, {SETS[self.dataset]} table{'' if self.same else ', for orientation'}"

    def __call__(self, architecture: Architecture) -> dict[str, float]:
        row, dataset = self.table.row(architecture), self.dataset
        validation, test = f"{dataset}-val-{SHORT}", f"{dataset}-test-{LONG}"
        return {
            VALIDATION_ACCURACY: float(self.table.percent[validation][row]) / 100,
            VALIDATION_RANK: int(self.table.ranks[validation][row]),
            TEST_ACCURACY: float(self.table.percent[test][row]) / 100,
            TEST_RANK: int(self.table.ranks[test][row]),
        }


@cache
def published(fingerprint: str) -> Published | None:
    """Return the package's table of a space.

    Args:
        fingerprint: Of the space: its choices and candidates must be those of the table.

    Returns:
        The table; None where the package has none for this space.
    """
    if fingerprint not in FILES:
        return None
    name, file = FILES[fingerprint]
    with given(Path(__file__).with_name(file)) as opened:
        content = io.BytesIO(opened.read())
    with np.load(content, allow_pickle=False) as arrays:
        columns = {column: arrays[column] for column in arrays.files}
    return Published(name, tuple(columns.pop("shape").tolist()), columns)


def lookup_for(fingerprint: str, classes: Collection[str], image_shape: tuple[int, ...]) -> Lookup | None:
    """Return what looks up the architectures of a search.

    The search has the images of CIFAR-10 or CIFAR-100, or a part of them, if they have the size of these images and
    the names of their classes. Other searches look into the columns of CIFAR-10, for orientation.

    Args:
        fingerprint: Of the space.
        classes: Names of the classes of the search's images.
        image_shape: (channels, height, width) of an image.

    Returns:
        The function; None where there is no table of the space.
    """
    table = published(fingerprint)
    if table is None:
        return None
    names, sized = {*classes}, tuple(image_shape) == CIFAR
    if sized and len(names) == 100 and names >= OF_CIFAR100:
        return Lookup(table, "cifar100", True)
    return Lookup(table, "cifar10", sized and names == CIFAR10)


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 for the largest value; each rank is 1 more than the number of larger values."""
    return 1 + len(values) - np.searchsorted(np.sort(values), values, side="right")
