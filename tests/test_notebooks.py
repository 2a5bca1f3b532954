"""Every notebook runs from top to bottom, and is kept with the outputs of such a run."""

import re
import time

import nbformat
import pytest
from helpers.support import ROOT
from nbmake.nb_run import NotebookRun

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = {"add_your_own": 3, "baselines_on_nasbench201": 1, "compare_architects": 1, "quickstart": 3}
PATHS = re.compile(r"(?<![\w.])/(?:tmp|root|home|opt|work|usr)/")  # of the machine that ran it


def read(path):
    return nbformat.read(path, as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def kinds(notebook):
    """What each code cell shows."""
    return [
        [sorted(output.get("data", {output.get("name"): ""})) for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def check(notebook, pictures):
    assert sum("image/png" in output.get("data", {}) for output in outputs(notebook)) == pictures
    assert not [output for output in outputs(notebook) if output.get("name") == "stderr"]
    for output in outputs(notebook):
        texts = (output.get("text", ""), *output.get("data", {}).values())
        assert not any(PATHS.search(text) for text in texts if isinstance(text, str))


def test_notebooks_are_seen():
    assert [path.stem for path in NOTEBOOKS] == list(PICTURES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_public_names_only(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert not re.search(
                r"^(?:import|from) (?:scripts|hydra|omegaconf|wandb)|_\w+ import|\bsys\.path", cell.source
            )
            assert not re.search(r"^from oneshot\S* import .*\b_", cell.source, re.M)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
    start = time.monotonic()
    result = NotebookRun(path, 120).execute()
    print(f"{path.stem}: {time.monotonic() - start:.0f} s")
    assert result.error is None, result.error.trace
    check(result.nb, PICTURES[path.stem])
    check(read(path), PICTURES[path.stem])
    assert kinds(read(path)) == kinds(result.nb), f"run {path.name} again and keep its outputs"
