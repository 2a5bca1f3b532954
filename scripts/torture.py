"""Kill runs at random instants, give the same command again, and compare with the uninterrupted run byte for byte.

The stdout of some processes is a pipe that nobody reads after a random instant.

Example: python scripts/torture.py --kills 20 --jobs darts evolution --out FOLDER
"""

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.global_hydra import GlobalHydra
from rich.console import Console
from rich.table import Table

import oneshot.cli.main
from oneshot.cli.screen import say
from oneshot.cli.streams import survive
from oneshot.errors import InputError, check_integer
from oneshot.fitting.checkpoints import is_whole
from oneshot.runs.files import new_folder, write_text

TINY = [
    "threads=1",
    "logger=none",
    "log_every=2",
    "checkpoint.every=3",
    "space.cells=3",
    "space.channels=4",
    "space.nodes=2",
]
DATA = ["data.train_size=256", "data.batch_size=16"]
SEARCH = ["search", *TINY, *DATA, "epochs=4"]
JOBS = {
    **{name: [*SEARCH, f"architect={name}"] for name in ("darts", "snas", "proxyless")},
    "darts_second": [*SEARCH, "architect=darts_second", "epochs=2"],
    "enas": [
        *SEARCH,
        "architect=enas",
        "schedule.warmup_epochs=1",
        "schedule.weight_steps=3",
        "schedule.architecture_steps=4",
    ],
    "logged": [*SEARCH, "architect=darts", "logger=wandb", "logger.mode=offline"],
    "warm_up": [*SEARCH, "architect=darts", "schedule.warmup_epochs=3"],
    "p_darts": [*SEARCH, "architect=p_darts", "epochs=6"],
    "drnas_progressive": [*SEARCH, "architect=drnas_progressive", "epochs=6"],
    "darts_pt": [*SEARCH, "architect=darts_pt", "stages.search=2", "epochs=8"],
    "stopped": [*SEARCH, "architect=oles", "stop=decided", "stop.entropy=null", "stop.epochs=2", "epochs=6"],
    "uniform": [*SEARCH, "architect=uniform", "selection.samples=5", "epochs=8"],
    "path_dropout": [*SEARCH, "architect=path_dropout", "selection.samples=5"],
    "retrain": ["retrain", *TINY, *DATA, "architecture=random", "epochs=6", "drop_path=0.3"],
    "evolution": ["baseline", *TINY, *DATA, "strategy=evolution", "epochs=4", "budget.queries=60"],
    "tree_search": ["baseline", *TINY, *DATA, "strategy=tree_search", "epochs=2", "budget.queries=60"],
    "rank": [
        *["rank", *TINY, *DATA, "epochs=3", "architectures=8", "estimator@reference=training", "reference.epochs=1"],
        *["reference.sizes={cells: 3, channels: 2}"],
    ],
    "compare": [
        *["compare", *TINY, *DATA, "methods=[uniform,evolution,random]", "seeds=1", "epochs=2", "budget=updates:60"],
        *["search_settings=['selection.samples=2']", "queries=8", "retrain_settings=['epochs=1']"],
    ],
    "hyperband": [
        *["baseline", *TINY, "data.train_size=96", "data.batch_size=16", "strategy=hyperband", "estimator=training"],
        *["estimator.sizes={cells: 3, channels: 2}", "estimator.epochs=3", "budget.queries=12"],
    ],
}
SIGNALS = (
    *(signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGTERM),
    *(signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGHUP),
)
ENDED = {signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGUSR1: 143, signal.SIGHUP: 129}
DEAF = 0.3  # share of the processes whose stdout is a pipe that is closed at a random instant
COMPARED = (".safetensors", ".jsonl", "architecture.json", "scores.json", "result.json")
CLOCKS = ("seconds", "peak_memory_bytes")  # endings of the names of numbers in result.json that differ from run to run
LIMIT = 600.0  # seconds that one process may take
EARLY = 0.3  # seconds in which the handlers of signals may not be set yet


