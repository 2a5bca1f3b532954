"""Make a page about finished runs.

It shows tables over seeds, curves, fronts, cells, time and memory.
RUN is the folder of a run, a folder above runs, or a shell pattern in quotes.

Usage: oneshot report RUN [RUN ...] [SETTING=VALUE ...]

Examples:
    oneshot report outputs
    oneshot report outputs/search/* outputs/retrain/* out=report
    oneshot report outputs 'group_by=[architect]' against=parameters
"""

import glob
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from ...errors import InputError, printable, unknown
from ...report.content import report
from ...report.grouping import sections
from ...report.measures import COSTS, QUALITIES
from ...report.page import Block, Picture, to_html, to_markdown
from ...report.summaries import folders, read
from ...runs.files import make_folder, whole_folder, write_bytes, write_text
from ...runs.settings import parse_settings
from ..composition import settings_of
from ..conf import CONF, choices
from ..screen import say

PICTURES = "pictures"
OF_RUNS = ("compare", "sweep")  # kinds of runs that hold other runs; those are compared


def main(config: DictConfig) -> None:
    """Read the runs, compare them and write the page."""
    group_by = check(config)
    out = new_folder(config.out)
    records = [record for folder in found(config.runs) for record in read(folder, known_methods())]
    rankings, evaluations = (
        [record for record in records if record.kind == kind and record.finished] for kind in ("rank", "evaluate")
    )
    apart = [*rankings, *evaluations, *(r for r in records if r.finished and r.kind in OF_RUNS)]
    compared, left_out = sections([record for record in records if record not in apart], group_by)
    if not rankings and not evaluations and not any(group.lineages for section in compared for group in section.groups):
        first = left_out[0] if left_out else None
        example = f"; {first.path}: {first.status}, {first.reason}" if first else ""
        raise InputError(f"none of {len(records)} runs has finished with something to show{example}")
    blocks = list(report(compared, left_out, rankings, config.metric, config.against, evaluations))
    write(out, config.title, blocks)
    lines = [printable(f"{one.path}: {one.status}{f', {one.reason}' if one.reason else ''}") for one in left_out]
    say(Console(), [*lines, f"written to {out}: report.html, report.md, {PICTURES}"])


def check(config: DictConfig) -> list[str]:
    """Check the settings and return group_by as a list.

    Raises:
        InputError: If a setting has a wrong type or value.
    """
    if not isinstance(config.runs, ListConfig) or not all(isinstance(run, str) and run for run in config.runs):
        raise InputError(f"runs={config.runs!r}: must be a list of folders")
    if not config.runs:
        raise InputError("no runs: oneshot report RUN [RUN ...], folders of runs or above them")
    if not isinstance(config.title, str) or not config.title.strip():
        raise InputError(f"title={config.title!r}: must be a text")
    if config.metric is not None and config.metric not in QUALITIES:
        raise unknown("metric", config.metric, QUALITIES)
    if config.against not in COSTS:
        raise unknown("against", config.against, COSTS)
    names = [config.group_by] if isinstance(config.group_by, str) else config.group_by
    if names is not None and not (isinstance(names, Sequence) and all(isinstance(name, str) for name in names)):
        raise InputError(f"group_by={config.group_by!r}: must be a setting or a list of settings")
    return list(names or [])


def new_folder(out: Any) -> Path:
    """Return the folder for the page: out=FOLDER, by default outputs/report/<date-time>.

    Raises:
        InputError: If it exists and is not empty, or cannot be written.
    """
    if out is not None and not (isinstance(out, str) and out):
        raise InputError(f"out={out!r}: must be the path of a folder")
    path = Path(out or Path("outputs", "report", f"{datetime.now():%Y-%m-%d_%H-%M-%S}"))
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise InputError(f"out={path}: exists; name a new folder")
    above = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "is read-only" if above.is_dir() else "is no folder"
        raise InputError(f"out={path}: cannot be written ({above} {why})")
    return path


def found(runs: Sequence[str]) -> list[Path]:
    """Return the folders of all runs, each once.

    Args:
        runs: Folders of runs, folders above runs, or shell patterns.

    Raises:
        InputError: If one of them holds no run.
    """
    every: dict[Path, Path] = {}
    for run in runs:
        paths = [Path(run)] if os.path.lexists(run) else [Path(path) for path in sorted(glob.glob(run))]
        held = [folder for path in paths or [Path(run)] if path.is_dir() or not paths for folder in folders(path)]
        if not held:
            raise InputError(f"{run}: holds no run (a folder with a config.yaml and a status.json or result.json)")
        for folder in held:
            every.setdefault(folder.resolve(), folder)
    return list(every.values())


def known_methods() -> dict[str, Mapping[str, Any]]:
    """Return the settings of each architect and strategy in conf/, by their dotted names in a run's config.yaml."""
    known: dict[str, Mapping[str, Any]] = {}
    schedule = {"schedule": settings_of(CONF / "search.yaml")["schedule"]}
    for group, shared in {"architect": schedule, "strategy": {}}.items():
        for name, path in choices(group).items():
            own = OmegaConf.merge(shared, settings_of(path))
            known[name] = parse_settings(OmegaConf.to_yaml(own if group == "architect" else {group: own}))
    return known


def write(out: Path, title: str, blocks: Sequence[Block]) -> None:
    """Write the folder under another name and rename it at the end, so that it is never seen incomplete."""
    with whole_folder(out) as beside:
        make_folder(beside / PICTURES)
        for block in blocks:
            if isinstance(block, Picture):
                write_bytes(beside / PICTURES / f"{block.name}.svg", block.svg)
        write_text(beside / "report.md", to_markdown(title, blocks, PICTURES))
        write_text(beside / "report.html", to_html(title, blocks))
