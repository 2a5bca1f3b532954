"""Commands as a user types them."""

import pytest
from helpers.commands import call


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run a command in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda command, *words: (call(command, *words), *capsys.readouterr())
