"""Operation-level early stopping against a plain loop over the operations."""

import copy
import itertools

import pytest
import pytorch_lightning as pl
import torch
from helpers.ragged import Ragged
from helpers.support import QUIET, Keep, build, configured, small_space
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.optim import SGD

from oneshot.architects import DARTS, SNAS, Step, Uniform
from oneshot.errors import InputError
from oneshot.fitting.updates import Components, weight_step
from oneshot.schedule import Schedule
from oneshot.search import Search
from oneshot.spaces import DARTSCells
from oneshot.techniques import OLES, BetaDecay, Composed, Freeze

RATE, MOMENTUM, DECAY, CLIP = 0.05, 0.9, 3e-2, 0.5


def batch(seed, examples=8):
    torch.manual_seed(seed)
    return torch.randn(examples, 1, 8, 8), torch.randint(10, (examples,))


def components(space, *freezes, architect=None, criterion=functional.cross_entropy, clip=CLIP):
    torch.manual_seed(0)
    supernet = space.supernet()
    whole = Composed(architect or DARTS(space, criterion=criterion), freezes=freezes)
    sgd = SGD(supernet.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    return Components(supernet, whole, criterion, sgd, [], clip)


def by_operation(supernet):
    """Names of weights by cell, edge and candidate: cells.0.graph.edges.1.sep_conv_3x3.2.weight."""
    names = [name for name, _ in supernet.named_parameters() if ".graph.edges." in name]
    return [list(found) for _, found in itertools.groupby(names, lambda name: tuple(name.split(".")[:6]))]


def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


def plain(supernet, gates, steps, threshold, window):
    """The search's SGD in a loop over weights, with a loop over operations; returns the frozen ones after each step."""
    operations, parameters = by_operation(supernet), dict(supernet.named_parameters())
    buffers = {name: torch.zeros_like(p) for name, p in parameters.items()}
    seen, frozen, history = [[] for _ in operations], set(), []
    for index in range(steps):
        gradients = []
        for x, y in (batch(2 * index), batch(2 * index + 1)):
            loss = functional.cross_entropy(supernet(x, gates), y)
            gradients.append(dict(zip(parameters, torch.autograd.grad(loss, parameters.values()), strict=True)))
        for number, names in enumerate(operations):
            train, valid = (flat([g[name] for name in names]) for g in gradients)
            seen[number].append(float(train @ valid / train.norm() / valid.norm()))
            if len(seen[number]) == window:
                if sum(seen[number]) / window < threshold:
                    frozen.add(number)
                seen[number] = []
        held = {name for number in frozen for name in operations[number]}
        free = [name for name in parameters if name not in held]
        norm = flat([gradients[0][name] for name in free]).norm()
        for name in free:
            g = gradients[0][name] * min(1.0, CLIP / (float(norm) + 1e-6))
            buffers[name] = MOMENTUM * buffers[name] + g + DECAY * parameters[name].detach()
            parameters[name].data -= RATE * buffers[name]
        history.append(set(frozen))
    return history


def test_equals_a_plain_loop_over_the_operations(double):
    space, steps = small_space(nodes=1), 9
    oles = OLES(space, threshold=0.0, window=3)
    parts = components(space, oles)
    expected = copy.deepcopy(parts.supernet)
    with torch.no_grad():
        gates = parts.architect.gates(Step(0, 0, steps))
    history = plain(expected, gates, steps, 0.0, 3)
    for index, frozen in enumerate(history):
        weight_step(parts, batch(2 * index), Step(0, index, steps), batch(2 * index + 1))
        assert set(oles.frozen.nonzero().flatten().tolist()) == frozen
    assert history[1] == set() and 0 < len(history[2]) < len(history[8]) < len(oles.frozen)
    for ours, theirs in zip(parts.supernet.parameters(), expected.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-12)
    assert parts.architect.measures() == {"frozen": pytest.approx(len(history[8]) / len(oles.frozen))}


def test_equal_batches_have_the_cosine_1_and_never_freeze():
    space = small_space()
    oles = OLES(space, threshold=0.9999, window=2)
    parts = components(space, oles)
    for index in range(5):
        weight_step(parts, batch(index), Step(0, index, 5), batch(index))
    assert not oles.frozen.any() and torch.allclose(oles.sums, torch.ones(())) and bool((oles.counts == 1).all())


def test_opposite_gradients_freeze_after_the_window_for_good():
    """Neither momentum nor weight decay moves a frozen weight, and the others move as in a search that loses them."""
    space = small_space()
    oles = OLES(space, threshold=-0.99, window=3)
    parts = components(space, oles, criterion=lambda logits, y: (logits * y).mean())
    x, (other, _) = batch(0)[0], batch(1)
    y = torch.randn(8, 10)
    for index in range(6):
        before = copy.deepcopy(parts.supernet.state_dict())
        images = (x, other)[index % 2]
        weight_step(parts, (images, y), Step(0, index, 6), (images, -y))
        assert bool(oles.frozen.all()) == bool(oles.frozen.any()) == (index >= 2)
        for name, weight in parts.supernet.named_parameters():
            assert torch.equal(weight, before[name]) == (index >= 2 and ".graph.edges." in name)


def test_steps_without_an_operation_do_not_count():
    space = small_space()
    oles = OLES(space, window=100)
    parts = components(space, oles, architect=Uniform(space))
    branches = [(i, k) for i, k, module in space.branches(parts.supernet) if any(True for _ in module.parameters())]
    drawn = torch.zeros(len(branches), dtype=torch.long)
    for index in range(4):
        step = Step(0, index, 4)
        path = parts.architect.gates(step).active
        drawn += torch.tensor([(k,) == path[i] for i, k in branches])
        weight_step(parts, batch(index), step, batch(10 + index))
    assert torch.equal(oles.counts, drawn) and 0 < int(drawn.max()) and int(drawn.min()) == 0


def test_the_gates_of_several_paths_are_summed_in_both_gradients(double):
    space = small_space()
    oles = OLES(space, window=100)
    parts = components(space, oles, architect=build("fairnas", space))
    several = parts.architect.weight_gates(parts.supernet, batch(0), Step(0, 0, 4))
    expected = []
    for x, y in (batch(0), batch(1)):
        loss = sum(functional.cross_entropy(parts.supernet(x, gates), y) for gates in several)
        names = dict(parts.supernet.named_parameters())
        found = torch.autograd.grad(loss, names.values(), allow_unused=True, materialize_grads=True)
        expected.append(dict(zip(names, found, strict=True)))
    weight_step(parts, batch(0), Step(0, 0, 4), batch(1))
    cosines = []
    for names in by_operation(parts.supernet):
        train, valid = (flat([g[name] for name in names]) for g in expected)
        cosines.append(torch.nan_to_num(train @ valid / train.norm() / valid.norm()))
    assert torch.allclose(oles.sums, torch.stack(cosines), atol=1e-12) and len(several) > 1


def test_a_search_continues_bit_for_bit_and_records_the_share(data, tmp_path):
    settings = "oles technique.oles.threshold=0.05 technique.oles.window=3"
    whole, cut, rest = (configured(settings, data) for _ in range(3))
    keeping = {**QUIET, "enable_checkpointing": True}
    pl.Trainer(max_epochs=3, **QUIET).fit(whole)
    pl.Trainer(max_epochs=3, callbacks=[Keep(tmp_path / "a.ckpt")], **keeping).fit(cut)
    pl.Trainer(max_epochs=3, **QUIET).fit(rest, ckpt_path=tmp_path / "a.ckpt")
    states = [module.state_dict() for module in (whole, rest)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert whole.rows == rest.rows
    shares = [row["frozen"] for row in whole.rows if "frozen" in row]
    assert len(shares) == 3 and 0 < shares[-1] < 1 and shares == sorted(shares)


def test_a_weight_step_never_waits_for_the_device():
    with FakeTensorMode(allow_non_fake_inputs=True):
        space = small_space()
        parts = components(space, OLES(space, window=1))
        weight_step(parts, batch(0), Step(0, 0, 2), batch(1))


def test_an_operation_is_frozen_if_one_of_two_parts_says_so():
    class Even(Freeze):
        def judge(self, train, valid, step):
            return torch.arange(len(self.frozen)) % 2 == self.which

    space = small_space()
    even, odd = Even(space), Even(space)
    even.which, odd.which = 0, 1
    torch.manual_seed(0)
    nested = Composed(Composed(DARTS(space), freezes=[even]), freezes=[odd], regularizers=[BetaDecay()])
    parts = components(space, architect=nested)
    before = copy.deepcopy(parts.supernet.state_dict())
    weight_step(parts, batch(0), Step(0, 0, 2), batch(1))
    assert parts.architect.measures() == {"frozen": 1.0} and even.frozen.float().mean() < 1
    for name, weight in parts.supernet.named_parameters():
        assert torch.equal(weight, before[name]) == (".graph.edges." in name)


class Closed(Ragged):
    """A space that does not give the candidates of its supernet."""

    def supernet(self):
        return torch.nn.Linear(2, 2)


def test_what_has_no_meaning_is_refused(data):
    space = small_space(data)
    pools = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=["none", "max_pool_3x3"])
    larger = DARTSCells((1, 8, 8), 10, cells=4, channels=4, nodes=2)
    for make, message in (
        (lambda: OLES(space, threshold=1.5), "technique.oles.threshold=1.5: must be a number, at least -1.0 and at"),
        (lambda: OLES(space, window=0), "technique.oles.window=0: must be a whole number, at least 1"),
        (lambda: OLES(Closed()), "space 'ragged' does not say where its supernet has its candidates"),
        (lambda: OLES(pools), "technique.oles: no candidate of space 'darts' has weights that could be frozen"),
        (
            lambda: Composed(DARTS(space), freezes=[OLES(small_space(nodes=1))]),
            "technique.oles: is of space 'darts', the architect of space 'darts'",
        ),
        (
            lambda: Search(space, Composed(SNAS(space), freezes=[OLES(space)]), data),
            "schedule.joint=true: .*technique.oles changes weight steps alone",
        ),
        (
            lambda: weight_step(components(space, OLES(space)), batch(0), Step(0, 0, 2)),
            "technique.oles: needs a batch of the architecture part in a weight step",
        ),
        (
            lambda: weight_step(components(small_space(), OLES(larger)), batch(0), Step(0, 0, 2), batch(1)),
            "technique.oles: is of space 'darts' in other sizes than the supernet",
        ),
    ):
        with pytest.raises(InputError, match=message):
            make()
    Search(space, Composed(SNAS(space), freezes=[OLES(space)]), data, Schedule())
