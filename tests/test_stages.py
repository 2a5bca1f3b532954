"""Searches in stages: their updates, their borders, and that one stage is a search without stages."""

import copy
import shutil
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, darts, small_space
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from oneshot import Stage, fit
from oneshot.architects import ENAS, DrNAS, LambdaDARTS
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.draws import generator, seed_of
from oneshot.errors import InputError
from oneshot.fitting.dropping import CandidateDropPath, SkipDropout
from oneshot.fitting.widening import widen_state, widen_weights, widening
from oneshot.schedule import Plan, Schedule
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.stages import Stages, best, projection

P_DARTS = (  # in small: one cell more in each stage
    Stage(warmup=0.4, skip_dropout=0.1),
    Stage(warmup=0.4, depth=4 / 3, keep=5, restart=True, skip_dropout=0.4),
    Stage(warmup=0.4, depth=5 / 3, keep=3, restart=True, skip_dropout=0.7),
)
DRNAS = (Stage(warmup=0.4, partial_channels=4), Stage(warmup=0.4, partial_channels=2, keep=3))


@pytest.fixture(scope="module")
def data():
    return digits(train_size=96, batch_size=16)


def made(data, space=None, architect=darts, **options):
    torch.manual_seed(0)
    space = space or small_space(data)
    return Search(space, architect(space), data, seed=0, log_every=3, **options)


def searched(data, epochs=2, **options):
    search = made(data, **options)
    pl.Trainer(max_epochs=epochs, **QUIET).fit(search)
    return search


def same(first, second):
    assert first.rows == second.rows and first.scores == second.scores and first.found == second.found
    for one, other in ((first.supernet, second.supernet), (first.architect, second.architect)):
        pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_one_stage_is_a_search_without_stages():
    data = digits(train_size=64, batch_size=16)
    for schedule, stage in ((Schedule(), Stage()), (Schedule(warmup_epochs=1), Stage(warmup=0.5))):
        plain, staged = (
            searched(data, space=small_space(data, nodes=1), **options)
            for options in ({"schedule": schedule}, {"stages": [stage]})
        )
        same(plain, staged)


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(joint=True), Schedule(weight_steps=3, architecture_steps=2)])
def test_the_updates_of_stages_are_those_of_their_schedules_in_a_row(schedule):
    stages, batches = [(2, 1), (1, 0), (3, 2)], 4
    plan = Plan(schedule, stages)
    updates = [update for epoch in range(6) for update in plan.epoch(epoch, batches)]
    parts = [Plan(schedule, [stage]) for stage in stages]
    kinds = [u.kind for p, (n, _) in zip(parts, stages, strict=True) for e in range(n) for u in p.epoch(e, batches)]
    assert [update.kind for update in updates] == kinds
    assert [update.index for update in updates] == list(range(plan.total(6, batches)))
    weight = architecture = 0
    for update in updates:
        assert (update.weight, update.architecture) == (weight, architecture)
        weight += update.kind != "architecture"
        architecture += update.kind == "architecture"
    assert [plan.total(n, batches) for n in range(7)] == [
        sum(1 for epoch in range(n) for _ in plan.epoch(epoch, batches)) for n in range(7)
    ]


def test_borders_and_learning_rates_by_hand():
    stages = Stages(P_DARTS, Schedule())
    assert stages.borders(75) == [25, 50, 75] and stages.borders(7) == [2, 5, 7]
    assert [stages.of_learning_rate(75, n) for n in range(3)] == [25, 25, 25]
    assert [Stages(DRNAS, Schedule()).of_learning_rate(50, n) for n in range(2)] == [50, 50]
    mixed = Stages((Stage(share=2), Stage(keep=3), Stage(restart=True), Stage()), Schedule())
    assert [mixed.of_learning_rate(10, n) for n in range(4)] == [6, 6, 4, 4]
    assert [stages.number_after(n, 6) for n in range(7)] == [0, 0, 1, 1, 2, 2, 2]


def test_the_rate_of_the_dropout_is_the_published_one():
    """With 25 epochs of which 10 are weights only, as in the paper, written out."""
    stages = Stages(
        (Stage(warmup=0.4, skip_dropout=0.4), Stage(warmup=0.4, restart=True, skip_dropout=0.7)), Schedule()
    )
    for number, first in ((0, 0.4), (1, 0.7)):
        stages.number = number
        for epoch in range(25):
            expected = (
                first * (25 - epoch - 1) / 25 if epoch < 10 else first * 2.718281828459045 ** (-(epoch - 10) * 0.2)
            )
            assert stages.skip_dropout(25 * number + epoch, 50) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5]), min_size=4, max_size=4), min_size=1), st.integers(1, 5))
