"""README's examples run, and its commands are the ones that .ci/run takes from it."""

import re
import sys

import pytest
from helpers.support import ROOT

README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_examples_are_seen():
    assert len(EXAMPLES) == 4


@pytest.mark.parametrize("code", EXAMPLES, ids=["operation", "space", "architect", "strategy"])
def test_example_runs(code):
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


def test_commands():
    assert re.search(
        r"^pip install -e \. -c constraints.txt && python scripts/search.py && python scripts/retrain.py$", README, re.M
    )
    assert re.search(r'^pip install -e "\.\[dev\]" -c constraints.txt && pytest -n 2$', README, re.M)


def test_pictures_are_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)


def test_own_operation_from_the_command_line(tmp_path, monkeypatch):
    """The command of README's section on operations, with smaller sizes."""
    import search
    from hydra.core.global_hydra import GlobalHydra

    (command,) = re.findall(r"python scripts/search.py ('space[^`]*my_operations[^`]*?)\n```", README, re.DOTALL)
    arguments = [a.strip("'\\ \n") for a in re.findall(r"'[^']*'|\S+", command) if a.strip("\\ \n")]
    (tmp_path / "my_operations.py").write_text(EXAMPLES[0].split("\n\n\n")[0] + "\n\n" + EXAMPLES[0].split("\n\n\n")[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    GlobalHydra.instance().clear()
    sizes = ["epochs=1", "space.cells=3", "space.channels=4", "data.train_size=128", "data.batch_size=32", "out=own"]
    monkeypatch.setattr(sys, "argv", ["search.py", *arguments, *sizes])
    search.main()
    assert "conv_1x1" in (tmp_path / "own" / "architecture.json").read_text()


def test_own_space_from_the_command_line(tmp_path, monkeypatch):
    """The space of README as `space=chain`, with the YAML that README describes."""
    import search
    from hydra.core.global_hydra import GlobalHydra

    (tmp_path / "my_space.py").write_text(EXAMPLES[1])
    (tmp_path / "conf" / "space").mkdir(parents=True)
    (tmp_path / "conf" / "space" / "chain.yaml").write_text("_target_: my_space.Chain\nlayers: 3\nchannels: 8\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    GlobalHydra.instance().clear()
    where = f"hydra.searchpath=[file://{tmp_path / 'conf'}]"
    sizes = ["epochs=1", "data.train_size=128", "data.batch_size=32", "out=own"]
    monkeypatch.setattr(sys, "argv", ["search.py", "space=chain", where, *sizes])
    search.main()
    assert "conv_3x3" in (tmp_path / "own" / "architecture.json").read_text()
