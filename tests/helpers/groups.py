"""What contract tests run over: the choices of a group, in conf/ and in the folder of `pytest --config-dir FOLDER`."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from oneshot.cli.arguments import searched
from oneshot.cli.conf import choices

VARIABLE = "ONESHOT_TESTS_CONFIG_DIR"  # in the environment, so that processes that tests start have it too
SMALL = {
    "cells": 3,
    "channels": 4,
    "nodes": 2,
    "epochs": 1,
    "batch_size": 16,
    "batches": 1,
}  # for settings of these names


def folders() -> tuple[Path, ...]:
    """Folders of settings besides conf/."""
    return tuple(Path(name) for name in [os.environ.get(VARIABLE, "")] if name)


def names(group: str) -> list[str]:
    """The choices of a group."""
    found = list(choices(group, folders()))
    assert found, f"the group {group} has no choices"
    return found


def search_path() -> list[str]:
    """The override with which Hydra finds these choices."""
    return searched([word for folder in folders() for word in ("--config-dir", str(folder))])


def settings(group: str, name: str) -> DictConfig:
    """What the file of a choice sets, with the files of its group that it builds on."""
    content: Any = OmegaConf.load(choices(group, folders())[name])
    bases = [entry for entry in content.pop("defaults", []) if isinstance(entry, str) and entry != "_self_"]
    return OmegaConf.merge(*(settings(group, base) for base in bases), content)


def small(node: DictConfig, sizes: Mapping[str, Any] = SMALL) -> DictConfig:
    """These settings with small sizes, where they have settings of these names."""
    return OmegaConf.merge(node, {key: sizes[key] for key in sizes if key in list(node)})


def missing(node: DictConfig) -> Iterator[str]:
    """The settings that only a user can give."""
    return (str(key) for key in node if OmegaConf.is_missing(node, key))


def each(group: str) -> pytest.MarkDecorator:
    """Run a test for every choice of a group, as its argument `name`."""
    return pytest.mark.parametrize("name", names(group))
