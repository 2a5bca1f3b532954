"""The configuration of a command, composed from conf/: groups with their choices, settings with their meanings."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from ..errors import is_number
from . import experiments, job, meanings
from .arguments import searched
from .conf import CONF, OPTIONAL, load, spoken
from .job import names
from .meanings import Setting, defaults, included

for group in OPTIONAL:  # on a command line Hydra does not accept null for a group
    ConfigStore.instance().store(group=group, name="none", node={group: None}, package="_global_")


SEVERAL = "technique"  # the group of which several choices may be taken, and the setting that holds them by name
OVERRIDE = "override /"  # before a group, in the defaults list of a choice
PARTIAL = "space.partial_channels"  # a technique that is an option of the space


def part(share: Any, whole: Any) -> int:
    """Return a share of a whole number, for ${part:0.3,${epochs}}. Of anything else 0, and a later check refuses it.

    Args:
        share: From 0 to 1.
        whole: The number.
    """
    return round(share * whole) if isinstance(whole, int) and is_number(share) else 0


OmegaConf.register_new_resolver("part", part, replace=True)


class Composed(NamedTuple):
    """The configuration of a command.

    Args:
        choices: Group -> the choice that is taken; of the techniques those that are, with commas.
        folders: The user's folders of settings.
        settings: All settings, by their keys.
        own: Keys of the settings in the command's file and in the files that it includes.
    """

    choices: Mapping[str, str | None]
    folders: tuple[Path, ...]
    settings: Mapping[str, Setting]
    own: tuple[str, ...]


def configuration(command: str, overrides: Sequence[str], hydra_too: bool = False) -> DictConfig:
    """Return the configuration that a command runs with, after the `when` blocks of its experiment.

    Args:
        command: The command.
        overrides: Settings of the command line, as Hydra takes them.
        hydra_too: Whether Hydra's own settings are kept.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base=None):
        config = hydra.compose(command, list(overrides), return_hydra_config=True)
    chosen = config.hydra.runtime.choices
    experiments.apply(config, command, chosen, {names(word) for word in overrides})
    return config if hydra_too else OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def inside(command: str, overrides: Sequence[str]) -> DictConfig:
    """Return the same as `configuration`, while another command runs, with the folders of settings of that command."""
    config = hydra.compose(command, [*overrides, *searched(job.flags)], return_hydra_config=True)
    experiments.apply(config, command, config.hydra.runtime.choices, {names(word) for word in overrides})
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def compose(command: str, overrides: Sequence[str]) -> Composed:
    """Return the configuration of a command with these settings, each with its value and its meaning."""
    config = configuration(command, overrides, hydra_too=True)
    runtime = config.hydra.runtime
    folders = tuple(Path(source.path) for source in runtime.config_sources if source.schema == "file")
    files = list(included(command))
    choices = {group: runtime.choices.get(group) for name in files for group in groups(name)}
    several = sorted(techniques(config))
    taken = [*choices.items(), *((SEVERAL, name) for name in several)]
    if SEVERAL in choices:
        choices[SEVERAL] = ", ".join(several) or None
    own = [setting for name in files for setting in meanings.read(CONF / f"{name}.yaml").settings]
    known: dict[str, str] = {}
    for setting in (*own, *of_choices(taken, folders)):
        known.setdefault(setting.key, setting.meaning)
    known |= {setting.key: setting.meaning for setting in own if setting.meaning.endswith(meanings.NOT_USED)}
    values = dict(_flat(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])))
    ordered = [*(key for key in known if key in values), *(key for key in values if key not in known)]
    settings = {key: Setting(key, values[key], known.get(key, "")) for key in ordered}
    return Composed(choices, folders, settings, tuple(s.key for s in own if s.key in settings))


def groups(name: str) -> list[str]:
    """Return the groups in the defaults list of conf/<name>.yaml, in its order."""
    entries = [entry for entry in defaults(CONF / f"{name}.yaml") if isinstance(entry, dict)]
    return [key for entry in entries for key in entry if not key.startswith(("override ", "optional "))]


def techniques(config: DictConfig) -> set[str]:
    """Return the names of the techniques of a search, those of its architect among them.

    Args:
        config: The settings of the command, or those of an architect's file.
    """
    partial = OmegaConf.select(config, PARTIAL)
    several = {str(name) for name in config.get(SEVERAL) or {}}
    return several | ({"partial_channels"} if isinstance(partial, int) and partial > 1 else set())


def of_choices(choices: Iterable[tuple[str, str | None]], folders: tuple[Path, ...]) -> Iterator[Setting]:
    """Yield the settings in the files of choices, and in the files that they build on.

    Args:
        choices: Groups with their choices.
        folders: The user's folders of settings.
    """
    for group, choice in choices:
        folder, _, package = group.partition("@")
        for path in meanings.group(folder, folders):
            if path.stem == choice:
                yield from _with_bases(path, package or folder, folders)


def _with_bases(path: Path, package: str, folders: tuple[Path, ...]) -> Iterator[Setting]:
    """The settings of a file, then those of the files that it builds on, of its group or as /GROUP/NAME."""
    yield from meanings.read(path, package).settings
    for entry in defaults(path):
        group, _, name = entry.rpartition("/") if isinstance(entry, str) else ("", "", "")
        base = meanings.choices(group[1:] or path.parent.name, folders).get(name)
        if base:
            yield from _with_bases(base, group[1:] or package, folders)


def _flat(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the dotted name of each setting and its value as on a command line."""
    for key in map(str, config):
        if OmegaConf.is_missing(config, key):
            yield f"{prefix}{key}", meanings.MUST_BE_GIVEN
        elif isinstance(config[key], DictConfig) and config[key]:
            yield from _flat(config[key], f"{prefix}{key}.")
        elif key not in meanings.MACHINERY:
            value = config[key]
            value = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
            yield f"{prefix}{key}", json.dumps(value) if value == "" else text


def fits(path: Path, command: str) -> bool:
    """Return whether a command takes this choice. Some experiments and files are for some commands only."""
    if named := re.match(r"(oneshot [\w-]+(, )?)+:", meanings.read(path).about):
        return re.search(rf"oneshot {spoken(command)}[,:]", named[0]) is not None
    if path.parent.name != "experiment":
        return True
    known = {group for name in included(command) for group in groups(name)}
    entries = [key for entry in defaults(path) for key in entry]
    return all(key.removeprefix("override /") in known for key in entries)


def overridden(group: str, choice: str, folders: tuple[Path, ...]) -> dict[str, str]:
    """Return the choices of other groups that a choice overrides, in its file or in those that it builds on.

    Args:
        group: The group of the choice.
        choice: Its name.
        folders: The user's folders of settings.
    """
    path, found = meanings.choices(group, folders).get(choice), dict[str, str]()
    for entry in defaults(path) if path else ():
        if isinstance(entry, dict):
            found |= {key[len(OVERRIDE) :]: str(name) for key, name in entry.items() if key.startswith(OVERRIDE)}
        else:
            found = {**overridden(group, entry, folders), **found}
    return found


def settings_of(path: Path) -> Any:
    """Return the settings of a file, merged over those of the files that it builds on."""
    content: Any = load(path)
    bases = [entry for entry in content.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    beside = [
        path.parents[1] / f"{base[1:]}.yaml" if base[0] == "/" else path.with_name(f"{base}.yaml") for base in bases
    ]
    files = [file if file.is_file() else CONF / file.parent.name / file.name for file in beside]
    return OmegaConf.merge(*map(settings_of, files), content)