def test_the_best_candidates_are_those_of_a_sorted_list(rows, number):
    mask = torch.tensor([[True, True, i % 2 == 0, True] for i in range(len(rows))])
    kept = best(torch.tensor(rows), mask, number)
    for row, there, found in zip(rows, mask.tolist(), kept.tolist(), strict=True):
        order = sorted((k for k in range(4) if there[k]), key=lambda k: (-row[k], k))
        assert [k for k in range(4) if found[k]] == sorted(order[:number])


def test_a_search_in_stages_equals_the_plain_loop(data):
    """P-DARTS without dropout, written out: new weights and new alpha at the border, three candidates left."""
    stages = [Stage(warmup=0.5), Stage(warmup=0.5, depth=4 / 3, keep=3, restart=True)]
    search = searched(data, epochs=4, stages=stages)

    torch.manual_seed(0)
    space = small_space(data)
    start = darts(space).alpha.detach().clone()
    supernet, parts = space.supernet().to(memory_format=torch.channels_last), data.split()
    mask, alpha, weight, architecture = space.mask, start, 0, 0
    for number in range(2):
        if number:
            kept = torch.softmax(alpha.detach().masked_fill(~mask, -torch.inf), 1).topk(3, dim=1).indices
            mask = torch.zeros_like(mask).scatter(1, kept, True)
            torch.manual_seed(seed_of(0, "stage", 1))
            deep = DARTSCells(data, cells=4, channels=4, nodes=2)
            supernet = deep.supernet().to(memory_format=torch.channels_last)
        alpha = start.clone().requires_grad_()
        sgd = torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
        adam = torch.optim.Adam([alpha], lr=0.02, betas=(0.5, 0.999), weight_decay=1e-3)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 2, 0.001)

        def gates():
            return torch.softmax(alpha.masked_fill(~mask, -torch.inf), 1)  # noqa: B023

        for epoch in range(2):
            for _ in range(parts[0].batches):
                if epoch:
                    x, y = parts[1].batch(0, architecture)
                    adam.zero_grad()
                    functional.cross_entropy(supernet(x, Gates(gates())), y).backward()
                    adam.step()
                    architecture += 1
                x, y = parts[0].batch(0, weight)
                sgd.zero_grad()
                functional.cross_entropy(supernet(x, Gates(gates().detach())), y).backward()
                torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5)
                sgd.step()
                weight += 1
            cosine.step()
    assert len(search.supernet.cells) == 4
    assert torch.equal(search.architect.mask, mask)
    assert torch.allclose(search.architect.alpha[mask], alpha[mask], atol=1e-6)
    for name, tensor in supernet.state_dict().items():
        if not name.startswith("cells") or ".edges." not in name:  # those of other candidates are not computed there
            assert torch.allclose(search.supernet.state_dict()[name], tensor, atol=1e-5), name
    x, y = parts[1].first()
    assert torch.allclose(search.supernet(x, search.architect.gates(None)), supernet(x, Gates(gates())), atol=1e-4)


def test_a_search_that_goes_on_keeps_momentum_learning_rate_and_alpha(data):
    """Only candidates are left out at the border, so that it is the bare loop with another mask."""

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer, module):
            sgd, adam = trainer.optimizers
            self.seen = [*getattr(self, "seen", []), (sgd.param_groups[0]["lr"], len(sgd.state), len(adam.state))]

    watch, search = Watch(), made(data, architect=DrNAS, stages=[Stage(), Stage(keep=4)])
    pl.Trainer(max_epochs=2, callbacks=[watch], **QUIET).fit(search)
    rates = [rate for rate, _, _ in watch.seen]
    assert rates == pytest.approx([0.025, 0.013])
    assert watch.seen[1][1] > 0 and watch.seen[1][2] == 1
    assert search.architect.mask.sum(1).tolist() == [4] * len(search.space.choices)


