"""The printed `next:` lines, pasted into a shell."""

import json
import os
import shlex
import subprocess

import pytest
from rich.console import Console

from oneshot.cli.screen import say, typed

SIZES = ["space.cells=3", "space.channels=4", "data.train_size=128", "data.batch_size=32", "epochs=1"]
FOLDER = "실험 1, lr=0.1 (it's)"


def pasted(out, folder, *more):
    """Run the line after `next: ` in a shell, with these settings after it; returns what it printed."""
    (line,) = [line for line in out.splitlines() if line.startswith("next: ")]
    command = shlex.join(["cd", str(folder)]) + f" && {line.removeprefix('next: ')} {shlex.join(more)}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), command
    return done.stdout


@pytest.mark.parametrize("parent", ["", "./2026/"])
def test_search_retrain_evaluate(run, tmp_path, parent):
    out = f"{parent}{FOLDER}"
    words = [*SIZES, "space.nodes=1", "architect=uniform", "selection.samples=2", f"out={out}", "experiment=digits"]
    code, said, err = run("search", *words)
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / out / "result.json").read_text())
    trained = f"{out} trained"
    printed = pasted(said, tmp_path, *SIZES, f"out={trained}")
    result = json.loads((tmp_path / trained / "result.json").read_text())
    assert result["architecture"] == found["architecture"]
    pasted(printed, tmp_path, "batches=[1]", "repeats=2", "warmup=0", f"out={out} tested")
    tested = json.loads((tmp_path / f"{out} tested" / "result.json").read_text())
    assert tested["test_accuracy"] == result["test_accuracy"]


def test_settings_of_the_users_own_are_passed_on(run, tmp_path):
    """A folder of settings, and a value with spaces, commas and letters that are not ASCII."""
    folder = tmp_path / "내 설정, 1" / "space"
    folder.mkdir(parents=True)
    text = "# Mine\n_target_: oneshot.spaces.NASBench201\ncells: 1   # a stage\nchannels: 4   # of the first\n"
    (folder / "mine.yaml").write_text(text)
    words = ["--config-dir", "내 설정, 1", "space=mine", *SIZES[2:], "architect=uniform"]
    code, said, err = run("search", *words, "selection.samples=2", f"out={FOLDER}")
    assert (code, err) == (0, "")
    pasted(said, tmp_path, *SIZES[2:], "out=trained")
    assert json.loads((tmp_path / "trained" / "result.json").read_text())["test_accuracy"] > 0


@pytest.mark.parametrize("word", ["a b", "it's\t\\x", "caf\udce9 'q'", "two\nlines", "\x1b[31m", "plain"])
def test_a_shell_reads_a_printed_word_as_it_was(word):
    printed = typed(word)
    assert printed.isprintable()
    found = subprocess.run(["bash", "-c", f"printf %s {printed}"], capture_output=True, check=True).stdout
    assert found == os.fsencode(word)


def test_what_is_printed_has_no_emoji_in_place_of_its_text(capsys):
    say(Console(width=80), ["written to w/a:b:", "and :smile:"])
    assert capsys.readouterr().out == "written to w/a:b:\nand :smile:\n"
