"""The `when:` blocks of an experiment: settings that hold only for some commands, choices or values.

    when:
      search: {epochs: 6}
      search space=darts*: {space: {cells: 3}}
      architect=enas: {epochs: 24}

A condition is a command, GROUP=CHOICE or SETTING=VALUE, or several of them with spaces between; then all must hold.
CHOICE may be a pattern: `space=darts*` holds for every choice whose name begins with `darts`.
`retrain` holds for `latency` too, which measures the networks of retrainings; `search` holds for every other command.
Later blocks win over earlier ones; the command line wins over all.
"""

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from ..errors import InputError
from .conf import COMMANDS, CONF
from .meanings import own_settings

KEY = "when"
OF_FINAL = ("retrain", "latency")  # commands with the sizes of the network that is trained in the end


def apply(config: DictConfig, command: str, choices: Mapping[str, str | None], given: Collection[str]) -> None:
    """Apply the blocks of config[when] whose conditions hold.

    Args:
        config: The configuration as Hydra composed it; `when` is removed from it.
        command: The command that runs.
        choices: The choice of each group.
        given: The names of the settings on the command line, which are not changed.

    Raises:
        InputError: If a block or a condition is malformed, or a block for this command has an unknown setting.
    """
    if KEY not in config:
        return
    found = config[KEY]
    blocks = {} if found is None else OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    with open_dict(config):
        del config[KEY]
    if not isinstance(blocks, dict):
        raise InputError(f"{KEY}: must be a mapping from conditions to settings")
    groups = {group.partition("@")[0] for group in choices}
    kept = {name for name in given if name not in groups}
    for condition, block in blocks.items():
        if not isinstance(block, dict):
            raise InputError(f"{KEY}, {condition!r}: must be a mapping of settings")
        if not all(_holds(word, config, command, choices) for word in str(condition).split()):
            continue
        for name, value in leaves(block):
            if any(f"{name}.".startswith(f"{own}.") or f"{own}.".startswith(f"{name}.") for own in kept):
                continue
            if not _has(config, name):
                if command in str(condition).split():
                    raise InputError(f"{KEY}, {condition!r}: `oneshot {command}` has no setting {name!r}")
                continue  # a setting of another command that builds a supernet
            OmegaConf.update(config, name, value)


def _holds(word: str, config: DictConfig, command: str, choices: Mapping[str, str | None]) -> bool:
    name, equals, value = word.partition("=")
    if not equals:
        if name not in COMMANDS:
            raise InputError(f"{KEY}: {word!r} is neither a command nor NAME=VALUE")
        final = command in OF_FINAL
        return name == command or name == "retrain" and final or name == "search" and not final
    if name in choices:
        return fits(choices[name], value)
    found = OmegaConf.select(config, name)
    if found is None and not _is_known(name):
        raise InputError(f"{KEY}: {word!r}: there is no group and no setting {name!r}")
    return found is not None and str(found).lower() == value.lower()


def fits(choice: str | None, pattern: str) -> bool:
    """Return whether the choice of a group is the one that a condition names, or fits its pattern.

    Args:
        choice: Name of the choice; None if there is none.
        pattern: What the condition has after "=": a name, maybe with * and ?.
    """
    return choice is not None and fnmatchcase(choice, pattern)


def _is_known(name: str) -> bool:
    """Whether some command has this group or setting, though not the one that runs."""
    first = name.partition(".")[0]
    return (CONF / first).is_dir() or any(first in own_settings(command) for command in COMMANDS)


def _has(config: DictConfig, name: str) -> bool:
    parent, _, key = name.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    return isinstance(node, DictConfig) and key in node


def leaves(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting of a block with its dotted name."""
    for key, value in block.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