def test_wider_kernels_are_copies_of_narrow_ones(data):
    """Every entry of a wide tensor is the entry of the narrow one at the drawn channels; momentum likewise."""
    space = small_space(data)
    narrow, wide = (space.resized(partial_channels=k).supernet() for k in (4, 2))
    weights = [torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9) for net in (narrow, wide)]
    x, y = torch.randn(4, 1, 8, 8), torch.arange(4)
    functional.cross_entropy(narrow(x, Gates(torch.full(space.shape, 0.125))), y).backward()
    weights[0].step()
    weights[0].param_groups[0]["lr"] = 0.05
    widened = widening(0, 1)
    widen_weights(narrow, wide, widened)
    widen_state(*weights, widened)
    drawn, changed = {}, 0
    buffers = [
        {n: w.state[p]["momentum_buffer"] for n, p in net.named_parameters() if "momentum_buffer" in w.state[p]}
        for net, w in zip((narrow, wide), weights, strict=True)
    ]
    for states in ((narrow.state_dict(), wide.state_dict()), buffers):
        assert states[0].keys() == states[1].keys() and states[0]
        for name, old in states[0].items():
            new = states[1][name]
            index = []
            for a, b in zip(old.shape, new.shape, strict=True):
                if a != b and (a, b) not in drawn:
                    draws = generator(0, f"widening/{a}/{b}", 1)
                    drawn[a, b] = [*range(a), *torch.randint(a, (b - a,), generator=draws).tolist()]
                index.append(drawn[a, b] if a != b else list(range(a)))
            assert torch.equal(new, old[torch.meshgrid(*map(torch.tensor, index), indexing="ij")] if index else old), (
                name
            )
            changed += old.shape != new.shape
    assert changed and weights[1].param_groups[0]["lr"] == 0.05


def test_skip_dropout_drops_numbers_of_skips_alone(data):
    space = small_space(data, nodes=1)
    supernet, skip = space.supernet(), space.candidates.index("skip_connect")
    dropout = SkipDropout(space, supernet)
    cell = supernet.cells[0].graph
    inputs = [torch.ones(64, 4, 8, 8), torch.ones(64, 4, 8, 8)]

    def output(candidate):
        weight = torch.zeros(2, space.shape[1])
        weight[:, candidate] = 1
        return cell(inputs, Gates(weight))[-1]

    pool = space.candidates.index("avg_pool_3x3")
    bare = [output(skip), output(pool)]
    dropout.rate = 0.25
    values = output(skip)  # a sum of two edges, each with a mask of its own
    shares = [float((values - n / 0.75).abs().lt(1e-6).float().mean()) for n in range(3)]
    assert shares == pytest.approx([0.0625, 0.375, 0.5625], abs=0.02)
    assert torch.equal(output(pool), bare[1])
    supernet.eval()
    assert torch.equal(output(skip), bare[0])


def test_drop_path_drops_examples_of_the_other_candidates(data):
    space = small_space(data, nodes=1)
    supernet, skip, pool = space.supernet(), *(space.candidates.index(n) for n in ("skip_connect", "max_pool_3x3"))
    drop_path = CandidateDropPath(space, supernet)
    x = torch.randn(256, 4, 8, 8)
    cell = supernet.cells[0].graph

    def output(candidate):
        weight = torch.zeros(2, space.shape[1])
        weight[0, candidate] = 1
        return cell([x, x], Gates(weight))[-1]

    bare = [output(skip), output(pool)]
    drop_path.set(0.25)
    assert torch.equal(output(skip), bare[0])
    found = output(pool)
    dropped = found.flatten(1).eq(0).all(1)
    assert 0.15 < float(dropped.float().mean()) < 0.35
    assert torch.allclose(found[~dropped], bare[1][~dropped] / 0.75, atol=1e-5)


def test_a_search_with_drop_path_differs_and_ends(data):
    first, second = (searched(data, space=small_space(data, nodes=1), drop_path=rate) for rate in (0.0, 0.3))
    assert first.rows[1] == second.rows[1] or first.rows[-1] != second.rows[-1]
    assert first.rows[-1] != second.rows[-1]


class Copies(pl.Callback):
    """The folder of a fit after some of its updates, as a kill leaves it: what is not in a checkpoint is lost."""

    def __init__(self, folder, after):
        self.folder, self.after = folder, after

    def on_train_batch_end(self, trainer, module, *_):
        if module.done in self.after:
            shutil.copytree(self.folder, self.folder.with_name(str(module.done)))


