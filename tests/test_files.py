"""Only runs/files.py opens, renames and removes files, and parses what strangers may have written."""

import ast

import pytest
from helpers.support import ROOT

HOME = ROOT / "oneshot" / "runs" / "files.py"
ANYWHERE = {  # methods and functions that touch files, however they are reached
    *("open", "fdopen", "read_text", "read_bytes", "write_text", "write_bytes", "truncate", "ftruncate", "rename"),
    *("unlink", "rmtree", "rmdir", "removedirs", "symlink", "link", "symlink_to", "hardlink_to", "touch", "copyfile"),
    *("copytree", "move", "safe_load", "unsafe_load", "full_load", "load_file", "save_file", "safe_open", "fromfile"),
}
OF_MODULES = {  # names that other things have too
    *("os.replace", "os.remove", "shutil.copy", "json.load", "json.loads", "yaml.load", "OmegaConf.load"),
    *("OmegaConf.save", "torch.load", "torch.save", "np.load", "np.save", "pickle.load", "pickle.loads"),
}
ALLOWED = {  # what touches no file that a stranger could have left
    ("cli/entry.py", "os.write"),
    ("cli/processes.py", "os.open"),  # /dev/null
    ("cli/streams.py", "os.open"),  # /dev/null
    ("runs/held.py", "os.open"),  # the folder of a run
    ("cli/loggers.py", "Image.open"),  # of bytes that files.py has read
    ("cli/commands/baseline.py", "baseline.answers.open"),  # a method of ours
    ("data/pixels.py", "Image.open"),  # of bytes that files.py has read; formats and sizes are limited
    ("estimators/logged.py", "self.open"),  # a method of ours
    ("executors/calls.py", "pickle.loads"),  # from a process of the same user
    ("executors/submitit.py", "shutil.rmtree"),  # submitit's folder, which this process has made
    ("executors/submitit.py", "empty.rmdir"),
    ("fitting/checkpoints.py", "torch.load"),  # of a file that files.py has opened
    ("fitting/checkpoints.py", "torch.save"),  # into memory
    ("tables/published.py", "np.load"),  # of the package's own file, which files.py has read
}
FILES = sorted(path for path in (ROOT / "oneshot").rglob("*.py") if path != HOME)


def found(path):
    """(function, line) of each call in a file that could touch a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ours = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2] == "files":
            ours |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name not in ours and (name in OF_MODULES or name.rpartition(".")[2] in ANYWHERE):
                yield name, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "oneshot")))
def test_files_are_opened_in_one_place(path):
    short = str(path.relative_to(ROOT / "oneshot"))
    elsewhere = [f"{short}:{line}: {name}" for name, line in found(path) if (short, name) not in ALLOWED]
    assert not elsewhere


def test_the_rule_sees_what_it_should(tmp_path):
    text = "import os, json\nopen('a')\nos.replace('a', 'b')\np.write_text('x')\njson.load(f)\n'a'.replace('a', 'b')\n"
    (tmp_path / "bad.py").write_text(text)
    assert [name for name, _ in found(tmp_path / "bad.py")] == ["open", "os.replace", "p.write_text", "json.load"]