class Ended(NamedTuple):
    """How a process ended.

    Args:
        code: Its exit code; negative for a signal.
        sent: The signal that it got while it ran, if any.
        seconds: How long it ran.
    """

    code: int
    sent: int | None
    seconds: float


def main() -> None:
    """Read the command line and run the torture. The exit code is 1 if a run is not equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="signals that end a process, over all jobs")
    parser.add_argument("--jobs", nargs="*", choices=list(JOBS), default=list(JOBS), help="default: all")
    parser.add_argument("--per-run", type=int, default=6, help="most kills of one run")
    parser.add_argument("--other-tmp", default="/dev/shm", help="every second run has its temporary files here")
    parser.add_argument("--seed", type=int, default=0, help="of instants and signals")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    given = parser.parse_args()
    try:
        check_integer("--kills", given.kills, 1, 1_000_000)
        check_integer("--per-run", given.per_run, 1)
        folder = new_folder(given.out)
    except InputError as error:
        parser.error(str(error))
    names, console = given.jobs, Console()
    torture = Torture(given, folder, console)
    for name in names:
        torture.reference(name)
    while sum(torture.kills.values()) < given.kills:
        for name in names:
            if sum(torture.kills.values()) < given.kills:
                torture.run(name)
    result = torture.result()
    write_text(folder / "result.json", json.dumps(result, indent=2) + "\n")
    console.print(torture.table(names))
    say(console, torture.unequal)
    say(
        console,
        [
            f"{result['kills']} kills, {torture.deaf} closed stdouts, {result['runs']} runs, "
            f"{len(result['unequal'])} not equal",
            str(folder),
        ],
    )
    sys.exit(1 if result["unequal"] else 0)


class Torture:
    """Counts the kills and runs of each job, and the runs that came out unequal."""

    def __init__(self, given: argparse.Namespace, folder: Path, console: Console) -> None:
        self.given, self.folder, self.console = given, folder, console
        self.rng = random.Random(given.seed)
        self.seconds: dict[str, float] = {}
        self.kills: Counter[str] = Counter()
        self.signals: Counter[str] = Counter()
        self.runs: Counter[str] = Counter()
        self.deaf = 0
        self.unequal: list[str] = []

    def reference(self, name: str) -> None:
        """Run the job once without a kill."""
        ended = process(JOBS[name], self.folder / "reference" / name, None, None)
        if ended.code:
            raise InputError(f"{name}: ends with code {ended.code} when nobody disturbs it; see {self.folder}")
        self.seconds[name] = ended.seconds
        say(self.console, [f"{name}: {ended.seconds:.1f} s undisturbed"])

    def run(self, name: str) -> None:
        """Run the job, kill it again and again until it finishes, and compare the result."""
        number = sum(self.runs.values())
        out = self.folder / "killed" / f"{name}-{number}"
        tmp = self.given.other_tmp if number % 2 else None
        left = min(self.given.per_run, self.given.kills - sum(self.kills.values()))
        while True:
            delay = self.rng.uniform(0.0, 0.8 * self.seconds[name]) if left else None
            sent = self.rng.choice(SIGNALS)
            deaf = self.rng.uniform(0.0, self.seconds[name]) if self.rng.random() < DEAF else None
            self.deaf += deaf is not None
            ended = process(JOBS[name], out, tmp, None if delay is None else (delay, sent), deaf)
            broken = [str(path) for path in out.rglob("*.ckpt") if not is_whole(path)]
            self.unequal += [f"{path}: not whole" for path in broken]
            if ended.sent is None or ended.code == 0:
                break
            self.kills[name] += 1
            self.signals[signal.Signals(sent).name] += 1
            left -= 1
            early = delay is not None and delay < EARLY  # the handlers of signals may not be set yet
            if ended.code != ENDED.get(sent, -sent) and not (early and ended.code == -sent):
                line = out.with_suffix(".log").read_text(errors="replace").strip().rpartition("\n")[2]
                self.unequal.append(f"{out}: ended with {ended.code} after {signal.Signals(sent).name}: {line[:200]}")
        self.runs[name] += 1
        if ended.code:
            self.unequal.append(f"{out}: ended with code {ended.code}")
        self.unequal += [f"{path}: is left" for path in out.rglob(".*.tmp")]
        different = compare(self.folder / "reference" / name, out)
        self.unequal += [f"{out}: {file}" for file in different]
        say(self.console, [f"{sum(self.kills.values())} kills: {name} {'not equal' if different else 'equal'}"])
        if not different and not ended.code:
            shutil.rmtree(out)

    def result(self) -> dict[str, Any]:
        return {
            "kills": sum(self.kills.values()),
            "runs": sum(self.runs.values()),
            "signals": dict(self.signals),
            "closed_stdouts": self.deaf,
            "jobs": {name: {"kills": self.kills[name], "runs": self.runs[name]} for name in self.seconds},
            "unequal": self.unequal,
        }

    def table(self, names: Sequence[str]) -> Table:
        table = Table("job", "kills", "runs")
        for name in names:
            table.add_row(name, str(self.kills[name]), str(self.runs[name]))
        return table


def process(
    job: Sequence[str], out: Path, tmp: str | None, kill: tuple[float, int] | None, deaf: float | None = None
) -> Ended:
    """Run the command of a job in a fork of this process, which has made the imports.

    Args:
        job: The command and its words.
        out: Folder of the run.
        tmp: Folder for temporary files; None is the usual one.
        kill: (seconds, signal) of a kill, if any.
        deaf: Seconds after which the pipe of its stdout is closed; None lets it write to a log.
    """
    command, *words = job
    importlib.import_module(f"oneshot.cli.commands.{command}")
    start = time.monotonic()
    pipe = os.pipe() if deaf is not None else None
    child = os.fork()
    if child == 0:
        _become([command, *words, f"out={out}"], out.with_suffix(".log"), tmp, pipe)
    if pipe:
        os.close(pipe[1])
    sent = None
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        now = time.monotonic() - start
        if pipe and deaf is not None and (done or now >= deaf):
            os.close(pipe[0])
            pipe = None
        if done:
            return Ended(os.waitstatus_to_exitcode(status), sent, now)
        if kill is not None and sent is None and now >= kill[0]:
            sent = kill[1]
            os.kill(child, sent)
        if now > LIMIT:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.001)


def _become(words: list[str], log: Path, tmp: str | None, pipe: tuple[int, int] | None) -> None:
    """Run the command in the forked process, without anything of the parent."""
    code = 1
    try:
        for number in ENDED:
            signal.signal(number, signal.SIG_DFL)
        log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(pipe[1] if pipe else file, 1)
        os.dup2(file, 2)
        if pipe:
            os.close(pipe[0])
            os.close(pipe[1])
        survive()
        if tmp:
            os.environ["TMPDIR"], tempfile.tempdir = tmp, None
        GlobalHydra.instance().clear()
        sys.argv = ["oneshot", *words]
        oneshot.cli.main.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def compare(reference: Path, killed: Path) -> list[str]:
    """Return the files that the seed determines and that differ, or are missing in one of the folders."""
    names = {
        path.relative_to(folder)
        for folder in (reference, killed)
        for path in folder.rglob("*")
        if path.name.endswith(COMPARED) and not path.name.endswith("timings.jsonl")
    }
    return [str(name) for name in sorted(names) if content(reference / name) != content(killed / name)]


def content(path: Path) -> bytes | None:
    """Return the bytes of a file, without the times and the memory of a result; None if there is no file."""
    if not path.is_file():
        return None
    if path.name != "result.json":
        return path.read_bytes()
    return repr([(k, v) for k, v in json.loads(path.read_text()).items() if not k.endswith(CLOCKS)]).encode()


if __name__ == "__main__":
    main()
