"""Each rule against an independent answer: an enumeration, a graph, or a plain loop."""

from fractions import Fraction
from itertools import product

import networkx as nx
import pytest
import torch
from helpers.support import small_space
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.stopping import Decided, EigenvalueRise, History, SkipCount, Stop, StoppingRule

SKIP = "skip_connect"


def space_of(nodes=2):
    candidates = ("none", SKIP, "max_pool_3x3")
    return DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=nodes, candidates=candidates)


def history(space, tables, rows=None):
    """A search whose scores at the start and after each epoch are these tables."""
    rows = [{"entropy": 1.0}] * (len(tables) - 1) if rows is None else rows
    return History(space, rows, [table.tolist() for table in tables])


def of(space, *architectures):
    """A search whose scores were uniform at the start and one-hot at each epoch's end."""
    uniform = space.mask / space.mask.sum(1, keepdim=True)
    return history(space, [uniform, *map(space.one_hot, architectures)])


def every(space):
    ranges = [range(len(choice.candidates)) for choice in space.choices]
    return [space.architecture(d) for d in product(*ranges) if space.is_valid(d)]


def skips(graph):
    return sum(operation == SKIP for _, _, operation in graph.edges(data="operation"))


@pytest.mark.parametrize("cell", ["normal", "reduce", None])
def test_skips_of_every_cell_are_those_of_its_graph(cell):
    space = space_of()
    architectures = every(space)
    counts = [SkipCount(cell=cell).count(of(space, found), 1) for found in architectures]
    assert counts == [skips(space.graphs(found)[cell or "normal"]) for found in architectures]
    assert set(counts) == {0, 1, 2, 3, 4} and len(architectures) > 1000


def test_skips_that_lead_nowhere_do_not_count():
    """Edges of NAS-Bench-201 from which no path leads to the output."""
    space, draws = NASBench201((1, 8, 8), 10), torch.Generator().manual_seed(0)
    differs = 0
    for _ in range(300):
        found = space.architecture(torch.randint(5, (6,), generator=draws).tolist())
        (graph,) = space.graphs(found).values()
        end = max(graph.nodes, key=int)
        own = [(a, b) for a, b, name in graph.edges(data="operation") if name == SKIP and nx.has_path(graph, b, end)]
        assert SkipCount().count(of(space, found), 1) == len(own)
        differs += len(own) < skips(graph)
    assert differs > 10


@pytest.mark.parametrize(
    ("counts", "limit", "from_epoch", "stop"),
    [
        ([0, 1, 2], 2, 1, (3, 2)),
        ([0, 0, 4, 0], 2, 1, (3, 2)),  # all at once
        ([1, 1, 1], 2, 1, None),
        ([3], 2, 1, (1, 0)),  # the start has none, as it is uniform and pools come first
        ([3, 3, 0, 2], 2, 2, (2, 2)),  # the epoch before had as many
        ([3, 3, 0, 2], 2, 3, (4, 3)),
        ([0, 1], 1, 1, (2, 1)),
    ],
)
def test_it_ends_at_the_first_epoch_with_that_many(counts, limit, from_epoch, stop):
    space = space_of()
    found = {skips(space.graphs(one)["normal"]): one for one in every(space)}
    rule = SkipCount(limit, from_epoch=from_epoch)
    uniform = torch.tensor([0.3, 0.3, 0.4]).repeat(len(space.choices), 1)
    tables = [uniform, *(space.one_hot(found[n]) for n in counts)]
    said = [rule(history(space, tables[: n + 1])) for n in range(1, len(tables))]
    first = next(((n, one.kept_epoch) for n, one in enumerate(said, 1) if one), None)
    assert first == stop
    if stop:
        assert f"{counts[stop[0] - 1]} times skip_connect in the cell 'normal'" in said[stop[0] - 1].reason


@pytest.mark.parametrize("rule", [SkipCount(1), Decided(entropy=1.0, epochs=1)])
def test_nothing_counts_before_the_architect_has_moved(rule):
    space = space_of()
    full = next(one for one in every(space) if skips(space.graphs(one)["normal"]) == 4)
    same = space.one_hot(full)
    rows = [{"entropy": 0.0}] * 3
    assert rule(history(space, [same] * 4, rows)) is None
    moved = rule(history(space, [same] * 3 + [0.9 * same], rows))
    assert moved is not None and moved.kept_epoch == 3


def unchanged(decisions, warm, epochs):
    """The first epoch after which the last `epochs` epochs, all after the warm-up, have changed nothing."""
    for end in range(1, len(decisions)):
        window = range(end - epochs + 1, end + 1)
        if window.start > warm and all(decisions[n] == decisions[n - 1] for n in window):
            return end
    return None


