"""Scripts as a user types them."""

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run a script's main in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(module, *arguments):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *arguments])
        code = 0
        try:
            module.main()
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return run