@pytest.mark.parametrize("method", ["p_darts", "drnas", "darts_pt"])
def test_a_search_that_is_cut_off_anywhere_ends_the_same(data, tmp_path, method):
    data = digits(train_size=48, batch_size=12)
    space = NASBench201(data, cells=1, channels=4) if method == "darts_pt" else small_space(data, nodes=1)
    stages = {"p_darts": P_DARTS, "drnas": DRNAS}.get(method) or projection(space, search=1, tune=1)
    architect, epochs = DrNAS if method == "drnas" else darts, max(6, len(stages))
    made_ = partial(made, data, space, architect, stages=stages)
    options = dict(epochs=epochs, checkpoint_every=1, show=False)

    def files(folder):
        names = ("supernet.safetensors", "architect.safetensors", "scores.json", "metrics.jsonl", "architecture.json")
        return {name: (folder / name).read_bytes() for name in names}

    whole = made_()
    plan, batches = whole.stages.plan(epochs), whole.weight_part.batches
    borders = [plan.total(n, batches) for n in whole.stages.borders(epochs)[:-1][:3]]
    cuts = sorted({1, *borders, *(n + 1 for n in borders), plan.total(epochs, batches) - 1})
    copies = Copies(tmp_path / "whole", cuts)
    fit(whole, out=tmp_path / "whole", trainer=pl.Trainer(max_epochs=epochs, callbacks=[copies], **QUIET), **options)
    for after in cuts:
        torch.manual_seed(1)  # the next call starts elsewhere
        again = Search(space, architect(space), data, seed=0, log_every=3, stages=stages)
        fit(again, out=tmp_path / str(after), **options)
        assert files(tmp_path / str(after)) == files(tmp_path / "whole"), after
    restored = made_()
    fit(restored, out=tmp_path / "whole", **options)  # is finished, and only read
    assert torch.equal(restored.architect.scores(), whole.architect.scores())
    assert restored.found == whole.found and restored.stages.number == len(stages) - 1


@pytest.mark.parametrize(
    ("message", "options"),
    [
        ("nothing can be left out before it", dict(stages=[Stage(keep=3)])),
        ("schedule.warmup_epochs=1: must be 0", dict(stages=[Stage()], schedule=Schedule(warmup_epochs=1))),
        ("needs restart=true", dict(stages=[Stage(), Stage(depth=2)])),
        ("partial_channels=4 after 2", dict(stages=[Stage(partial_channels=2), Stage(partial_channels=4)])),
        ("must divide the channels", dict(stages=[Stage(partial_channels=3)])),
        ("is 2 cells; must be at least 3", dict(stages=[Stage(depth=0.5)])),
        ("must hold objects of the class Stage", dict(stages=[{"keep": 3}])),
        ("never move", dict(stages=[Stage(warmup=1.0)])),
        ("cannot leave out candidates", dict(stages=[Stage(), Stage(keep=3)], architect=ENAS, schedule=Schedule())),
        (
            "depends on the sizes of the supernet",
            dict(stages=[Stage(), Stage(depth=2, restart=True)], architect=LambdaDARTS),
        ),
    ],
)
def test_stages_that_do_not_fit_are_refused(data, message, options):
    with pytest.raises(InputError, match=message):
        made(data, space=DARTSCells(data, cells=4, channels=4, nodes=1), **options)


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        ("stages.share=0: must be", dict(share=0)),
        ("stages.warmup=1.5", dict(warmup=1.5)),
        ("stages.keep=0", dict(keep=0)),
        ("stages.depth=0", dict(depth=0)),
        ("stages.partial_channels=0", dict(partial_channels=0)),
        ("stages.restart=1", dict(restart=1)),
        ("stages.skip_dropout=2", dict(skip_dropout=2)),
    ],
)
def test_settings_of_a_stage_out_of_range_are_refused(message, settings):
    with pytest.raises(InputError, match=message):
        Stage(**settings)


def test_too_few_epochs_are_refused_before_the_start(data):
    with pytest.raises(InputError, match="epochs=2: too few for 3 stages"):
        made(data, stages=P_DARTS).check(2)


@pytest.mark.parametrize("space", [DARTSCells((1, 8, 8), 10, cells=4, channels=4), NASBench201((1, 8, 8), 10, cells=2)])
def test_a_resized_space_has_the_same_choices(space):
    before = copy.deepcopy(vars(space))
    other = space.resized(2.0, 2)
    assert other.fingerprint == space.fingerprint and other.cells == 2 * space.cells and other.partial_channels == 2
    assert len(other.kinds) == 2 * len(space.kinds)
    assert {name: value for name, value in vars(space).items() if name in before} == before
    assert sum(isinstance(m, nn.Module) for m in other.supernet().modules()) > sum(
        1 for _ in space.supernet().modules()
    )


def test_the_supernet_of_each_stage_has_the_precision_of_the_search(data):
    search = made(data, stages=[Stage(), Stage(keep=3, restart=True, depth=4 / 3)])
    pl.Trainer(max_epochs=2, precision="64-true", **QUIET).fit(search)
    assert {weight.dtype for weight in search.supernet.parameters()} == {torch.float64}
    assert search.stages.number == 1 and search.valid["loss"] < 10