@given(st.lists(st.integers(0, 2), min_size=2, max_size=12), st.integers(0, 4), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_an_architecture_that_does_not_change(numbers, warm, epochs):
    """Scores move after the warm-up in each epoch, the architecture only sometimes."""
    space = space_of(nodes=1)
    found = every(space)[:3]
    numbers = numbers[:1] * (warm + 1) + numbers
    tables = [space.one_hot(found[k]) * (1 - 0.01 * max(0, n - warm)) for n, k in enumerate(numbers)]
    rule = Decided(entropy=None, epochs=epochs)
    said = [rule(history(space, tables[: n + 1])) for n in range(1, len(tables))]
    first = next(((n, one.kept_epoch) for n, one in enumerate(said, 1) if one), None)
    expected = unchanged(numbers, warm, epochs)
    assert first == (None if expected is None else (expected, expected))


def test_a_small_entropy():
    space = space_of(nodes=1)
    tables = [space.one_hot(every(space)[0]) * (1 - 0.1 * n) for n in range(4)]
    rows = [{"entropy": value} for value in (0.5, 0.3, 0.29)]
    said = [Decided(0.3, None)(history(space, tables[: n + 1], rows[:n])) for n in (1, 2, 3)]
    assert said == [None, None, Stop("entropy 0.29 is below 0.3", 3)]
    assert Decided(0.3, None).rows == ("entropy",) and Decided(None, 3).rows == ()


def as_the_authors(values, window, ratio, first, lag, every):
    """DARTS-ES, with the bookkeeping of the authors' tracker, in fractions: epoch of the stop and the kept one, from 0.

    Values come after the epochs 0, `every`, ... A local average belongs to the epoch in the middle of its window.
    """
    seen, averages = [], []
    for epoch, value in enumerate(values):
        if epoch % every:
            continue
        seen.append(Fraction(value))
        if len(seen) < (window + 1) // 2:
            continue
        last = seen if len(seen) < window else seen[-window:]
        averages.append(sum(last) / len(last))
        middle = epoch - every * (window // 2)
        if middle - every * lag >= first:
            now, before = averages[-1], averages[-1 - lag]
            assume(before != ratio * now)  # which rounding decides
            if now / before > 1 / ratio:
                return epoch, middle - every * lag
    return None


def rising(values, rule):
    """The stop of a search with these eigenvalues after its epochs: its epoch and the kept one, from 1."""
    rows = [{"alpha_eigenvalue_largest": value} for value in values]
    for epoch in range(1, len(rows) + 1):
        said = rule(History(space_of(1), rows[:epoch], []))
        if said:
            return epoch, said.kept_epoch
    return None


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=60),
    st.integers(1, 7),
    st.sampled_from([Fraction(3, 4), Fraction(1, 2), Fraction(9, 10)]),
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 3),
)
@settings(max_examples=400, deadline=None)
def test_a_rise_as_the_authors_find_it(values, window, ratio, first, lag, every):
    stop = as_the_authors(values, window, ratio, first - 1, lag, every)
    found = rising(values, EigenvalueRise(window, first, lag, float(ratio), every))
    assert found == (None if stop is None else (stop[0] + 1, stop[1] + 1))


def test_a_rise_with_the_published_numbers():
    """1 until epoch 30, then 2. Two of five are 2 after epoch 33, the first mean above 4/3; epoch 21 is kept."""
    values = [1.0] * 30 + [2.0] * 20
    assert rising(values, EigenvalueRise()) == (33, 21)
    assert rising([1.0] * 50, EigenvalueRise()) is None
    assert rising(values[::-1], EigenvalueRise()) is None  # it falls
    steep = [2.0**n for n in range(50)]
    assert rising(steep, EigenvalueRise()) == (23, 11)  # the first that may be kept, as from_epoch=10 is even
    assert EigenvalueRise().back == 12


@given(st.integers(1, 7), st.integers(1, 12), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_no_rise_ends_a_search_earlier_than_it_says(window, first, lag, every):
    """And eigenvalues that double each epoch end it right there."""
    rule = EigenvalueRise(window, first, lag, 0.75, every)
    assert rising([2.0**n for n in range(120)], rule)[0] == rule.first_end


def test_a_mean_that_is_not_positive_is_no_lower_end_of_a_rise():
    rule = EigenvalueRise(window=1, from_epoch=1, lag=1, ratio=0.75, every=1)
    assert rising([-1.0, 5.0, 4.0, 3.0], rule) is None and rising([0.0, 5.0], rule) is None
    assert rising([-1.0, -9.0], rule) is None  # which falls, though the ratio of the two is small
    assert rising([-1.0, 3.0, 5.0], rule) == (3, 2)


def test_a_number_that_is_missing_is_named():
    rows = [{"entropy": 1.0, "valid_loss": 2.0}]
    with pytest.raises(InputError, match="stop: the row of epoch 1 has no x; it has entropy, valid_loss"):
        History(space_of(1), rows, []).number("x", 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SkipCount(0), "stop.limit=0"),
        (lambda: SkipCount(1.5), "stop.limit=1.5"),
        (lambda: SkipCount(from_epoch=0), "stop.from_epoch=0"),
        (lambda: SkipCount(15).check(small_space(nodes=4)), "stop.limit=15: must be a whole number, from 1 to 14"),
        (lambda: SkipCount(skip="skip").check(small_space()), "unknown stop.skip 'skip'; did you mean 'skip_connect'"),
        (lambda: SkipCount(cell="norml").check(small_space()), "unknown stop.cell 'norml'; did you mean 'normal'"),
        (lambda: Decided(None, None), "stop.entropy=None: must be a number if stop.epochs is None too"),
        (lambda: Decided(0.0), "stop.entropy=0.0"),
        (lambda: Decided(1.1), "stop.entropy=1.1"),
        (lambda: Decided(None, 0), "stop.epochs=0"),
        (lambda: EigenvalueRise(window=0), "stop.window=0"),
        (lambda: EigenvalueRise(from_epoch=0), "stop.from_epoch=0"),
        (lambda: EigenvalueRise(lag=0), "stop.lag=0"),
        (lambda: EigenvalueRise(ratio=0), "stop.ratio=0"),
        (lambda: EigenvalueRise(ratio=1.5), "stop.ratio=1.5"),
        (lambda: EigenvalueRise(every=0), "stop.every=0"),
        (StoppingRule, "abstract"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((InputError, TypeError), match=message):
        make()
