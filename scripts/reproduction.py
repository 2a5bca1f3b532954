"""Search NAS-Bench-201 with every method under one protocol, and print what the table says of each found cell.

    python scripts/reproduction.py source=FOLDER_OF_CIFAR10 out=outputs/reproduction jobs=2
    python scripts/reproduction.py out=outputs/reproduction methods=darts,drnas seeds=0,1,2

The protocol is conf/experiment/nb201_reproduction.yaml. A job is `oneshot search`; a finished one is read, and one that
was cut off continues. Without `source` nothing is searched, and the table has the jobs that have finished. Seconds are
CPU seconds of the process. Memory is the most that autograd keeps in a step. Skips are those of the found cell; the
gap is the accuracy of the supernet minus that of the found cell inside it. A row of random cells is the mean over the
whole table.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch.optim import SGD

from oneshot.architects import Step
from oneshot.cli.benchmark.profiling import Saved
from oneshot.cli.composition import configuration
from oneshot.cli.conf import choices
from oneshot.cli.objects import architect_for, make
from oneshot.fitting.updates import Components, architecture_step, joint_step, weight_step
from oneshot.tables import published
from oneshot.tables.published import LONG, SHORT, TEST_ACCURACY, VALIDATION_RANK

EXPERIMENT = "experiment=nb201_reproduction"
PUBLISHED = {  # test accuracy after 200 epochs, CIFAR-10, as the papers report it
    "darts": "54.30",
    "darts_second": "54.30",
    "enas": "53.89",
    "snas": "92.77",
    "gdas": "93.61",
    "setn": "87.64",
    "pc_darts": "93.41",
    "drnas": "94.36",
    "beta_darts": "94.36",
    "darts_minus": "93.80",
    "gaea": "94.10",
    "lambda_darts": "94.36",
    "fairnas": "93.23",
}
SKIP = "skip_connect"


def search(method: str, seed: int, source: str, out: Path) -> None:
    """Run a job that has not finished; its output is kept beside its folder."""
    folder = out / method / str(seed)
    if (folder / "result.json").is_file():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    words = [EXPERIMENT, f"architect={method}", f"seed={seed}", f"data.source={source}", "logger=none", f"out={folder}"]
    with open(folder.with_suffix(".log"), "a") as log:
        code = subprocess.run([sys.executable, "-m", "oneshot", "search", *words], stdout=log, stderr=log).returncode
    print(time.strftime("%H:%M:%S"), method, seed, "finished" if code == 0 else f"exit code {code}", flush=True)


def memory(method: str) -> int:
    """The most bytes that autograd keeps in a step of the protocol."""
    config = configuration("search", [EXPERIMENT, f"architect={method}"])
    side = config.data.image_size or 32
    space = make(config.space, image_shape=(3, side, side), classes=10)
    architect = architect_for(config, space, torch.nn.functional.cross_entropy)
    supernet = space.supernet().to(memory_format=torch.channels_last)
    moving = [architect.optimizer(list(architect.parameters()))] if architect.optimizer else []
    weights = SGD(supernet.parameters(), lr=0.01, momentum=0.9)
    parts = Components(supernet, architect, torch.nn.functional.cross_entropy, weights, moving)
    n = config.data.batch_size
    train, valid = ((torch.randn(n, 3, side, side), torch.randint(10, (n,))) for _ in range(2))
    joint = instantiate(config.schedule).joint
    most = 0
    for kind in ("joint",) if joint else ("weight", "architecture") if moving else ("weight",):
        with Saved(supernet.parameters()) as saved:
            if kind == "architecture":
                architecture_step(parts, train, valid, Step(0, 1, 4))
            elif joint:
                joint_step(parts, train, Step(0, 1, 4))
            else:
                weight_step(parts, train, Step(0, 1, 4), valid)
        most = max(most, saved.peak)
    return most


def read(folder: Path) -> dict[str, Any] | None:
    """What a finished job found, and the rank of its cell at quarters of the search."""
    if not (folder / "result.json").is_file():
        return None
    result = json.loads((folder / "result.json").read_text())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ranks = [row[VALIDATION_RANK] for row in rows if VALIDATION_RANK in row]
    quarters = [ranks[len(ranks) * k // 4 - 1] for k in range(1, 5)] if len(ranks) > 3 else []
    return result | {"quarters": quarters, "skips": list(result["architecture"].values()).count(SKIP)}


def row(method: str, found: list[dict[str, Any]]) -> str:
    """A row of the table: means over the seeds; the test accuracy of each."""

    def mean(key: str, digits: int = 0) -> str:
        return f"{statistics.mean(one[key] for one in found):,.{digits}f}"

    quarters = [f"{statistics.mean(ranks):,.0f}" for ranks in zip(*(one["quarters"] for one in found), strict=False)]
    marks = ", ".join(quarters)
    gap = statistics.mean(one["valid_accuracy"] - one["found_valid_accuracy"] for one in found)
    tests = ", ".join(f"{100 * one[TEST_ACCURACY]:.2f}" for one in found)
    cells = [
        method,
        tests,
        PUBLISHED.get(method, ""),
        mean("skips", 1),
        mean(VALIDATION_RANK),
        marks,
        f"{100 * gap:.1f}",
        mean("process_seconds"),
        f"{memory(method) / 1e6:,.0f}",
        ", ".join(found[0].get("techniques", ())),
    ]
    return f"| {' | '.join(cells)} |"


def random_row() -> str:
    """The mean over all cells of the space."""
    table = published(
        make(configuration("search", [EXPERIMENT]).space, image_shape=(3, 32, 32), classes=10).fingerprint
    )
    assert table is not None
    accuracy = table.percent[f"cifar10-test-{LONG}"].mean()
    middle = (len(table.ranks[f"cifar10-val-{SHORT}"]) + 1) / 2
    skips = len(table.shape) / table.shape[0]
    cells = ["random cell, mean of all", f"{accuracy:.2f}", "", f"{skips:.1f}", f"{middle:,.0f}", *[""] * 5]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Search what is missing and print the table."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    out = Path(given.get("out", "outputs/reproduction"))
    methods = given["methods"].split(",") if "methods" in given else sorted(choices("architect"))
    seeds = [int(seed) for seed in given.get("seeds", "0").split(",")]
    if "source" in given:
        os.environ.setdefault("ONESHOT_PICTURES", "none")
        with ThreadPoolExecutor(int(given.get("jobs", 1))) as pool:
            for seed in seeds:
                for method in methods:
                    pool.submit(search, method, seed, given["source"], out)
    heads = ["method", f"test, {LONG} epochs, %", "published, %", "skips", f"rank, {SHORT} epochs", "rank at quarters"]
    heads += ["gap, points", "CPU s", "memory, MB", "parts"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for method in methods:
        folders = sorted((out / method).glob("[0-9]*"))
        if found := [one for folder in folders if folder.is_dir() and (one := read(folder))]:
            print(row(method, found), flush=True)
    print(random_row())


if __name__ == "__main__":
    main()
