"""Compare architects, strategies, a random and the largest architecture with one budget.

Every method searches with every seed, each in a process of its own. What was found is looked up in a table, or trained.
At the end a table and a verdict on each method say whether its search has helped.

Examples:
    oneshot compare 'methods=[darts,evolution,random,largest]' budget=seconds:120 seeds=10
    oneshot compare experiment=nb201_cifar10 methods=all budget=seconds:300 jobs=2 out=FOLDER
    oneshot compare 'methods=[tpe,evolution]' space=nasbench201 truth=table estimator=tabular seeds=100
    oneshot compare 'methods=[darts,random]' 'recipes=[published,modern]'
"""

import json
import os
import sys

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from ... import plots
from ...errors import InputError
from ...runs.files import names, remove_folder
from ...runs.folder import STATUS, Run
from ...runs.held import LOCK
from ...runs.settings import CONFIG
from ..comparison import settings
from ..comparison.lengths import LENGTHS
from ..comparison.methods import PILOTS, STRATEGY
from ..comparison.run import Comparison, JobsFailed
from ..folders import FREE, run_folder
from ..objects import prepare, space_and_data
from ..screen import say

FREELY = (*FREE, "methods", "seeds", "jobs", "recipes", "truth")  # may differ when a comparison continues

BEFORE_JOBS = {CONFIG, STATUS, LOCK, LENGTHS, PILOTS}  # what the folder holds before its first job


def main(config: DictConfig) -> None:
    """Run all jobs, write tables and pictures and show the tables."""
    console = Console()
    prepare(config)
    found = settings.read(config)
    space, data = space_and_data(config, console)
    path = run_folder(config, "compare")
    comparison = Comparison(config, found, space, data, path, console)
    new = not os.path.lexists(path)
    try:
        with Run(path, OmegaConf.to_yaml(config, resolve=True), config.resume, FREELY) as run:
            rows = comparison.run(run)
            run.write("results.json", json.dumps(rows, indent=2) + "\n")
            text, figures = comparison.judge(rows)
            run.write("table.md", text)
            written = [file for name, figure in figures.items() for file in plots.save(figure, run.path / name)]
            say(console, [text, f"written to {path}: results.json, table.md{''.join(f', {p.name}' for p in written)}"])
            comparison.check_failures()
            searches = [row for row in rows if row["kind"] == STRATEGY] if comparison.tabular else []
            run.finish({"jobs": len(rows), **({"searches": searches} if searches else {})})
    except InputError:
        if new and path.is_dir() and set(names(path)) <= BEFORE_JOBS:  # so that the corrected command may take it
            remove_folder(path)
        raise
    except JobsFailed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
