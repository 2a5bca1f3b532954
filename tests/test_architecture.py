"""The architecture file: round trip, readability, and every way in which it can be wrong."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot.errors import InputError
from oneshot.spaces import DARTSCells

SPACE = DARTSCells((1, 8, 8), 10, cells=3, channels=4)
ARCHITECTURE = SPACE.sample(random.Random(0))
TEXT = SPACE.to_json(ARCHITECTURE)


def load(tmp_path, text):
    path = tmp_path / "architecture.json"
    path.write_text(text)
    return SPACE.load(path)


def test_round_trip(tmp_path):
    for seed in range(20):
        architecture = SPACE.sample(random.Random(seed))
        assert load(tmp_path, SPACE.to_json(architecture)) == architecture


def test_file_is_readable():
    content = json.loads(TEXT)
    assert content["decisions"]["normal/c_{k-2}->0"] in SPACE.candidates
    assert content["version"] == 1
    assert content["settings"]["nodes"] == 4
    assert content["notation"].startswith("Genotype(normal=[('")


def test_fingerprint_covers_choices_and_candidates_only(tmp_path):
    larger = DARTSCells((3, 32, 32), 100, cells=20, channels=36, auxiliary=True)
    assert larger.fingerprint == SPACE.fingerprint
    path = tmp_path / "a.json"
    path.write_text(TEXT)
    assert larger.load(path) == ARCHITECTURE
    assert DARTSCells((1, 8, 8), 10, nodes=3).fingerprint != SPACE.fingerprint
    assert DARTSCells((1, 8, 8), 10, candidates=["none", "skip_connect"]).fingerprint != SPACE.fingerprint


def edited(**changes):
    content = json.loads(TEXT)
    content.update(changes)
    return json.dumps(content)


def decided(name, operation):
    decisions = json.loads(TEXT)["decisions"]
    decisions[name] = operation
    return edited(decisions=decisions)


def without(name):
    decisions = json.loads(TEXT)["decisions"]
    del decisions[name]
    return edited(decisions=decisions)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TEXT[: len(TEXT) // 2], "not a complete JSON file"),
        ("", "not a complete JSON file"),
        ("[1]", "field 'format'"),
        (edited(format="other"), "field 'format'"),
        (edited(version=2), "field 'version' is 2"),
        (edited(space="darts:000000000000"), "field 'space' is 'darts:000000000000'"),
        (edited(space=["x"]), "field 'space'"),
        (edited(decisions=[1, 2]), "field 'decisions'"),
        (decided("normal/c_{k-2}->0", "sep_conv_9x9"), "unknown operation 'sep_conv_9x9'.*did you mean 'sep_conv"),
        (decided("normal/c_{k-2}->0", 3), "unknown operation '3'"),
        (decided("normal/c_{k-2}->0", "none"), "'none' is not allowed here"),
        (decided("normal/9->0", "none"), "unknown choice 'normal/9->0'"),
        (without("reduce/1->3"), "lacks 'reduce/1->3'"),
        ("[" * 100_000, "not a complete JSON file"),
    ],
)
def test_bad_files_name_the_field(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, text)


def test_missing_binary_and_huge_files(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        SPACE.load(tmp_path / "nothing.json")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a text file"):
        SPACE.load(tmp_path / "binary")
    (tmp_path / "huge").write_text(" " * (1 << 21))
    with pytest.raises(InputError, match="at most 1048576"):
        SPACE.load(tmp_path / "huge")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.characters(), st.booleans())
def test_mutated_files_raise_only_our_error(tmp_path_factory, position, character, delete):
    text = TEXT[:position] + ("" if delete else character) + TEXT[position + 1 :]
    try:
        found = load(tmp_path_factory.mktemp("mutated"), text.encode("utf-8", "replace").decode())
    except InputError:
        return
    assert SPACE.is_valid(found.decisions)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["format", "version", "space", "settings", "decisions", "notation", "__class__"]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FIELDS), JSON, st.booleans(), st.integers(0, 100))
def test_other_values_raise_only_our_error(tmp_path_factory, field, value, inside, which):
    """A field, or one decision, that is anything."""
    content = json.loads(TEXT)
    target = content["decisions"] if inside else content
    target[list(target)[which % len(target)] if inside else field] = value
    try:
        found = load(tmp_path_factory.mktemp("mutated"), json.dumps(content))
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
        return
    assert SPACE.is_valid(found.decisions)
