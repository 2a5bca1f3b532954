"""The controls of a search: against a plain loop, enumeration, and counts by hand."""

import random
from itertools import product

import pytest
import pytorch_lightning as pl
import torch
from helpers.own_data import images
from helpers.ragged import Ragged
from helpers.support import QUIET, Keep, darts, small_space

from oneshot import Stage, fit, plots
from oneshot.architects import DARTS
from oneshot.cost import network_cost
from oneshot.data import digits, tensors
from oneshot.draws import seed_of
from oneshot.errors import Diverged, InputError
from oneshot.fitting.controls import Controls, controls_of, measure_controls
from oneshot.fitting.evaluation import one_path
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.tasks import Regression

SPACE = DARTSCells((1, 8, 8), 10, 3, 4, 2, candidates=("skip_connect", "none", "sep_conv_3x3"))
EVERY = [SPACE.architecture(d) for d in product(range(3), repeat=len(SPACE.choices)) if SPACE.is_valid(d)]


def searched(data, controls, seed=0, epochs=1, **options):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, darts(space), data, seed=seed, controls=controls, **options)
    pl.Trainer(max_epochs=epochs, **QUIET).fit(search)
    return search


def drawn(space, seed, number):
    return [space.sample(random.Random(seed_of(seed, "controls", n))) for n in range(number)]


def test_controls_equal_a_plain_loop_and_change_nothing_else(data):
    plain, search = searched(data, 0, seed=3), searched(data, 4, seed=3)
    assert plain.found_among is None and (plain.rows, plain.found) == (search.rows, search.found)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.supernet.parameters(), search.supernet.parameters(), strict=True)
    )
    space = search.space
    values = [search.measure(one)["accuracy"] for one in drawn(space, 3, 4)]
    largest = search.measure(space.largest())["accuracy"]
    assert search.found_among == Controls(search.found_valid["accuracy"], values, largest)
    assert len(set(values)) > 1 and search.control_seconds > 0
    more = measure_controls(space, search.found, 6, 3, lambda one: search.measure(one)["accuracy"])
    assert more.random[:4] == values  # the nth draw does not depend on how many there are


def test_a_large_architecture_part_is_measured_on_its_first_batches():
    """2,160 images are five batches of 432. All architectures see the same four."""
    x, y = images(2400)
    data = tensors(x, y, batch_size=64, architecture_fraction=0.9)
    search = searched(data, 2)
    batches = list(search.architecture_part.passes())[:4]
    assert [len(y) for _, y in batches] == [432] * 4

    @torch.no_grad()
    def correct(architecture):
        gates = one_path(search.space, architecture, torch.device("cpu"))
        return sum(int((search.supernet(x, gates).argmax(1) == y).sum()) for x, y in batches) / (4 * 432)

    search.supernet.eval()
    others = drawn(search.space, 0, 2)
    found, *values, largest = [correct(one) for one in (search.found, *others, search.space.largest())]
    expected = Controls(pytest.approx(found), pytest.approx(values), pytest.approx(largest), batches=4)
    assert search.found_among == expected and found != search.found_valid["accuracy"]


@pytest.mark.parametrize(
    ("found", "values", "maximize", "beaten", "most"),
    [
        (0.5, [0.4, 0.5, 0.6], True, 1, False),
        (0.5, [0.4, 0.5, 0.6], False, 1, False),
        (0.5, [0.5, 0.5], True, 0, False),
        (0.5, [0.4, 0.6], True, 1, False),  # half is not most
        (0.5, [0.4, 0.3, 0.6], True, 2, True),
        (0.5, [0.4, 0.3, 0.6], False, 1, False),
        (2.5, [3.0, 9.0, 2.5], False, 2, True),
        (0.5, [], True, 0, False),
    ],
)
def test_equal_ones_are_not_beaten(found, values, maximize, beaten, most):
    controls = Controls(found, values, None)
    assert (controls.beaten(maximize), controls.beats_most(maximize)) == (beaten, most)
    result = controls.to_result(maximize)
    assert result["share_beaten"] == (beaten / len(values) if values else None)
    assert result["mean"] == (pytest.approx(sum(values) / len(values)) if values else None)


@pytest.mark.parametrize(("largest", "up", "down"), [(None, True, True), (0.4, True, False), (0.5, False, False)])
def test_the_largest_is_beaten_by_a_better_one_alone(largest, up, down):
    controls = Controls(0.5, [0.1], largest)
    assert (controls.beats_largest(), controls.beats_largest(False)) == (up, down)


def test_a_minimized_metric(data):
    x, _ = images(64, side=8)
    data = tensors(x, x.float().mean((1, 2, 3)) / 255, task=Regression(), batch_size=16)
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, DARTS(space), data, controls=3)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    name = search.metric.name
    assert not search.metric.quantity.maximize
    assert search.found_among.random == [search.measure(one)[name] for one in drawn(space, 0, 3)]


def test_the_largest_has_the_most_parameters_of_all_built_networks():
    space = DARTSCells((1, 8, 8), 10, 3, 4, 1, candidates=("skip_connect", "sep_conv_3x3"))
    every = [space.architecture(d) for d in product(range(2), repeat=len(space.choices)) if space.is_valid(d)]
    sizes = {one: network_cost(space, one, (1, 8, 8))["parameters"] for one in every}
    assert len(every) == 16 and sizes[space.largest()] == max(sizes.values()) > min(sizes.values())


