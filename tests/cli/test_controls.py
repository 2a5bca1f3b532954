"""What commands show of controls, and that the commands which they print run."""

import json
import random
import shlex

import pytest

from oneshot.cli.composition import configuration
from oneshot.cli.controls import beside, control_rows
from oneshot.cli.screen import summary
from oneshot.fitting.controls import Controls
from oneshot.runs.settings import read_settings
from oneshot.spaces import NASBench201
from oneshot.tables import lookup_for

SIZES = ["space=nasbench201", "space.cells=1", "space.channels=4", "data.train_size=64", "data.batch_size=32"]
ERROR = {"name": "mae", "label": "mean absolute error", "maximize": False, "share": False}


def result_of(controls, **more):
    return {"found_valid_accuracy": controls.found, "controls": controls.to_result(), **more}


def words_of(out, label):
    """The settings of the one command that was printed after this label."""
    (line,) = [line for line in out.splitlines() if line.startswith(f"{label}: ")]
    words = shlex.split(line)
    return words[words.index("retrain") + 1 :]


def test_search_retrain_and_the_control_beside_it(run, tmp_path):
    code, out, err = run(
        "search", *SIZES, "architect=uniform", "selection=by_scores", "epochs=1", "controls=4", "seed=2", "out=s"
    )
    assert (code, err) == (0, "")
    result = json.loads((tmp_path / "s" / "result.json").read_text())
    controls = result["controls"]
    beaten = sum(value < controls["found"] for value in controls["random"])
    assert controls["found"] == result["found_valid_accuracy"] and len(controls["random"]) == 4
    assert controls["share_beaten"] == beaten / 4 and controls["mean"] == pytest.approx(sum(controls["random"]) / 4)
    assert f"  {beaten} of 4 random ones ({100 * controls['mean']:.2f} %)\n" in out
    (largest,) = [line.split()[-2:] for line in out.splitlines() if line.startswith("  the largest one there ")]
    assert largest == [f"{100 * controls['largest']:.2f}", "%"]
    line, control = beside(result)
    assert f"\n{line}\n" in out and words_of(out, "control")[-1] == f"architecture={control}"

    code, out, err = run("retrain", *SIZES, "epochs=1", "seed=2", "drop_path=0.05", "architecture=s", "out=t")
    assert (code, err) == (0, "")
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    known = lookup_for(space.fingerprint, map(str, range(10)), (1, 8, 8))
    found = space.load(tmp_path / "s" / "architecture.json")
    trained = json.loads((tmp_path / "t" / "result.json").read_text())
    assert known(found).items() <= trained.items() and trained["table"] == known.title
    assert "the cell in a published table" in out and "its rank, 1 is best" in out

    code, out, err = run("retrain", *words_of(out, "control"), "out=r")
    assert (code, err) == (0, "") and "\ncontrol: " not in out
    assert space.load(tmp_path / "r" / "architecture.json") == space.sample(random.Random(2))
    settings = [read_settings(tmp_path / name / "config.yaml") for name in "tr"]
    differ = {name for name in {**settings[0], **settings[1]} if settings[0].get(name) != settings[1].get(name)}
    assert differ == {"architecture", "out"}


def test_rows_by_hand():
    result = result_of(Controls(0.5, [0.4, 0.5, 0.6, 0.1], 0.97))
    assert control_rows(result) == [
        ("  better there than (their mean)", "2 of 4 random ones (40.00 %)"),
        ("  the largest one there", "97.00 %"),
    ]
    lines = summary(result).splitlines()
    assert lines[1].split("  ")[-1].strip() == "2 of 4 random ones (40.00 %)" and lines[2].endswith("97.00 %")
    assert control_rows({}) == [] and control_rows({"controls": "x"}) == []


def test_rows_of_less_usual_controls():
    few = control_rows(result_of(Controls(0.5, [0.4], None, failed=2, batches=4, left=True)))
    assert few == [
        ("  the same in 4 batches, as what follows", "50.00 %"),
        (
            "  better there than (their mean)",
            "1 of 1 random ones of what the stages left (40.00 %); 2 more: not finite",
        ),
    ]
    none = control_rows(result_of(Controls(0.5, [], None, failed=3)))
    assert none == [("  better there than (their mean)", "none of 3 random ones has a finite value")]
    errors = {"controls": Controls(2.5, [3.0, 2.0], 9.0).to_result(False), "metric": ERROR}
    assert control_rows(errors) == [
        ("  better there than (their mean)", "1 of 2 random ones (2.5)"),
        ("  the largest one there", "9"),
    ]


@pytest.mark.parametrize(
    ("controls", "lost", "control"),
    [
        (Controls(0.5, [0.4, 0.6], 0.6), "most random ones or than the largest one", "random"),
        (Controls(0.5, [0.4, 0.6], 0.4), "most random ones", "random"),
        (Controls(0.5, [0.4, 0.3], 0.5), "the largest one", "largest"),
        (Controls(0.5, [0.4, 0.3], 0.4), None, "random"),
        (Controls(0.5, [0.4, 0.3], None), None, "random"),
    ],
)
def test_a_comparison_inside_a_supernet_is_never_a_proof(controls, lost, control):
    line, name = beside(result_of(controls))
    said = f"inside its supernet the found network is not better than {lost}; " if lost else "a supernet is no proof, "
    assert line.startswith(said) and f" trains {'a' if control == 'random' else 'the'} {name} network " in line
    assert name == control
    assert beside({"found_valid_accuracy": 0.5}) is None


def test_twenty_for_a_search_and_none_for_a_supernet_of_another_command():
    commands = ("search", "baseline", "rank", "compare")
    assert [configuration(command, []).controls for command in commands] == [20, 0, 0, 0]


@pytest.mark.parametrize(
    ("command", "word", "line"),
    [
        ("search", "controls=-1", "controls=-1: must be a whole number, at least 0"),
        ("search", "controls=many", "controls='many': must be a whole number, at least 0"),
        ("search", "controls=null", "controls=None: must be a whole number, at least 0"),
        ("baseline", "controls=2", "controls=2: is a setting of oneshot search; must be 0 here"),
        ("retrain", "controls=2", "unknown setting 'controls'"),
    ],
)
def test_bad_numbers_are_refused(run, tmp_path, command, word, line):
    code, out, err = run(command, word)
    assert (code, out) == (2, "") and err.startswith(f"error: {line}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
