"""A script's configuration as conf/ composes it: its groups with their choices, its settings with their meanings."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from . import meanings
from .meanings import CONF, Setting


class Composed(NamedTuple):
    """A script's configuration: its groups with the choices taken, and all settings that it has."""

    choices: Mapping[str, str | None]
    folders: tuple[Path, ...]
    settings: Mapping[str, Setting]
    own: tuple[str, ...]  # keys of the script's own file and of those that it includes


def compose(script: str, overrides: Sequence[str]) -> Composed:
    """The configuration of a script with these settings, each with its value and its meaning."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base=None):
        config = hydra.compose(script, list(overrides), return_hydra_config=True)
    runtime = config.hydra.runtime
    folders = tuple(Path(source.path) for source in runtime.config_sources if source.schema == "file")
    names = list(_included(script))
    choices = {group: runtime.choices[group] for name in names for group in _groups(name)}
    own = [setting for name in names for setting in meanings.read(CONF / f"{name}.yaml").settings]
    known: dict[str, str] = {}
    for setting in (*own, *_of_choices(choices, folders)):
        known.setdefault(setting.key, setting.meaning)
    values = dict(_flat(OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])))
    ordered = [*(key for key in known if key in values), *(key for key in values if key not in known)]
    settings = {key: Setting(key, values[key], known.get(key, "")) for key in ordered}
    return Composed(choices, folders, settings, tuple(s.key for s in own if s.key in settings))


def _included(script: str) -> Iterator[str]:
    """The script's own file of conf/ and those that it includes."""
    yield script
    for entry in _defaults(CONF / f"{script}.yaml"):
        if isinstance(entry, str) and entry != "_self_":
            yield from _included(entry)


def _groups(name: str) -> list[str]:
    """The groups that conf/<name>.yaml chooses from, in its order."""
    entries = [entry for entry in _defaults(CONF / f"{name}.yaml") if isinstance(entry, dict)]
    return [key for entry in entries for key in entry if not key.startswith(("override ", "optional "))]


def _defaults(path: Path) -> list[Any]:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("defaults", [])


def _of_choices(choices: Mapping[str, str | None], folders: tuple[Path, ...]) -> Iterator[Setting]:
    for group, choice in choices.items():
        folder, _, package = group.partition("@")
        for path in meanings.group(folder, folders):
            if path.stem == choice:
                yield from meanings.read(path, package or folder).settings


def _flat(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting's dotted name and its value as a command line takes it."""
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


def fits(path: Path, script: str) -> bool:
    """Whether a script takes this choice: sizes, experiments and files that name scripts are of some only."""
    if path.parent.name == "sizes":
        return path.stem.startswith(script)
    if named := re.match(r"(scripts/\w+\.py(, )?)+:", meanings.read(path).about):
        return f"scripts/{script}.py" in named[0]
    if path.parent.name != "experiment":
        return True
    groups = {group for name in _included(script) for group in _groups(name)}
    entries = [key for entry in _defaults(path) for key in entry]
    return all(key.removeprefix("override /") in groups for key in entries)
