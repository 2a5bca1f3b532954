"""From the words of a command line to Hydra's arguments.

What Hydra would misread is put in quotes. Words without a name, such as the runs of a report, get one.
"""

import difflib
import os
import re
from collections.abc import Iterator, Sequence

from ..errors import InputError, unknown
from .conf import OPTIONAL, spoken

HELP = ("--help", "-h")
MULTIRUN = ("--multirun", "-m")
WITH_VALUE = ("--config-dir", "-cd", "--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun")
ALONE = (*HELP, *MULTIRUN, "--resolve", "--run", "-r", "--hydra-help")
WORDS = {"report": "runs", "sweep": "file"}  # command -> the setting that takes words without a name
SHORT = {"--quick": "quick=true"}
FILES = (  # settings that are paths or plain texts, in which Hydra shall read nothing special
    *("out", "run", "supernet", "architecture", "file", "title", "data.source"),
    *("estimator.table", "reference.table", "cost.table"),
)
SETTING = re.compile(r"([+~]*[\w.@/:-]+)=(.*)", re.DOTALL)
PLAIN = re.compile(r"[\w./\-:%+@~*?|\\ ]*", re.ASCII)  # what Hydra reads without quotes


def arguments(command: str, words: Sequence[str], settings: Sequence[str] = ()) -> list[str]:
    """Return the arguments for Hydra.

    Args:
        command: The command's name.
        words: The words that follow it on the command line.
        settings: Names of the command's own settings. Only needed for a command that takes words without a name, to
            tell a setting (`out=x`) from an existing path with `=` in its name.

    Raises:
        InputError: If a flag does not exist, or a folder of settings is given to `report`, which reads none.
    """
    found: list[str] = []
    free: list[str] = []
    several = any(word in MULTIRUN for word in words)
    for word, value in _pairs(words):
        flag = word.partition("=")[0]
        if word in SHORT:
            found.append(SHORT[word])
        elif flag in ("--config-dir", "-cd") and command == "report":
            raise InputError(f"{word}: `oneshot report` reads no settings of yours")
        elif flag in WITH_VALUE:
            found += [word] if value is None else [word, value]
        elif word in ALONE:
            found += [word] if value is None else [word, value]
        elif word.startswith("-"):
            raise InputError(_no_flag(word, value))
        elif (setting := SETTING.fullmatch(word)) and _is_setting(command, word, setting[1], settings):
            found.append(f"{setting[1]}={_value(setting[1], setting[2], several)}")
        elif command in WORDS and not word.startswith("~"):
            free.append(word)
        else:
            found.append(word)
    if free:
        many = command == "report" or len(free) > 1
        found.append(f"{WORDS[command]}={'[' if many else ''}{','.join(map(quoted, free))}{']' if many else ''}")
    return found


def with_values(arguments: Sequence[str], flags: Sequence[str]) -> list[str]:
    """Return those of the arguments that are one of these flags, each with the word after it."""
    pairs = zip(arguments, arguments[1:], strict=False)
    return [word for pair in pairs if pair[0] in flags for word in pair]


def searched(arguments: Sequence[str]) -> list[str]:
    """Return the settings among the arguments, as Hydra's compose takes them.

    The user's folders of settings become the setting hydra.searchpath.

    Raises:
        InputError: If such a folder does not exist.
    """
    flags = with_values(arguments, WITH_VALUE)
    settings = [word for word in arguments if not word.startswith("-") and word not in flags]
    folders = [f"file://{os.path.abspath(folder)}" for folder in with_values(arguments, ("--config-dir", "-cd"))[1::2]]
    for folder in folders:
        if not os.path.isdir(folder.removeprefix("file://")):
            raise InputError(f"--config-dir {folder.removeprefix('file://')}: there is no such folder")
    return [*settings, *([f"hydra.searchpath=[{','.join(map(quoted, folders))}]"] if folders else [])]


def shown(setting: str, value: str) -> str:
    """Return SETTING=VALUE for a text, as a user can type it; quotes for the shell are not added."""
    meant = value.startswith(_MEANT) or "${" in value
    as_it_is = _TEXT.fullmatch(value) and value.lower() not in _WORDS if PLAIN.fullmatch(value) else not meant
    return f"{setting}={value if setting in FILES and as_it_is else quoted(value)}"


def quoted(text: str) -> str:
    """Put a text in quotes, so that Hydra reads exactly this text."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # else an interpolation
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"


_WORDS = ("null", "true", "false", "nan", "inf")  # words that Hydra does not read as text
_TEXT = re.compile(r"(\.{0,2}/)*[a-z_]([\w./:@+ -]*[\w./])?", re.ASCII | re.IGNORECASE)  # no number
_MEANT = ("[", "{", "'", '"')  # a value that begins so was written for Hydra


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield each word, together with the value after it if the word is a flag with a value."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        topic = word in HELP and rest and "=" not in rest[0] and not rest[0].startswith("-")
        yield word, rest.pop(0) if rest and (word in WITH_VALUE or topic) else None


def _is_setting(command: str, word: str, name: str, settings: Sequence[str]) -> bool:
    if command not in WORDS:
        return True
    return name.lstrip("+~").split(".")[0] in (*settings, "hydra") or not os.path.lexists(word)


def _value(name: str, value: str, several: bool) -> str:
    """The value, written so that Hydra reads what the user means."""
    if name in OPTIONAL and value == "null":
        return "none"
    if value.startswith(_MEANT) or "${" in value or PLAIN.fullmatch(value):
        return value
    if name.lstrip("+") in FILES:
        return value if several and "," in value and value.isascii() else quoted(value)
    return value if value.isascii() else quoted(value)


def _no_flag(word: str, value: str | None) -> str:
    name, equals, given = word.lstrip("-").partition("=")
    flags = [*ALONE, *WITH_VALUE, *SHORT]
    if len(name) > 1 and difflib.get_close_matches(word.partition("=")[0], flags, n=1, cutoff=0.8):
        return str(unknown("flag", word, flags))
    if re.fullmatch(r"[\w.]+", name):
        return f"{word}: settings have no dashes; write {name}={given if equals else 'VALUE'}"
    return str(unknown("flag", word, flags))


def no_setting(command: str, word: str) -> str:
    """Return the message for a word that is not a setting."""
    return f"{word}: cannot be read as SETTING=VALUE; `oneshot {spoken(command)} --help` shows the settings"
