"""Write the tables of docs/lightning.md from the list in tests/helpers/habits.py, of which each line is a test."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.habits import page  # noqa: E402

if __name__ == "__main__":
    path = ROOT / "docs" / "lightning.md"
    path.write_text(page(path.read_text()))
