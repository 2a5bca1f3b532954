"""Commands as a user types them, in this process."""

import contextlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from hydra.core.global_hydra import GlobalHydra

from oneshot.cli import main
from oneshot.cli.conf import spoken


def call(command: str, *words: str) -> int | str | None:
    """Run a command in this process and folder; returns its exit code.

    A search has no controls unless the words give it some: those of the default take as long as a tiny search.
    """
    if command == "search" and not any(word.startswith(("-", "controls=")) for word in words):
        words = (*words, "controls=0")
    GlobalHydra.instance().clear()
    before = [*sys.path]
    try:
        with mock.patch.object(sys, "argv", ["oneshot", command, *words]):
            main.main()
    except SystemExit as end:
        return end.code
    finally:
        sys.path[:] = before
    return 0


def run_all(folder: Path, jobs: Iterable[tuple[str, Sequence[str]]]) -> None:
    """These commands with these words, one after the other, in this folder."""
    with contextlib.chdir(folder):
        for command, words in jobs:
            code: Any = call(command, *words)
            assert code == 0, (command, words, code)


def is_first_line(command: str, out: str) -> bool:
    """Whether a command has printed no more than the line that says what it does, and lines on its data."""
    first, *others = out.splitlines() or [""]
    return not out or (first.startswith(f"{spoken(command)}: ") and all(line.startswith("data: ") for line in others))
