"""The screen of --help, from conf/ and from the docstring of the command. Nothing here imports torch."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import unknown
from ..runs.files import read_given
from . import meanings
from .arguments import HELP as FLAGS
from .arguments import MULTIRUN, WITH_VALUE, searched, with_values
from .composition import SEVERAL, Composed, compose, fits
from .conf import CONF, OPTIONAL, PACKAGE, choices, spoken
from .meanings import Setting, own_settings

SELDOM = ("weights", "criterion", "schedule", "stages")  # settings of a command that only --help all shows
OF_COMPARISONS = "methods"  # a setting of a comparison, whose searches have settings that their own help shows
NAMED_BY_METHODS = ("architect", "selection")  # groups that a comparison does not take
OFTEN = (  # settings of the groups that --help shows
    *("space.cells", "space.channels", "space.nodes", "architect.optimizer.lr", "cost.weight", "data.source"),
    *("data.train_size", "data.batch_size", "trainer.precision", "estimator.table", "reference.table"),
)
WIDEST = 120  # columns


class Command(NamedTuple):
    """The docstring of a command in parts.

    Args:
        title: The first line.
        notes: The text below it.
        usage: What follows `Usage:`; empty for the usual usage.
        examples: The indented lines.
    """

    title: str
    notes: str
    usage: str
    examples: tuple[str, ...]


def show(command: str) -> None:
    """Print what the command line asks for: --help, --help all, --help GROUP, --help GROUP.CHOICE or --help SETTING.

    Args:
        command: The command.

    Raises:
        InputError: If there is no such topic.
        HydraException: If the settings on the command line do not compose.
    """
    console = Console(highlight=False, soft_wrap=False)
    console.width = min(console.width, WIDEST)
    topic, overrides = _arguments()
    composed = compose(command, overrides)
    group = topic.partition("@")[0]
    below = [s for key, s in composed.settings.items() if f"{key}.".startswith(f"{topic}.")]
    if not topic:
        _screen(console, command, composed)
    elif topic == "all":
        _all(console, composed)
    elif topic in composed.choices or group in {name.partition("@")[0] for name in composed.choices}:
        _group(console, command, group, composed)
    elif below:
        console.print(_settings(below))
    elif path := _one_choice(topic, composed):
        _choice(console, path)
    else:
        parts = {key.partition(".")[0] for key in (*composed.choices, *composed.settings)}
        raise unknown("topic of --help", topic, {"all", *parts})


def description(command: str) -> Command:
    """Return the docstring of cli/commands/<command>.py in parts.

    A line that begins with `Usage:` replaces the usual usage. Indented lines, below `Examples:`, are examples.
    """
    source = read_given(PACKAGE / "cli" / "commands" / f"{command}.py")
    title, _, rest = (ast.get_docstring(ast.parse(source), clean=False) or command).partition("\n")
    lines = rest.splitlines()
    examples = tuple(line.strip() for line in lines if line.startswith("    "))
    said = [line.removeprefix("Usage:").strip() for line in lines if line.startswith("Usage:")]
    notes = "\n".join(line for line in lines if not line.startswith(("    ", "Usage:", "Examples:"))).strip()
    return Command(title, re.sub(r"\n{2,}", "\n\n", notes), " ".join(said), examples)


def _arguments() -> tuple[str, list[str]]:
    """The word after --help, and the other settings; none with --multirun, where a setting has several values."""
    arguments = sys.argv[1:]
    after = arguments[next(i for i, a in enumerate(arguments) if a in FLAGS) + 1 :]
    topic = after[0] if after and "=" not in after[0] and not after[0].startswith("-") else ""
    several = any(word in MULTIRUN for word in arguments)
    rest = [word for word in arguments if "=" in word or word in with_values(arguments, WITH_VALUE)]
    return topic, [] if several else searched(rest)


def _screen(console: Console, command: str, composed: Composed) -> None:
    said = description(command)
    usage = f"oneshot {spoken(command)} {'[GROUP=CHOICE ...] ' if composed.choices else ''}[SETTING=VALUE ...]"
    console.print(said.title, markup=False)
    if said.notes:
        console.print(f"\n{said.notes}", markup=False)
    console.print(Text.assemble("\n", ("usage", "bold"), f"  {said.usage or usage}"), soft_wrap=True)
    if composed.choices:
        console.print()
        console.print(_choices(command, composed))
    seldom = {*SELDOM}
    if OF_COMPARISONS in composed.settings:
        file = meanings.read(CONF / f"{command}.yaml")
        seldom |= {*own_settings("search"), *NAMED_BY_METHODS} - {setting.key for setting in file.settings}
    own = [key for key in composed.own if key not in composed.choices]
    often = (*own, *OFTEN, *_of_techniques(composed))
    known = [key for key in dict.fromkeys(often) if key in composed.settings]
    shown = [composed.settings[key] for key in known if key.partition(".")[0] not in seldom]
    console.print()
    console.print(_settings(s for s in shown if not s.meaning.endswith(meanings.NOT_USED)))
    if said.examples:
        console.print("\n[bold]examples[/]")
        for example in said.examples:
            console.print(f"  {example}", markup=False, soft_wrap=True)
    console.print()
    console.print(_more(composed))


def _choices(command: str, composed: Composed) -> Table:
    table = _columns("group", "default", "other choices")
    for group, taken in composed.choices.items():
        if OF_COMPARISONS in composed.settings and group in NAMED_BY_METHODS:
            continue
        paths = meanings.group(group.partition("@")[0], composed.folders)
        several = str(taken).split(", ")
        others = [path.stem for path in paths if path.stem not in several and fits(path, command)]
        others += ["none"] if group in (*OPTIONAL, SEVERAL) and taken not in (None, "none") else []
        table.add_row(f"  {group}=", Text(str(taken or "none")), Text(", ".join(others)))
    return table


def _settings(settings: Iterable[Setting]) -> Table:
    table = _columns("setting", "default", "meaning")
    table.columns[1].max_width = 24
    for key, value, meaning in settings:
        table.add_row(f"  {key}=", Text(value), Text(meaning))
    return table


def _columns(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in names:
        first = name == names[0]
        table.add_column(name, no_wrap=first, overflow="fold", style="cyan" if first else "")
    return table


def _all(console: Console, composed: Composed) -> None:
    """Print one table for each part of the settings, so that a long name narrows only its own table."""
    parts: dict[str, list[Setting]] = {}
    for setting in composed.settings.values():
        part, dot, _ = setting.key.partition(".")
        parts.setdefault(part if dot else "", []).append(setting)
    for settings in parts.values():
        console.print(_settings(settings))
        console.print()


def _group(console: Console, command: str, group: str, composed: Composed) -> None:
    """Print each choice of a group with its description and its settings."""
    for path in meanings.group(group, composed.folders):
        if fits(path, command):
            _choice(console, path)


def _choice(console: Console, path: Path) -> None:
    file = meanings.read(path)
    console.print(Text.assemble((f"{path.parent.name}={path.stem}", "bold"), "  ", file.about))
    if file.settings:
        console.print(_settings(file.settings))
    console.print()


def _one_choice(topic: str, composed: Composed) -> Path | None:
    """The file of GROUP.CHOICE, also with further names after it, as in technique.beta_decay.weight."""
    group, _, name = topic.partition(".")
    return choices(group, composed.folders).get(name.partition(".")[0]) if group in composed.choices else None


def _of_techniques(composed: Composed) -> Iterator[str]:
    """The settings of the techniques that are chosen."""
    yield from (key for key in composed.settings if key.startswith(f"{SEVERAL}."))
    taken = str(composed.choices.get(SEVERAL)).split(", ")
    for path in meanings.group(SEVERAL, composed.folders):
        if path.stem in taken:
            yield from (setting.key for setting in meanings.read(path).settings)


def _more(composed: Composed) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    if composed.choices:
        first = next(iter(composed.choices)).partition("@")[0]
        table.add_row("  --help GROUP", f"choices of a group with their settings, for example --help {first}")
    if OF_COMPARISONS in composed.settings:
        table.add_row("  oneshot search --help", "the settings of each search")
    table.add_row("  --help all", "every setting; --help PREFIX: those that begin with PREFIX")
    table.add_row("  --cfg job", "the configuration that would run")
    if "seed" in composed.settings and OF_COMPARISONS not in composed.settings:
        table.add_row("  --multirun", "one run for each value, for example --multirun seed=0,1,2")
    table.add_row("  docs/", "settings.md: all settings of all commands; how_to.md: what they are for")
    return table
