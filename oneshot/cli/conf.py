"""Where the settings are, and which commands and choices exist. A new file in its folder is enough to add one."""

from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
COMMANDS = tuple(sorted(path.stem for path in (PACKAGE / "cli" / "commands").glob("[a-z]*.py")))
OPTIONAL = ("cost", "stop", "logger", "executor")  # groups that may be empty: GROUP=none


def spoken(command: str) -> str:
    """Return the name of a command as a user types it."""
    return command.replace("_", "-")


def choices(group: str, folders: tuple[Path, ...] = ()) -> dict[str, Path]:
    """Return the choices of a group by name, from conf/ and from these folders of the user's."""
    paths = {path.stem: path for folder in (CONF, *folders) for path in (folder / group).glob("*.yaml")}
    return dict(sorted(paths.items()))


def load(path: Path) -> Any:
    """Read a file of settings, from conf/ or from a folder of the user's, as OmegaConf."""
    from omegaconf import OmegaConf  # here: `oneshot --version` does without both

    from ..runs.files import read_given

    return OmegaConf.create(read_given(path))
