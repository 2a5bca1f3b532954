"""What Lightning's users are used to works, or is refused with its reason; docs/lightning.md has a table of it."""

import re
import warnings

import pytest
from helpers.habits import CALLS, REFUSED, WORKS, fitted, message, page, retraining, search
from helpers.support import ROOT

from oneshot.errors import InputError


@pytest.fixture(scope="module")
def modules():
    """They are never fitted."""
    return search(), retraining()


@pytest.fixture(autouse=True)
def as_before():
    """Settings of the process that trainers leave behind."""
    import torch

    deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = benchmark


@pytest.mark.parametrize("habit", WORKS, ids=lambda habit: habit.text)
def test_it_works(tmp_path, habit):
    habit.check(tmp_path)


@pytest.mark.parametrize("habit", (*REFUSED, *CALLS), ids=lambda habit: habit.text)
def test_it_is_refused(tmp_path, modules, habit):
    with pytest.raises(InputError, match=f"^{re.escape(message(habit))}$"):
        habit.check(*modules, tmp_path)
    assert not any(module.done or module.rows for module in modules) and not (tmp_path / "run").exists()


def test_the_page_has_the_list():
    text = (ROOT / "docs" / "lightning.md").read_text()
    assert text == page(text), "python scripts/habits.py"
    assert len(WORKS) + len(REFUSED) + len(CALLS) <= text.count("\n| ")


def test_a_refused_module_can_be_fitted_then():
    module = search()
    with pytest.raises(InputError, match="max_steps=3"):
        fitted(module, max_steps=3)
    fitted(module)
    again = search()
    fitted(again)
    assert module.rows == again.rows
