"""Write docs/settings.md: every setting of conf/ with its default and its meaning, from the comments of the files.

    python scripts/settings.py
    python scripts/settings.py --check

--check writes nothing and ends with code 1 where the page is stale. A setting without a comment ends with code 2.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from ..runs.folder import write_text
from . import meanings
from .help import command
from .meanings import CONF, File

PAGE = CONF.parent / "docs" / "settings.md"
OVERLAYS = ("experiment", "search", "retrain", "sizes", "tuning")  # they set again what stands elsewhere
HEAD = """\
# Settings

Every setting of every script, with its default and its meaning, from the comments in `conf/`.
`python scripts/settings.py` writes this page; a setting is explained in its YAML file and nowhere else.
On a command line: `SETTING=VALUE`, behind it as many as wanted. `python scripts/SCRIPT.py --help` shows the defaults
that hold for a script with its experiment; [how_to.md](how_to.md) says what they are for.
"""
SWEEPS = "sweeps"  # in the format of W&B, not of this project


def main() -> None:
    try:
        text = page()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if "--check" in sys.argv[1:]:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit(f"{PAGE.relative_to(CONF.parent)} is stale: python scripts/settings.py writes it again")
        return
    PAGE.parent.mkdir(exist_ok=True)
    write_text(PAGE, text)


def page() -> str:
    """The whole page. Raises InputError where a setting has no meaning anywhere."""
    scripts = [meanings.read(path) for path in sorted(CONF.glob("*.yaml"))]
    folders = [path.name for path in sorted(CONF.iterdir()) if path.is_dir() and path.name != SWEEPS]
    groups = {name: [meanings.read(path) for path in meanings.group(name)] for name in folders}
    parts = [HEAD, "## Scripts\n"]
    for file in scripts:
        parts.append(f"### {file.name}.py\n\n{command(file.name).title}{_includes(file)}\n\n{_table(file)}")
    parts.append("## Groups\n\n`GROUP=CHOICE` takes one of these.\n")
    for name in folders:
        if name not in OVERLAYS:
            parts.append(f"### {name}=\n")
            parts += [_choice(file) for file in groups[name]]
    parts.append(
        "## Experiments\n\nWhat an experiment sets, by file: the table says where it differs from the above.\n"
    )
    named = [file for name in folders if name not in OVERLAYS for file in groups[name]]
    parts += [_overlay(name, groups[name], scripts, named) for name in OVERLAYS if name in groups]
    return "\n".join(parts)


def _includes(file: File) -> str:
    names = re.findall(r"^  - (\w+)(?:\s+#.*)?$", file.path.read_text(encoding="utf-8"), re.M)
    others = [f"those of {name}.py" for name in names if name != "_self_"]
    return f" It has {', '.join(others)} too." if others else ""


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


def _overlay(folder: str, files: Iterable[File], scripts: list[File], named: list[File]) -> str:
    """One table for a folder of overlays; what they set is explained where it is first set."""
    rows: list[tuple[str, ...]] = []
    for file in files:
        rows.append((f"`{file.name}`", "", "", _prose(file.about)))
        about = re.match(r"scripts/(\w+)\.py:", file.about)
        first = about[1] if about else "retrain" if "retrain" in (folder, *file.name.split("_")) else "search"
        known: dict[str, str] = {}
        for base in (*sorted(scripts, key=lambda script: script.name != first), *named, *files):
            for setting in base.settings:
                if setting.meaning:
                    known.setdefault(setting.key, setting.meaning)
        for key, value, meaning in file.settings:
            if not meaning and key not in known:
                raise InputError(f"{_relative(file)}: {key} has no meaning, and no other file explains it")
            rows.append(("", f"`{key}`", f"`{value}`", _prose(meaning or known[key])))
    return f"### conf/{folder}/\n\n{_markdown(('file', 'sets', 'to', 'meaning'), rows)}"


def _markdown(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(_lines(names, rows))


def _lines(names: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for row in (names, tuple("---" for _ in names), *rows):
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n"


def _prose(text: str) -> str:
    """Text as Markdown shows it: what looks like a tag is none."""
    return text.replace("<", "&lt;").replace(">", "&gt;")


def _relative(file: File) -> Path:
    return file.path.relative_to(CONF.parent)


if __name__ == "__main__":
    main()
