"""Time commands on a shared machine. They take turns, so that other programs slow all of them alike.

Example: python scripts/turns.py commands.txt --slice 20 --out turns
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from oneshot.cli.screen import say
from oneshot.errors import InputError, check_integer
from oneshot.runs.files import new_folder, write_text

PATIENCE = 60.0  # seconds that a process may take to end


def main() -> None:
    """Read the command line, run the commands in turns and show the time of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", type=Path, help="a file with one command a line")
    parser.add_argument("--slice", type=int, default=20, help="seconds of a turn (default: 20)")
    parser.add_argument("--out", type=Path, required=True, help="a new folder for what they print")
    given = parser.parse_args()
    try:
        check_integer("--slice", given.slice, 1, 3600)
        commands, folder = read_commands(given.commands), new_folder(given.out)
    except InputError as error:
        parser.error(str(error))
    console = Console()
    turns = [Turns(command, folder / f"{number}.log") for number, command in enumerate(commands)]
    try:
        while waiting := [turn for turn in turns if turn.code is None]:
            for turn in waiting:
                turn.take(given.slice)
    except InputError as error:
        parser.error(str(error))
    finally:
        for turn in turns:
            turn.end()
    rows = [turn.row() for turn in turns]
    write_text(folder / "result.json", json.dumps(rows, indent=2) + "\n")
    table = Table("seconds", "of CPU", "exit code", "command")
    for row in rows:
        table.add_row(f"{row['seconds']:.0f}", f"{row['cpu_seconds']:.0f}", str(row["code"]), str(row["command"]))
    console.print(table)
    say(console, [f"written to {folder}"])
    sys.exit(1 if any(turn.code for turn in turns) else 0)


def read_commands(path: Path) -> list[list[str]]:
    """Return the words of each line, without empty lines and without comments (#)."""
    try:
        lines = [shlex.split(line, comments=True) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: a line cannot be split ({error})") from None
    if not any(lines):
        raise InputError(f"{path}: holds no command")
    return [line for line in lines if line]


class Turns:
    """A command that runs in its turns and is stopped (SIGSTOP) between them. Counts the seconds in which it runs."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command, self.log = command, log
        self.process: subprocess.Popen[bytes] | None = None
        self.seconds = self.cpu_seconds = 0.0
        self.code: int | None = None

    def take(self, seconds: float) -> None:
        """Run for so many seconds, or until the command ends."""
        start = time.monotonic()
        if self.process is None:
            self.process = self._start()
        else:
            os.killpg(self.process.pid, signal.SIGCONT)
        while time.monotonic() - start < seconds and not self._ended():
            time.sleep(0.01)
        if self.code is None:
            os.killpg(self.process.pid, signal.SIGSTOP)
        self.seconds += time.monotonic() - start

    def end(self) -> None:
        """Ask the command to end, if it has not."""
        if self.process is None or self.code is not None:
            return
        for number in (signal.SIGTERM, signal.SIGCONT):
            os.killpg(self.process.pid, number)
        patience = time.monotonic() + PATIENCE
        while not self._ended():
            if time.monotonic() > patience:
                os.killpg(self.process.pid, signal.SIGKILL)
            time.sleep(0.01)

    def row(self) -> dict[str, object]:
        clocks = {"seconds": round(self.seconds, 3), "cpu_seconds": round(self.cpu_seconds, 3)}
        return {"command": shlex.join(self.command), **clocks, "code": self.code}

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self.log, "wb") as log:
            pipes = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            try:
                return subprocess.Popen(self.command, start_new_session=True, **pipes)  # type: ignore[call-overload]
            except OSError as error:
                raise InputError(f"{self.command[0]}: cannot be started ({error.strerror})") from None

    def _ended(self) -> bool:
        assert self.process
        done, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if done:
            self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu_seconds = usage.ru_utime + usage.ru_stime
        return bool(done)


if __name__ == "__main__":
    main()
