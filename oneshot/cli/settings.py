"""Write docs/settings.md: every setting of conf/ with its default and with its meaning, from the files' comments.

    python scripts/settings.py
    python scripts/settings.py --check

With --check nothing is written, and the exit code is 1 if the page is stale. It is 2 if a setting has no comment.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from ..errors import InputError
from ..runs.files import read_given, write_text
from . import meanings
from .conf import COMMANDS, CONF, choices, load, spoken
from .experiments import KEY as WHEN
from .experiments import fits, leaves
from .help import description
from .meanings import File, Setting

PAGE = CONF.parent / "docs" / "settings.md"
HEAD = """\
# Settings

Every setting of every command, with its default and its meaning. The page is made from the comments in `conf/` by
`python scripts/settings.py`: a setting is explained in its YAML file and nowhere else.

On a command line a setting is `SETTING=VALUE`. `oneshot COMMAND --help` shows the values that hold for a command with
its experiment. [How to](how_to.md) says what the settings are for.
"""
ALWAYS = "every run"
EXPERIMENT, SWEEPS = "experiment", "sweeps"  # sweeps are in the format of W&B, not of this project


def main() -> None:
    """Write the page, or with --check only compare it."""
    try:
        text = page()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or read_given(PAGE) != text:
            sys.exit(f"{PAGE.relative_to(CONF.parent)} is stale: python scripts/settings.py writes it again")
        return
    PAGE.parent.mkdir(exist_ok=True)
    write_text(PAGE, text)


def page(folders: tuple[Path, ...] = ()) -> str:
    """Return the whole page.

    Args:
        folders: Folders of settings of the user's, whose groups and experiments join those of conf/.

    Raises:
        InputError: If a setting has no meaning anywhere.
    """
    commands = {name: meanings.read(CONF / f"{name}.yaml") for name in COMMANDS}
    found = {path.name for folder in (CONF, *folders) for path in folder.iterdir() if path.is_dir()}
    names = sorted(found - {EXPERIMENT, SWEEPS})
    groups = {name: [meanings.read(path) for path in meanings.group(name, folders)] for name in names}
    parts = [HEAD, "## Commands\n", f"### every command\n\n{_table(meanings.read(CONF / 'base.yaml'))}"]
    for name, file in commands.items():
        about = f"{description(name).title}{_includes(file)}"
        own = file._replace(settings=(*file.settings, *(one for other in _shared(name) for one in other.settings)))
        parts.append(f"### oneshot {spoken(name)}\n\n{about}\n\n{_table(own)}")
    parts.append("## Groups\n\n`GROUP=CHOICE` takes one of these.\n")
    for name in names:
        parts.append(f"### {name}=\n")
        parts += [_choice(file) for file in groups[name]]
    parts.append("## Experiments\n\n`experiment=NAME` sets these values. A condition says for which runs.\n")
    of_groups = [setting for files in groups.values() for file in files for setting in file.settings]
    known = {name: _meanings([*of_groups, *file.settings]) for name, file in commands.items()}
    parts += [_experiment(path, known, folders) for path in meanings.group(EXPERIMENT, folders)]
    return "\n".join(parts)


def _shared(command: str) -> list[File]:
    """The files that several commands include and that are none themselves, without that of every command."""
    names = [entry for entry in meanings.defaults(CONF / f"{command}.yaml") if isinstance(entry, str)]
    return [meanings.read(CONF / f"{name}.yaml") for name in names if name not in (*COMMANDS, "base", "_self_")]


def _meanings(settings: Iterable[Setting]) -> dict[str, str]:
    return {setting.key: setting.meaning for setting in settings if setting.meaning}


def _includes(file: File) -> str:
    names = [f"`oneshot {spoken(name)}`" for name in meanings.included(file.name) if name in COMMANDS]
    return f" It has the settings of {' and '.join(names[1:])} too." if names[1:] else ""


def _choice(file: File) -> str:
    makes = f" Makes `{file.target}`." if file.target else ""
    if not file.about:
        raise InputError(f"{_relative(file)}: must begin with a comment that says what it is")
    table = _table(file) if file.settings else ""
    return f"#### {file.path.parent.name}={file.name}\n\n{_prose(file.about)}.{makes}\n\n{table}".rstrip("\n") + "\n"


def _table(file: File) -> str:
    rows = []
    for key, value, meaning in file.settings:
        if not meaning:
            raise InputError(f"{_relative(file)}: {key} has no meaning; a comment beside it or above says it")
        rows.append((f"`{key}`", f"`{value}`", _prose(meaning)))
    return _markdown(("setting", "default", "meaning"), rows)


def _experiment(path: Path, known: Mapping[str, Mapping[str, str]], folders: tuple[Path, ...]) -> str:
    """What an experiment sets under each condition. known: command -> setting -> meaning.

    A setting of a group has the meaning that the file of the group's choice gives: that of the condition, of the
    experiment, or of the command.
    """
    file = meanings.read(path)
    content: Any = OmegaConf.to_container(load(path))
    entries = [pair for entry in content.pop("defaults", []) for pair in entry.items()]
    own = {key.removeprefix("override /"): value for key, value in entries}
    rows = [(ALWAYS, f"`{group}`", f"`{choice}`", "the choice") for group, choice in own.items()]
    always = {key: value for key, value in content.items() if key != WHEN}
    for condition, block in {ALWAYS: always, **content.get(WHEN, {})}.items():
        command = condition.split()[0] if condition.split()[0] in known else "search"
        named = dict(word.split("=") for word in condition.split() if "=" in word)
        taken = {**_taken("search"), **_taken(command), **own, **named, EXPERIMENT: ""}
        paths = [_of_choice(group, choice, folders) for group, choice in taken.items()]
        files = [one for path in paths if path for one in _with_included(path, folders)]
        chosen = _meanings(setting for one in files for setting in one.settings)
        for key, value in leaves(block):
            meaning = chosen.get(key) or known[command].get(key) or known["search"].get(key)
            if not meaning:
                raise InputError(f"{_relative(file)}: {key} has no meaning, and no other file explains it")
            text = condition if condition == ALWAYS else f"`{condition}`"
            rows.append((text, f"`{key}`", f"`{json.dumps(value)}`", _prose(meaning)))
    table = _markdown(("condition", "sets", "to", "meaning"), rows)
    return f"### experiment={file.name}\n\n{_prose(file.about)}.\n\n{table}"


def _with_included(path: Path, folders: tuple[Path, ...]) -> Iterator[File]:
    """The files of its group that a choice includes, then its own."""
    known = choices(path.parent.name, folders)
    for entry in meanings.defaults(path):
        if isinstance(entry, str) and entry in known and known[entry] != path:
            yield from _with_included(known[entry], folders)
    yield meanings.read(path)


def _of_choice(group: str, choice: str, folders: tuple[Path, ...]) -> Path | None:
    """The file of a choice, or of the first one that fits its pattern; None if there is none."""
    return next((path for name, path in choices(group, folders).items() if fits(name, choice)), None)


def _taken(command: str) -> dict[str, str]:
    """The choice of each group that a command has without a word."""
    found: dict[str, str] = {}
    for name in reversed(list(meanings.included(command))):
        for entry in meanings.defaults(CONF / f"{name}.yaml"):
            pairs = entry.items() if isinstance(entry, dict) else ()
            found |= {key.removeprefix("override "): choice for key, choice in pairs if isinstance(choice, str)}
    return found


def _markdown(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(_lines(names, rows))


def _lines(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (names, tuple("---" for _ in names), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n"


def _prose(text: str) -> str:
    """Escape a text for Markdown, where <...> would be a tag."""
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _relative(file: File) -> Path:
    return file.path.relative_to(CONF.parent) if file.path.is_relative_to(CONF.parent) else file.path


if __name__ == "__main__":
    main()
