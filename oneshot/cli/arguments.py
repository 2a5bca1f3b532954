"""The words of a command line as Hydra's arguments: what it would misread is put in quotes, free words get a name."""

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
WORDS = {"report": "runs", "sweep": "file"}  # the setting that free words are
SHORT = {"--quick": "quick=true"}
FILES = (  # settings that are paths, or texts without a meaning to Hydra
    *("out", "run", "supernet", "architecture", "file", "title", "data.source"),
    *("estimator.table", "reference.table", "cost.table"),
)
SETTING = re.compile(r"([+~]*[\w.@/:-]+)=(.*)", re.DOTALL)
PLAIN = re.compile(r"[\w./\-:%+@~*?|\\ ]*", re.ASCII)  # what Hydra reads as it is written


def arguments(command: str, words: Sequence[str], settings: Sequence[str] = ()) -> list[str]:
    """The arguments that Hydra gets.

    Args:
        command: The command's name.
        words: What follows it on the command line.
        settings: Names of the command's own settings, for a command that takes free words: `out=x` is a setting there,
            a path with `=` in its name that exists is not.

    Raises:
        InputError: For a flag that does not exist, and for a folder of settings where none is read.
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
        elif re.match(r"-+[A-Za-z]", word):
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
    """These flags among the arguments, each with the word that follows it."""
    pairs = zip(arguments, arguments[1:], strict=False)
    return [word for pair in pairs if pair[0] in flags for word in pair]


def searched(arguments: Sequence[str]) -> list[str]:
    """The settings among the arguments, with the user's folders of settings as one of Hydra's, as compose takes it."""
    flags = with_values(arguments, WITH_VALUE)
    settings = [word for word in arguments if not word.startswith("-") and word not in flags]
    folders = [f"file://{os.path.abspath(folder)}" for folder in with_values(arguments, ("--config-dir", "-cd"))[1::2]]
    for folder in folders:
        if not os.path.isdir(folder.removeprefix("file://")):
            raise InputError(f"--config-dir {folder.removeprefix('file://')}: there is no such folder")
    return [*settings, *([f"hydra.searchpath=[{','.join(map(quoted, folders))}]"] if folders else [])]


def shown(setting: str, value: str) -> str:
    """SETTING=VALUE as it can be typed, the shell's quotes apart; value: a text."""
    meant = value.startswith(_MEANT) or "${" in value
    as_it_is = _TEXT.fullmatch(value) and value.lower() not in _WORDS if PLAIN.fullmatch(value) else not meant
    return f"{setting}={value if setting in FILES and as_it_is else quoted(value)}"


def quoted(text: str) -> str:
    """A text as a value of Hydra's that is nothing but this text."""
    text = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no interpolation
    text = re.sub(r"(\\*)'", r"\1\1\\'", text)
    return "'" + re.sub(r"(\\+)$", r"\1\1", text) + "'"


_WORDS = ("null", "true", "false", "nan", "inf")  # which Hydra reads as no text
_TEXT = re.compile(r"(\.{0,2}/)*[a-z_]([\w./:@+ -]*[\w./])?", re.ASCII | re.IGNORECASE)  # nor as a number
_MEANT = ("[", "{", "'", '"')  # how a value begins that the user has written for Hydra


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each word with the value that follows it, where it is a flag with one."""
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
    """The value as Hydra reads it as the user means it."""
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
    """The message for a word that is no setting."""
    return f"{word}: cannot be read as SETTING=VALUE; `oneshot {spoken(command)} --help` shows the settings"
