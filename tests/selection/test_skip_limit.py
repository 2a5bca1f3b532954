"""The skip restriction of P-DARTS: the published rule, and that the limit holds."""

from functools import cache
from itertools import chain, combinations, permutations, product
from types import SimpleNamespace

import pytest
import torch
from helpers.support import darts

from oneshot.errors import InputError
from oneshot.search import Search
from oneshot.selection import SkipLimit
from oneshot.spaces import DARTSCells, NASBench201

NAMES = ("none", "max_pool_3x3", "skip_connect", "sep_conv_3x3")
NONE, SKIP = 0, 2
SPACE = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=NAMES)
NODES = ((0, 1), (2, 3, 4))  # edges of each node of a cell


def discretized(table):
    """The edges of one cell by plain loops: table[edge][candidate]."""
    best = [max((k for k in range(len(row)) if k != NONE), key=lambda k, row=row: row[k]) for row in table]
    decisions = [NONE] * len(table)
    for edges in NODES:
        strongest = sorted(edges, key=lambda e: table[e][best[e]], reverse=True)[:2]
        for e in strongest:
            decisions[e] = best[e]
    return tuple(decisions)


def tables():
    """Every order of the scores of the skips, with an operation that is weaker or stronger on each edge."""
    for strengths in permutations((0.31, 0.37, 0.43, 0.49, 0.55)):
        for weak in product((False, True), repeat=5):
            if sum(weak) >= 3:  # several skips are chosen
                yield [
                    [0.2, 0.01 + 0.001 * e, s, s - 0.04 * (1 + e) if w else s + 0.05]
                    for e, (s, w) in enumerate(zip(strengths, weak, strict=True))
                ]


def every_subset(table):
    """Suppressed edges -> the cell that is then found, for all 32 subsets."""
    subsets = chain.from_iterable(combinations(range(5), n) for n in range(6))
    return {
        frozenset(s): discretized([[*row[:2], 0.0 if e in s else row[2], row[3]] for e, row in enumerate(table)])
        for s in subsets
    }


def published(table, cells, limit):
    """The rule: from no edge on, suppress the weakest chosen skip."""
    suppressed = frozenset()
    while (cell := cells[suppressed]).count(SKIP) > limit:
        weakest = min((e for e, k in enumerate(cell) if k == SKIP), key=lambda e: table[e][SKIP])
        suppressed |= {weakest}
    return cell


@cache
def cases():
    found = []
    for table in tables():
        cells = every_subset(table)
        found += [(table, limit, published(table, cells, limit), cells) for limit in range(4)]
    return found


def scores_of(table):
    """The table in the normal cell; in the reduction cell every edge is a skip."""
    reduce = [[0.1, 0.2, 0.9, 0.3]] * 5
    return torch.tensor([*table, *reduce])


def test_it_is_the_published_rule_in_every_case():
    changed = 0
    for table, limit, expected, cells in cases()[::3]:
        found = SkipLimit(limit).limited(SPACE, scores_of(table)).decisions
        assert found[:5] == expected and found[:5].count(SKIP) <= limit
        assert found[5:].count(SKIP) == 4  # the reduction cell keeps its skips
        changed += expected != cells[frozenset()]
    assert changed > 1000


def test_below_the_limit_nothing_changes():
    for table, _, _, cells in cases()[::40]:
        assert SkipLimit(4).limited(SPACE, scores_of(table)).decisions[:5] == cells[frozenset()]


def test_another_edge_can_take_the_place_of_a_skip():
    """The third edge of the second node has nothing but weak operations: without its skip it is left out."""
    table = [[0.1, 0.1, 0.2, 0.6]] * 2 + [[0.1, 0.1, 0.2, 0.6], [0.1, 0.3, 0.2, 0.1], [0.1, 0.05, 0.7, 0.05]]
    assert discretized(table) == (3, 3, 3, 0, 2)
    assert SkipLimit(0).limited(SPACE, scores_of(table)).decisions[:5] == (3, 3, 3, 1, 0)


def test_all_cells_together():
    table = [[0.1, 0.1, 0.2, 0.6]] * 4 + [[0.1, 0.1, 0.7, 0.1]]
    assert SkipLimit(1).limited(SPACE, scores_of(table)).decisions.count(SKIP) == 5
    for limit in range(5):
        assert SkipLimit(limit, cell=None).limited(SPACE, scores_of(table)).decisions.count(SKIP) == limit


def test_scores_of_zero_come_before_a_suppressed_skip():
    """As of an architect that has decided: all skips, and 0 elsewhere."""
    names = ("none", "skip_connect", "sep_conv_3x3")  # of equal scores the earlier candidate wins
    first = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=names)
    scores = torch.zeros(first.shape)
    scores[:, 1] = 1
    for limit in range(4):
        assert SkipLimit(limit).limited(first, scores).decisions[:5].count(1) == limit
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    skip = space.choices[0].candidates.index("skip_connect")
    one_hot = torch.zeros(space.shape)
    one_hot[:, skip] = 1
    limit = SkipLimit(2, cell=None)
    limit.check(space)
    assert limit.limited(space, one_hot).decisions.count(skip) == 2


def test_a_limit_that_cannot_hold_is_refused(data):
    only = DARTSCells(data, cells=3, channels=4, nodes=2, candidates=("none", "skip_connect"))
    for limit in (2, 3):
        with pytest.raises(InputError, match=f"selection.limit={limit}: .*'darts' has at least 4 times skip_connect"):
            Search(only, darts(only), data, selection=SkipLimit(limit))
    found = SkipLimit(4)(only, darts(only), SimpleNamespace())
    assert found.decisions[:5].count(1) == 4
    SkipLimit(2).check(SPACE)


def test_bad_arguments(data):
    for value in (-1, 1.5, True, None):
        with pytest.raises(InputError, match=f"selection.limit={value}"):
            SkipLimit(value)
    cells = NASBench201(data, cells=1, channels=4)
    with pytest.raises(
        InputError, match="selection.cell='normal': the space 'nasbench201' has no such cell; .*: cell;"
    ):
        Search(cells, darts(cells), data, selection=SkipLimit())
    with pytest.raises(InputError, match=r"selection.skip='skip': no choice has it; candidates: none, max_pool_3x3"):
        SkipLimit(skip="skip").check(SPACE)
