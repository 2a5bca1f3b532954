"""Where a run's rows, pictures and result go besides its own files: W&B, or any logger of Lightning's."""

import hashlib
import json
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import wandb
from PIL import Image

from ..errors import InputError, one_line, unknown
from ..runs.folder import Run, read_json, write_text

MODES = ("auto", "online", "offline", "disabled")
CONNECT, UPLOAD = 20, 60  # seconds that W&B may take for its first answer, and at the end
KEPT = "wandb.json"  # in the run's folder: the id, so that a continued run stays one run
PARTS = ("valid", "test", "train", "weight", "architecture", "found", "best")
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


class Logger(Protocol):
    """What a recording tells.

    settings: resolved. inputs: files of other runs. Rows have a step; those that a continued run has come again.
    tables: rows by the table's name. close: returns a line for the user, or nothing.
    """

    def begin(
        self, run: Run, settings: dict[str, Any], job: str, tags: Sequence[str], inputs: Iterable[Path]
    ) -> None: ...

    def log(self, number: int, row: Mapping[str, Any]) -> None: ...

    def finish(self, result: Mapping[str, Any], pictures: Mapping[str, Path], tables: Tables) -> None: ...

    def close(self, failed: bool) -> str: ...


def slashed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among these, by the names that loggers group by: valid_accuracy is valid/accuracy."""
    named = {}
    for name, value in numbers.items():
        part, _, rest = name.partition("_")
        if isinstance(value, int | float) and not isinstance(value, bool):
            named[f"{part}/{rest}" if part in PARTS and rest else name] = value
    return named


class Lightning:
    """One of Lightning's loggers, with the run's settings, rows and result; its pictures where it is TensorBoard."""

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def begin(self, run: Run, settings: dict[str, Any], job: str, tags: Sequence[str], inputs: Iterable[Path]) -> None:
        self.logger.log_hyperparams(settings)

    def log(self, number: int, row: Mapping[str, Any]) -> None:
        self.logger.log_metrics({k: v for k, v in slashed(row).items() if k != "step"}, step=row["step"])

    def finish(self, result: Mapping[str, Any], pictures: Mapping[str, Path], tables: Tables) -> None:
        add_image = getattr(self.logger.experiment, "add_image", None)
        if add_image is None:
            return
        for name, path in pictures.items():
            with Image.open(path) as picture:
                add_image(name, np.asarray(picture.convert("RGB")), dataformats="HWC")

    def close(self, failed: bool) -> str:
        self.logger.finalize("failed" if failed else "success")
        return ""


class WandB:
    """Weights & Biases: never asks, never stops a run. Where null stands, its environment variables (WANDB_...) hold.

    mode: auto is online where a key is set up, offline elsewhere and where the server does not answer in 20 seconds.
    In the run's folder `wandb.json` holds the id: a continued run is the same run with the rows that it lacked; one
    that logs offline has all rows again, in one folder. x axis: the rows' own step. Architecture and weights are
    artifacts named by their content, so what one run wrote and another read is one: search -> retrain -> evaluate.
    Raises InputError for an unknown mode.
    """

    def __init__(
        self,
        project: str | None = None,
        mode: str = "auto",
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        if mode not in MODES:
            raise unknown("logger.mode", mode, MODES)
        if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
            raise InputError(f"logger.tags={tags!r}: must be a list of words")
        self.mode, self.tags = mode, tags
        self.given = {"project": project, "entity": entity, "group": group, "job_type": job_type, "name": name}
        self.run: Any = None
        self.inputs: set[str] = set()  # names of artifacts
        self.next = 0  # W&B's own number of what comes behind the rows

    def begin(self, run: Run, settings: dict[str, Any], job: str, tags: Sequence[str], inputs: Iterable[Path]) -> None:
        mode = os.environ.get("WANDB_MODE") or self.mode
        if mode == "disabled":
            return
        wandb.setup(wandb.Settings(silent=True))
        key = mode != "offline" and wandb.login(prompt=False, verify=False)
        if mode == "auto":
            mode = "online" if key else "offline"
        own: dict[str, Any] = {key: value for key, value in self.given.items() if value is not None}
        own = {"job_type": job, "project": os.environ.get("WANDB_PROJECT", "oneshot"), **own}
        own |= {
            "id": _identity(run, job),
            "tags": [*tags, *self.tags],
            "config": settings,
            "dir": str(run.path.resolve()),
        }
        try:
            if mode == "online" and not key:
                raise wandb.Error("no key, which `wandb login` sets up")
            self.run = _connect(own, mode)
        except (wandb.Error, OSError) as error:
            if mode == "offline":
                raise
            print(f"warning: W&B: {one_line(error, 200)}; logs offline", file=sys.stderr)
            wandb.teardown()  # else its own process still has a run of this id
            for begun in (run.path / "wandb").glob(f"run-*-{own['id']}"):
                shutil.rmtree(begun, ignore_errors=True)
            self.run = _connect(own, "offline")
        self.folder = run.path / "wandb" / Path(self.run.dir).parent.name
        if self.run.offline:  # it gets all rows again
            for old in (run.path / "wandb").glob(f"offline-run-*-{own['id']}"):
                if old.resolve() != self.folder.resolve():
                    shutil.rmtree(old, ignore_errors=True)
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        for path in inputs:
            self._artifact(path, used=True)

    def log(self, number: int, row: Mapping[str, Any]) -> None:
        if self.run and number >= self.run.starting_step:
            self.run.log(slashed(row), step=number)
        self.next = number + 1

    def finish(self, result: Mapping[str, Any], pictures: Mapping[str, Path], tables: Tables) -> None:
        if not self.run:
            return
        self.run.summary.update(slashed(result))
        shown: dict[str, Any] = {name: wandb.Image(str(path)) for name, path in pictures.items()}
        for name, rows in tables.items():
            shown[f"{name}/table"] = wandb.Table(list(rows[0]), [list(row.values()) for row in rows])
        self.run.log(shown, step=self.next)
        path = self.folder.parent.parent
        for file in [path / "architecture.json", *sorted(path.glob("*.safetensors"))]:
            self._artifact(file, used=False)

    def close(self, failed: bool) -> str:
        """A line for the user: where to look, or how to upload."""
        if not self.run:
            return ""
        run, self.run = self.run, None
        offline = run.offline
        run.finish(exit_code=int(failed))
        return f"W&B: {f'`wandb sync {shlex.quote(str(self.folder))}` uploads it' if offline else run.url}"

    def _artifact(self, path: Path, used: bool) -> None:
        """As an input or an output of this run, named by its content."""
        if not path.is_file():
            return
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        kind = "architecture" if path.suffix == ".json" else "weights"
        name = f"{path.stem}-{digest}"
        if name in self.inputs:  # a copy of what it read
            return
        if used:
            self.inputs.add(name)
        artifact = wandb.Artifact(name, kind)
        artifact.add_file(str(path), policy="immutable")  # in place, not copied
        # use_artifact refuses to work offline and waits for the server; this is what it calls
        self.run._log_artifact(artifact, is_user_created=True, use_after_commit=used)


def _connect(own: Mapping[str, Any], mode: str) -> Any:
    """A run that prints nothing; one of an id that the server knows goes on."""
    quiet = wandb.Settings(silent=True, console="off", init_timeout=CONNECT, finish_timeout=UPLOAD)
    resume = None if mode == "offline" else "allow"
    return wandb.init(**own, mode=mode, resume=resume, settings=quiet)  # type: ignore[arg-type]


def _identity(run: Run, job: str) -> str:
    """The run's id to W&B: of its folder, made when it first begins, or given by W&B's agent."""
    known = read_json(run.path / KEPT).get("id")
    if isinstance(known, str) and re.fullmatch(r"[a-z0-9_-]{4,64}", known):
        return known
    given = os.environ.get("WANDB_RUN_ID") if job != "supernet" else None  # which is a run inside a run
    made = given or secrets.token_hex(4)
    write_text(run.path / KEPT, json.dumps({"id": made}) + "\n")
    return made
