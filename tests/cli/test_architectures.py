"""What architecture= of `oneshot retrain` can be: a name, a text, a file."""

import json

import pytest

from oneshot.spaces.genotype import PUBLISHED

SMALL = ["epochs=1", "data.train_size=64", "space.cells=3", "space.channels=4", "logger=none"]
TEXT = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], "
    "normal_concat=range(2, 4), reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 2)], reduce_concat=range(2, 4))"
)


def test_a_published_name(run, tmp_path):
    code, out, err = run("retrain", *SMALL, "architecture=darts_v2", "out=trained")
    assert (code, err) == (0, "") and "architecture: darts_v2, as published" in out
    decisions = json.loads((tmp_path / "trained" / "architecture.json").read_text())["decisions"]
    assert decisions["normal/0->3"] == "dil_conv_3x3"


def test_a_long_text(run, tmp_path):
    """One that is too long to be the name of a file."""
    code, out, err = run("retrain", *SMALL, f'architecture="{PUBLISHED["p_darts"]}"', "out=trained")
    assert (code, err) == (0, "") and "architecture: given as text" in out


@pytest.mark.parametrize("given", ["text", "file"])
def test_a_notation(run, tmp_path, given):
    (tmp_path / "genotype.txt").write_text(TEXT + "\n")
    word = f'architecture="{TEXT}"' if given == "text" else "architecture=genotype.txt"
    code, out, err = run("retrain", *SMALL, "space.nodes=2", word, "out=trained")
    assert (code, err) == (0, "")
    assert ("architecture: given as text" if given == "text" else "architecture: genotype.txt") in out
    found = json.loads((tmp_path / "trained" / "architecture.json").read_text())
    assert found["notation"].count("sep_conv_3x3") == 4


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("architecture=darts_v9", "there is no such run or file (or: latest, random, largest, darts_v1, darts_v2,"),
        ('architecture="Genotype(normal=[])"', "must be like Genotype("),
        (f"architecture={'x' * 300}", "there is no such run or file"),
        ("architecture=empty.txt", "must be like Genotype("),
    ],
)
def test_what_it_cannot_be(run, tmp_path, word, message):
    (tmp_path / "empty.txt").write_text("")
    code, _, err = run("retrain", *SMALL, word, "out=trained")
    assert code == 2 and message in err and err.count("\n") == 1 and not (tmp_path / "trained").exists()
