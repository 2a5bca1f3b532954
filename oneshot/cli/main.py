"""The command `oneshot`: `oneshot COMMAND [SETTING=VALUE ...]`, `oneshot --help`, `oneshot --version`."""

import ast
import sys
from pathlib import Path

from .. import __version__
from ..errors import unknown, visible
from .conf import COMMANDS, PACKAGE, spoken

HELP = ("--help", "-h", "help")


def main() -> None:
    """Run what the command line asks for. A failure ends the process with an exit code of faults.py."""
    first, *words = sys.argv[1:] or ["--help"]
    if first in HELP:
        print(overview())
    elif first == "--version":
        print(f"oneshot {__version__}")
    else:
        run(first, words)


def script(path: str, words: list[str]) -> None:
    """Run the command that a file of scripts/ is named after.

    The folder of the file is removed from the import path, so that its files cannot hide a module of the user's.

    Args:
        path: Path of the file.
        words: The words of the command line.
    """
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(path).resolve().parent]
    run(Path(path).stem, words)


def run(name: str, words: list[str]) -> None:
    """Run a command.

    Args:
        name: The command as it was typed.
        words: The words that follow it.
    """
    command = name.replace("-", "_")
    if command not in COMMANDS:
        print(f"error: {visible(str(unknown('command', name, map(spoken, COMMANDS))))}", file=sys.stderr)
        sys.exit(2)
    if "--version" in words:
        return print(f"oneshot {__version__}")
    from .launch import launch  # here: it imports Hydra, which takes longer than an answer above

    launch(command, words)


def overview() -> str:
    """Return what `oneshot --help` prints: each command with the first line of its module's docstring."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {spoken(command):{width}}{_first_line(command)}" for command in COMMANDS]
    return "\n".join(
        [
            "usage  oneshot COMMAND [SETTING=VALUE ...]",
            "",
            *lines,
            "",
            "  oneshot COMMAND --help    its settings",
            "  oneshot --version         the version",
        ]
    )


def _first_line(command: str) -> str:
    from ..runs.files import read_given  # here: it imports a parser of YAML

    source = read_given(PACKAGE / "cli" / "commands" / f"{command}.py")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
