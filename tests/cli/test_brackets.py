"""Early termination, by hand."""

import pytest

from oneshot.cli.sweep.brackets import brackets
from oneshot.errors import InputError


def of(**settings):
    return brackets({"type": "hyperband", **settings})


def test_rows():
    assert of(min_iter=3).rows[:4] == (3, 9, 27, 81)
    assert of(min_iter=3, eta=1.5).rows[:4] == (3, 4, 6, 10)
    assert of(max_iter=27, s=2).rows == (3, 9)
    assert of(max_iter=27, s=9).rows == (1, 3, 9)
    assert brackets(None) is None


def test_the_example_of_the_documentation():
    """Of five jobs with brackets at rows 1 and 2, b is stopped at the first and c at the second; a and e have ended."""
    rule = of(max_iter=5, eta=2, s=2)
    assert rule.rows == (1, 2)
    losses = {"a": [10, 9], "b": [10, 10], "c": [10, 8, 8], "d": [10, 7, 7], "e": [10, 6, 6]}
    # at row 1: 6 7 8 9 10, the third of which is 8; at row 2: 6 7 8, the second of which is 7
    found = {a: rule.poor_at(losses[a], [losses[b] for b in losses if b != a]) for a in losses}
    assert found == {"a": 1, "b": 1, "c": 2, "d": None, "e": None}


def test_the_best_up_to_there_counts_unless_strict():
    own, others = [1.0, 5.0, 5.0], [[3.0, 2.0], [3.0, 2.0]]
    assert of(min_iter=1, eta=3).poor_at(own, others) is None
    assert of(min_iter=1, eta=3, strict=True).poor_at(own, others) == 1


def test_alone_or_equal_goes_on():
    rule = of(min_iter=1, eta=3, strict=True)
    assert rule.poor_at([1.0, 9.0], []) is None and rule.poor_at([1.0, 9.0], [[1.0, 9.0]] * 5) is None
    assert rule.poor_at([1.0], [[0.0, 0.0]]) is None  # no bracket yet
    assert rule.poor_at([1.0, 9.0], [[0.0]]) is None  # nobody else has come so far


def test_passed_brackets_are_not_looked_at_again():
    rule, better = of(min_iter=1, eta=3, strict=True), [[0.0, 0.0, 8.0, 8.0]]
    own = [9.0, 9.0, 9.0, 7.0, 7.0]
    assert rule.poor_at(own, better) == 1 and rule.passed(len(own)) == 3 and rule.passed(1) == -1
    assert rule.poor_at(own, better, passed=3) is None
    assert rule.poor_at(own, [*better, [0.0, 0.0, 0.0, 6.0], [0.0, 0.0, 0.0, 6.5]], passed=3) == 3  # came by since


BAD = [
    ({"type": "envelope"}, "type: hyperband"),
    ("hyperband", "must be a mapping"),
    ({"type": "hyperband"}, "min_iter"),
    ({"type": "hyperband", "max_iter": 9}, "early_terminate.s=0"),
    ({"type": "hyperband", "max_iter": 2, "s": 1}, "leaves no bracket"),
    ({"type": "hyperband", "min_iter": 0}, "min_iter=0"),
    ({"type": "hyperband", "min_iter": 1, "eta": 1}, "eta=1"),
    ({"type": "hyperband", "min_itr": 1}, "did you mean 'min_iter'"),
    ({"type": "hyperband", "min_iter": 1, "strict": 1}, "strict=1"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_ones_are_named(content, message):
    with pytest.raises(InputError) as error:
        brackets(content)
    assert message in str(error.value)
