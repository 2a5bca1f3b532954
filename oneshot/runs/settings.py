"""The settings of a run: read as data, flattened to dotted names, and compared."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, one_line
from .files import parse_yaml, read_text

CONFIG = "config.yaml"
MAX_SETTINGS = 1 << 18
NOTHING = "nothing"  # in place of the value of a setting that is not there


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings in a config.yaml as data.

    Args:
        path: The file.

    Returns:
        Each setting by its dotted name.

    Raises:
        InputError: If the file cannot be read or does not hold settings.
    """
    try:
        text = read_text(path, MAX_SETTINGS)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not the settings of a run (no text)") from None
    try:
        return parse_settings(text)
    except ValueError as error:
        raise InputError(f"{path}: not the settings of a run ({one_line(error, 80)})") from None


def parse_settings(text: str) -> dict[str, Any]:
    """Parse the settings in a YAML text.

    Args:
        text: The text.

    Returns:
        Each setting by its dotted name.

    Raises:
        ValueError: If the text is not a mapping in YAML, or has aliases.
    """
    content = parse_yaml(text)
    if not isinstance(content, dict):
        raise ValueError("no mapping")
    return _flat(content)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in settings.items():
        values |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return values


def is_plain(value: Any) -> bool:
    """Return whether a value is a number, a name or nothing, or a list of such: a mapping could name code.

    Args:
        value: The value of a setting.
    """
    if isinstance(value, list):
        return all(map(is_plain, value))
    return isinstance(value, bool | int | float | str | None)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str]) -> list[tuple[str, Any, Any]]:
    """Compare two sets of settings.

    Args:
        before: Settings by dotted name.
        now: Settings by dotted name.
        free: Settings that may differ, by their dotted name or the beginning of it.

    Returns:
        (name, old, new) of each setting that differs and may not.
    """
    names = [name for name in {**before, **now} if not is_free(name, free)]
    pairs = [(name, before.get(name, NOTHING), now.get(name, NOTHING)) for name in names]
    return [(name, old, new) for name, old, new in pairs if old != new]


def is_free(name: str, free: Collection[str]) -> bool:
    """Check whether a setting is one of these or below one of them.

    Args:
        name: Dotted name of the setting.
        free: Dotted names or their beginnings.

    Returns:
        Whether it is.
    """
    return any(f"{name}.".startswith(f"{first}.") for first in free)
