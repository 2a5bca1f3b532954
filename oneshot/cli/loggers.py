"""Loggers for the rows, pictures and result of a run, besides its own files: W&B, or any of Lightning's."""

import hashlib
import io
import json
import os
import re
import secrets
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ..errors import InputError, one_line, unknown
from ..runs import held
from ..runs.files import MAX_WEIGHTS, fresh_folder, is_file, names, opened, read_bytes, remove_folder, write_text
from ..runs.folder import Run, read_json

MODES = ("auto", "online", "offline", "disabled")
CONNECT, UPLOAD = 20, 60  # seconds that W&B may take for its first answer, and for the last upload
KEPT = "wandb.json"  # file in the run's folder with W&B's id, so that a continued run stays one run
PARTS = ("valid", "test", "train", "weight", "architecture", "found", "best")
Tables = Mapping[str, Sequence[Mapping[str, Any]]]


class Logger(Protocol):
    """What a recorder expects of a logger."""

    def begin(self, run: Run, settings: dict[str, Any], job: str, tags: Sequence[str], inputs: Iterable[Path]) -> None:
        """Begin a run.

        Args:
            run: The run.
            settings: Its settings, resolved.
            job: Kind of the run, such as "search".
            tags: Tags of the run.
            inputs: Files of other runs that it reads.
        """
        ...

    def log(self, number: int, row: Mapping[str, Any]) -> None:
        """Log a row, which has a step. A continued run logs all its earlier rows again; number counts from 0."""
        ...

    def finish(self, result: Mapping[str, Any], pictures: Mapping[str, Path], tables: Tables) -> None:
        """Log the result, the pictures and the tables (rows by the name of the table)."""
        ...

    def close(self, failed: bool) -> str:
        """Close the logger and return a line for the user, or an empty text."""
        ...

    def drop(self) -> None:
        """Give up after an error. Nothing is raised or printed, now or at the end of the process."""
        ...


