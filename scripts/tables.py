"""Write the package's table of NAS-Bench-201 from two CSV files: accuracies.csv (12 epochs), accuracies200.csv (200).

    python scripts/tables.py FOLDER

Each file has the column `arch` and columns of accuracies in percent, with at most three digits after the point.
"""

import csv
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from oneshot.spaces import NASBench201
from oneshot.tables.published import UNIT

SOURCES = {12: "accuracies.csv", 200: "accuracies200.csv"}
OUT = Path(__file__).resolve().parents[1] / "oneshot" / "tables" / "nasbench201.npz"
SPACE = NASBench201((3, 32, 32), 10)
SHAPE = [len(choice.candidates) for choice in SPACE.choices]
IGNORED = ("index", "arch")


def columns(folder: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each column's name and its values, in the order of the architectures' decisions."""
    for epochs, name in SOURCES.items():
        with open(folder / name, newline="") as file:
            rows = list(csv.DictReader(file))
        found = [SPACE.from_notation(row["arch"]).decisions for row in rows]
        places = np.ravel_multi_index(np.transpose(found), SHAPE)
        if sorted(places) != list(range(np.prod(SHAPE))):
            sys.exit(f"{folder / name}: must hold each architecture once")
        for column in rows[0]:
            if column not in IGNORED:
                values = np.zeros(len(rows), np.int32)
                values[places] = [_thousandths(row[column]) for row in rows]
                yield f"{column}-{epochs}", values


def _thousandths(percent: str) -> int:
    value = UNIT * Decimal(percent)
    if value != int(value):
        sys.exit(f"{percent}: has more digits than the table keeps")
    return int(value)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    arrays: dict[str, Any] = {"shape": np.array(SHAPE), **dict(columns(Path(sys.argv[1])))}
    np.savez_compressed(OUT, **arrays)
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes")
