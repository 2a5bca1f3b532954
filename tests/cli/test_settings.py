"""docs/settings.md is what conf/ says, and every setting says what it means."""

import itertools
import shutil

import pytest
import yaml
from helpers.support import ROOT

from oneshot.cli import conf as places
from oneshot.cli import meanings, settings
from oneshot.cli.conf import COMMANDS, spoken

FILES = sorted(path for path in (ROOT / "conf").rglob("*.yaml") if path.parent.name != "sweeps")
TEXT = """\
# @package _global_
# About the file
defaults:
  - _self_   # not a setting
a: "# no comment"   # a string
b:
  _target_: m.C
  c: [1,
      2]     # a list
  # above d,
  # in two lines
  d: null
  e: 3       # goes on
             # below
list:        # of words
  - one
  - two
f: ???
hydra: {run: {dir: .}}
"""


def leaves(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        elif key not in ("_target_", "_partial_"):
            yield f"{prefix}{key}", value


def test_read(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(TEXT)
    file = meanings.read(path)
    assert file.about == "About the file"
    assert list(file.settings) == [
        ("a", '"# no comment"', "a string"),
        ("b.c", "[1, 2]", "a list"),
        ("b.d", "null", "above d, in two lines"),
        ("b.e", "3", "goes on below"),
        ("list", "[one, two]", "of words"),
        ("f", "must be given", ""),
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "conf")))
def test_every_key_is_read_with_its_value(path):
    text = path.read_text()
    content = {k: v for k, v in (yaml.safe_load(text) or {}).items() if k not in meanings.NOT_SETTINGS}
    prefix = "" if "@package _global_" in text or path.parent.name == "conf" else f"{path.parent.name}."
    found = {s.key: yaml.safe_load(s.value.replace("must be given", "???")) for s in meanings.read(path).settings}
    assert found == dict(leaves(content, prefix))


def test_the_page_is_not_stale():
    assert settings.page() == settings.PAGE.read_text(), "python scripts/settings.py writes it again"


def test_every_file_is_on_the_page():
    """With all its settings."""
    lines = settings.PAGE.read_text().splitlines()
    for path in FILES:
        group = path.parent.name
        including = [name for name in COMMANDS if path.stem in meanings.included(name)]  # itself, or what includes it
        command = "every command" if path.stem == "base" else f"oneshot {spoken(including[0])}" if including else ""
        command = f"oneshot {spoken(path.stem)}" if path.stem in COMMANDS else command
        heading = f"### {command}" if group == "conf" else f"#### {group}={path.stem}"
        start = lines.index(heading if group != "experiment" else f"### experiment={path.stem}")
        part = itertools.takewhile(lambda line: not line.startswith("#"), lines[start + 1 :])
        rows = [line.split(" | ") for line in part if line.startswith("| ")]
        shown = {cell.strip("| `") for row in rows for cell in row[:2]}
        assert {setting.key for setting in meanings.read(path).settings} <= shown, path


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_condition_is_on_the_page(path):
    page = settings.PAGE.read_text()
    for condition in yaml.safe_load(path.read_text()).get("when", {}):
        assert f"| `{condition}` | " in page.partition(f"### experiment={path.stem}\n")[2], condition


@pytest.mark.parametrize("path", sorted((ROOT / "conf" / "experiment").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_setting_of_a_group_has_the_meaning_of_the_choice(path):
    """Several data sets have a batch size: of images, or of windows of a text."""
    part = settings.PAGE.read_text().partition(f"### experiment={path.stem}\n")[2].partition("\n### ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    (data,) = [to.strip("`") for _, key, to, _ in rows if key == "`data`"]
    own = {s.key: s.meaning for s in meanings.read(ROOT / "conf" / "data" / f"{data}.yaml").settings}
    found = {key.strip("`"): meaning for _, key, _, meaning in rows if key.startswith("`data.")}
    assert found and all(own[key] == meaning for key, meaning in found.items())


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of conf/ that the page is made of."""
    copy = shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for module in (places, meanings, settings):
        monkeypatch.setattr(module, "CONF", copy)
    monkeypatch.setattr(settings, "PAGE", tmp_path / "docs" / "settings.md")
    monkeypatch.setattr(settings.sys, "argv", ["settings.py", "--check"])
    return copy


def test_check(conf, monkeypatch):
    with pytest.raises(SystemExit, match="stale"):
        settings.main()
    monkeypatch.setattr(settings.sys, "argv", ["settings.py"])
    settings.main()
    monkeypatch.setattr(settings.sys, "argv", ["settings.py", "--check"])
    settings.main()


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("cost/mine.yaml", "# Mine\nweight: 0.1\n", "cost.weight has no meaning"),
        ("cost/mine.yaml", "weight: 0.1  # of it\n", "must begin with a comment"),
        ("experiment/mine.yaml", "# @package _global_\n# Mine\nepoch: 3\n", "epoch has no meaning"),
        ("experiment/mine.yaml", "# @package _global_\n# Mine\nwhen:\n  rank: {epoch: 3}\n", "epoch has no meaning"),
    ],
)
def test_a_setting_without_a_meaning(conf, capsys, name, text, reason):
    (conf / name).write_text(text)
    with pytest.raises(SystemExit) as end:
        settings.main()
    assert end.value.code == 2 and f"conf/{name}: {reason}" in capsys.readouterr().err