def slashed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers under names that loggers group: valid_accuracy becomes valid/accuracy."""
    named = {}
    for name, value in numbers.items():
        part, _, rest = name.partition("_")
        if isinstance(value, int | float) and not isinstance(value, bool):
            named[f"{part}/{rest}" if part in PARTS and rest else name] = value
    return named


class Lightning:
    """One of Lightning's loggers. It gets settings and rows; pictures only if it is TensorBoard.

    Args:
        logger: The logger of Lightning.
    """

    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def begin(self, run: Run, settings: dict[str, Any], job: str, tags: Sequence[str], inputs: Iterable[Path]) -> None:
        """Log the settings."""
        self.path = run.path
        self.logger.log_hyperparams(settings)

    def log(self, number: int, row: Mapping[str, Any]) -> None:
        """Log the numbers of a row under its step."""
        self.logger.log_metrics({k: v for k, v in slashed(row).items() if k != "step"}, step=row["step"])

    def finish(self, result: Mapping[str, Any], pictures: Mapping[str, Path], tables: Tables) -> None:
        """Log the pictures, if the logger is TensorBoard."""
        add_image = getattr(self.logger.experiment, "add_image", None)
        if add_image is None:
            return
        for name, path in pictures.items():
            with Image.open(io.BytesIO(read_bytes(path))) as picture:
                add_image(name, np.asarray(picture.convert("RGB")), dataformats="HWC")

    def close(self, failed: bool) -> str:
        """Close the logger, unless its folder is gone: it would write to another one."""
        try:
            held.check(self.path)
        except OSError:
            return ""
        self.logger.finalize("failed" if failed else "success")
        return ""

    def drop(self) -> None:
        """Do nothing."""


class WandB:
    """Weights & Biases. It never asks a question and never stops a run.

    `wandb.json` in the run's folder holds W&B's id. A continued run is therefore the same run at W&B and gets the rows
    that it lacked; a run that logs offline gets all rows again, in one folder. The x axis is the step of the rows.
    Architecture and weights are artifacts that are named by their content, so an artifact links the run that wrote it
    to the runs that read it: search -> retrain -> evaluate.

    Args:
        project: Name of the project; None is that of WANDB_PROJECT, or "oneshot".
        mode: "auto", "online", "offline" or "disabled". "auto" is online if a key is set up and the server answers
            within 20 seconds, else offline. WANDB_MODE wins over it.
        entity: User or team; None is that of WANDB_ENTITY.
        group: Name for runs that belong together; None is that of WANDB_RUN_GROUP.
        job_type: Kind of the run; None is the command.
        name: Name of the run; None is that of WANDB_NAME, or W&B makes one.
        tags: Tags besides those of the run.

    Raises:
        InputError: If the mode is unknown or the tags are no list of words.
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
        self.next = 0  # W&B's number for what comes after the rows

    def begin(self, run: Run, settings: dict[str, Any], job: str, tags: Sequence[str], inputs: Iterable[Path]) -> None:
        """Begin or continue the run at W&B."""
        mode = os.environ.get("WANDB_MODE") or self.mode
        if mode == "disabled":
            return
        import wandb  # here and below: it takes a second, and `mode` may spare it

        wandb.setup(wandb.Settings(silent=True))
        key = mode != "offline" and wandb.login(prompt=False, verify=False)
        if mode == "auto":
            mode = "online" if key else "offline"
        self.path = run.path
        own: dict[str, Any] = {key: value for key, value in self.given.items() if value is not None}
        own = {"job_type": job, "project": os.environ.get("WANDB_PROJECT", "oneshot"), **own}
        own |= {
            "id": _identity(run, job),
            "tags": [*tags, *self.tags],
            "config": settings,
        }
        made = fresh_folder(run.path / "wandb")
        try:
            if mode == "online" and not key:
                raise wandb.Error("no key, which `wandb login` sets up")
            self.run = _connect(own, mode, made)
        except (wandb.Error, OSError) as error:
            if mode == "offline":
                raise
            print(f"warning: W&B: {one_line(error, 200)}; logs offline", file=sys.stderr)
            wandb.teardown()  # else W&B's own process still has a run with this id
            remove_folder(made)
            made = fresh_folder(run.path / "wandb")
            self.run = _connect(own, "offline", made)
        self.folder = made / "wandb" / Path(self.run.dir).parent.name
        if self.run.offline:  # it gets all rows again
            for old in names(run.path / "wandb", root=run.path):
                if old.isdecimal() and old != made.name:
                    remove_folder(run.path / "wandb" / old)
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")
        for path in inputs:
            self._artifact(path, used=True)

    def log(self, number: int, row: Mapping[str, Any]) -> None:
        """Log the numbers of a row, unless the run at W&B has it."""
        if self.run and number >= self.run.starting_step:
            self.run.log(slashed(row), step=number)
        self.next = number + 1

    def finish(self, result: Mapping[str, Any], pictures: Mapping[str, Path], tables: Tables) -> None:
        """Log result, pictures, tables and artifacts."""
        if not self.run:
            return
        import wandb

        self.run.summary.update(slashed(result))
        shown: dict[str, Any] = {
            name: wandb.Image(Image.open(io.BytesIO(read_bytes(path)))) for name, path in pictures.items()
        }
        for name, rows in tables.items():
            shown[f"{name}/table"] = wandb.Table(list(rows[0]), [list(row.values()) for row in rows])
        self.run.log(shown, step=self.next)
        weights = [self.path / name for name in names(self.path) if name.endswith(".safetensors")]
        for file in [self.path / "architecture.json", *weights]:
            self._artifact(file, used=False)

    def close(self, failed: bool) -> str:
        """A line for the user: where to look, or how to upload."""
        if not self.run:
            return ""
        run, self.run = self.run, None
        offline = run.offline
        run.finish(exit_code=int(failed))
        try:
            held.check(self.path)
        except OSError:  # the path below leads elsewhere
            return "" if offline else f"W&B: {run.url}"
        return f"W&B: {f'`wandb sync {shlex.quote(str(self.folder))}` uploads it' if offline else run.url}"

    def drop(self) -> None:
        """Forget W&B's own process, which may be dead; else its trace appears at the end."""
        self.run = None
        with suppress(Exception):
            import wandb

            wandb.teardown()

    def _artifact(self, path: Path, used: bool) -> None:
        """Log a file as an input or an output of this run, named by its content."""
        if not is_file(path):
            return
        with opened(path, MAX_WEIGHTS) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
        kind = "architecture" if path.suffix == ".json" else "weights"
        name = f"{path.stem}-{digest}"
        if name in self.inputs:  # a copy of an input
            return
        if used:
            self.inputs.add(name)
        import wandb

        artifact = wandb.Artifact(name, kind)
        artifact.add_file(str(path), policy="immutable")  # in place, not copied
        # use_artifact refuses to work offline and waits for the server; this is what it calls
        self.run._log_artifact(artifact, is_user_created=True, use_after_commit=used)


def _connect(own: Mapping[str, Any], mode: str, folder: Path) -> Any:
    """Begin a W&B run that prints nothing and writes to this folder. A run whose id the server knows is continued."""
    import wandb

    quiet = wandb.Settings(silent=True, console="off", init_timeout=CONNECT, finish_timeout=UPLOAD)
    resume = None if mode == "offline" else "allow"
    return wandb.init(**own, dir=str(folder.resolve()), mode=mode, resume=resume, settings=quiet)  # type: ignore[arg-type]


def _identity(run: Run, job: str) -> str:
    """The W&B id of a run: that in its folder, else the one that W&B's agent gives, else a new one."""
    known = read_json(run.path / KEPT).get("id")
    if isinstance(known, str) and re.fullmatch(r"[a-z0-9_-]{4,64}", known):
        return known
    given = os.environ.get("WANDB_RUN_ID") if job != "supernet" else None  # a supernet's run is inside another run
    made = given or secrets.token_hex(4)
    write_text(run.path / KEPT, json.dumps({"id": made}) + "\n")
    return made