@pytest.mark.parametrize("seed", range(8))
def test_after_stages_only_what_is_left_is_drawn(seed):
    """`none` stays possible, as it is the absence of an edge."""
    kept = torch.rand(SPACE.shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    kept[:, 2] |= ~kept[:, 0]  # an edge that is there needs an operation
    left = SPACE.possible(kept)
    valid = {one for one in EVERY if all(left[i, k] for i, k in enumerate(one.decisions))}
    numbers = {one: n for n, one in enumerate(EVERY)}
    found, seen = EVERY[min(map(numbers.__getitem__, valid))], []

    def measure(one):
        seen.append(one)
        return float(numbers[one])

    controls = measure_controls(SPACE, found, 5, 1, measure, left)
    assert len(seen) > 1 and {*seen} <= valid < {*EVERY} and controls.left
    parameters = SPACE.parameters()
    size = {one: sum(float(parameters[i, k]) for i, k in enumerate(one.decisions)) for one in valid}
    assert size[SPACE.largest(left=left)] == max(size.values())


def test_draws_after_stages_are_uniform():
    left = torch.ones(SPACE.shape, dtype=torch.bool)
    left[0, 0] = left[-1, 2] = False
    valid = [one for one in EVERY if left[0, one.decisions[0]] and left[-1, one.decisions[-1]]]
    counts = dict.fromkeys(valid, 0)
    expected = 4
    for n in range(expected * len(valid)):
        counts[SPACE.sample_by(left.double().tolist(), random.Random(seed_of(0, "controls", n)))] += 1
    chi = sum((count - expected) ** 2 / expected for count in counts.values())
    assert abs(chi - len(valid)) < 4 * (2 * len(valid)) ** 0.5  # four standard deviations of a chi-square


def test_a_space_of_one_architecture_has_no_controls():
    left = torch.zeros(SPACE.shape, dtype=torch.bool)
    found = EVERY[7]
    left[torch.arange(len(left)), torch.tensor(found.decisions)] = True
    assert measure_controls(SPACE, found, 5, 0, lambda one: 1 / 0, left) is None


def test_a_space_without_places_has_no_largest():
    space = Ragged()
    controls = measure_controls(space, space.architecture((0, 0, 0)), 3, 0, lambda one: float(sum(one.decisions)))
    assert controls == Controls(0.0, [float(sum(one.decisions)) for one in drawn(space, 0, 3)], None)


def test_a_control_that_is_not_finite_fails_no_search_but_the_found_one_does():
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    first, second, third = drawn(space, 0, 3)

    def measure(one):
        if one in (second, space.largest()):
            raise Diverged("loss is nan")
        return float(one.decisions[0])

    values = [float(first.decisions[0]), float(third.decisions[0])]
    controls = measure_controls(space, first, 3, 0, measure)
    assert controls == Controls(values[0], values, None, failed=1)
    with pytest.raises(Diverged):
        measure_controls(space, second, 3, 0, measure)


def test_each_architecture_is_measured_once():
    space, seen = Ragged(), []
    measure_controls(space, space.architecture((0, 0, 0)), 40, 0, lambda one: float(len(seen.append(one) or seen)))
    assert len(seen) == len({*seen}) <= 30


def test_a_search_in_stages_compares_with_what_is_left(data):
    search = searched(data, 3, epochs=2, stages=[Stage(), Stage(keep=1)])
    assert search.found_among.left and len(search.found_among.random) == 3
    left = search.space.possible(search.architect.mask).double().tolist()
    others = [search.space.sample_by(left, random.Random(seed_of(0, "controls", n))) for n in range(3)]
    assert search.found_among.random == [search.measure(one)["accuracy"] for one in others]


def test_a_search_that_is_continued_has_the_same_controls(tmp_path):
    data = digits(batch_size=16, train_size=64)
    keep = Keep(tmp_path / "first.ckpt")
    space = small_space(data, nodes=1)

    def new(seed):
        torch.manual_seed(seed)
        return Search(space, darts(space), data, seed=0, controls=3)

    whole, resumed = new(0), new(1)
    pl.Trainer(max_epochs=2, callbacks=[keep], **{**QUIET, "enable_checkpointing": True}).fit(whole)
    pl.Trainer(max_epochs=2, **QUIET).fit(resumed, ckpt_path=keep.path)
    assert resumed.found_among == whole.found_among and len(whole.found_among.random) == 3


def test_the_result_holds_them_and_gives_them_back(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "save", lambda figure, path: [])
    data = digits(batch_size=16, train_size=64)
    space = small_space(data, nodes=1)
    first, again, without = (Search(space, darts(space), data, controls=n) for n in (2, 2, 0))
    result = fit(first, 1, tmp_path / "a", accelerator="cpu", show=False)
    assert result["controls"] == first.found_among.to_result() and result["control_seconds"] > 0
    assert controls_of(result) == first.found_among
    fit(again, 1, tmp_path / "a", accelerator="cpu", show=False)  # is finished, and only read
    assert again.found_among == first.found_among
    assert fit(without, 1, tmp_path / "a", accelerator="cpu", show=False) == result  # its number may be another one


GOOD = Controls(0.5, [0.4], None).to_result()


@pytest.mark.parametrize(
    "bad",
    [None, 3, [], {}, {"found": 1}]
    + [GOOD | change for change in ({"found": "x"}, {"random": 3}, {"random": ["x"]}, {"largest": "x"})]
    + [GOOD | change for change in ({"failed": -1}, {"batches": True}, {"left": 1}, {"found": True})],
)
def test_what_a_stranger_wrote_is_no_controls(bad):
    assert controls_of({"controls": GOOD}) == Controls(0.5, [0.4], None)
    assert controls_of({"controls": bad}) is None


@pytest.mark.parametrize("bad", [-1, 1.5, True, None])
def test_a_number_out_of_range_is_refused(data, bad):
    space = small_space(data)
    with pytest.raises(InputError, match=f"controls={bad!r}: must be a whole number, at least 0"):
        Search(space, darts(space), data, controls=bad)
