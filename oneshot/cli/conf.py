"""Where the settings are, and which commands there are: read from the folders, so that a new file is enough."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
CONF = next(path for path in (PACKAGE / "conf", PACKAGE.parent / "conf") if path.is_dir())
COMMANDS = tuple(sorted(path.stem for path in (PACKAGE / "cli" / "commands").glob("[a-z]*.py")))
OPTIONAL = ("cost", "logger", "executor")  # groups of which a command may have none: GROUP=none


def spoken(command: str) -> str:
    """The name of a command as a user types it."""
    return command.replace("_", "-")


def choices(group: str, folders: tuple[Path, ...] = ()) -> dict[str, Path]:
    """The choices of a group by name, in conf/ and in these folders of the user's."""
    paths = {path.stem: path for folder in (CONF, *folders) for path in (folder / group).glob("*.yaml")}
    return dict(sorted(paths.items()))
