"""The three updates against plain torch, no growth over many of them, and no wait for the device in any."""

import copy
import gc

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import OWN, QUIET, REINFORCE, build, configured, darts, small_space
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.nn import functional

from oneshot.architects.base import Step
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.fitting.updates import Components, architecture_step, joint_step, weight_step
from oneshot.spaces import DARTSCells

STEP = Step(0, 0, 10)


def parts_of(clip=0.0, nodes=2):
    torch.manual_seed(0)
    space = small_space(nodes=nodes)
    supernet, architect = space.supernet(), darts(space)
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9)
    return Components(
        supernet, architect, functional.cross_entropy, sgd, [architect.optimizer([architect.alpha])], clip
    )


def examples(seed):
    torch.manual_seed(seed)
    return torch.randn(8, 1, 8, 8), torch.randint(10, (8,))


def gradients(supernet, alpha, batch):
    """Of the loss: of all weights, and of alpha."""
    x, y = batch
    alpha = alpha.detach().requires_grad_()
    loss = functional.cross_entropy(supernet(x, Gates(torch.softmax(alpha, 1))), y)
    *dw, d_alpha = torch.autograd.grad(loss, [*supernet.parameters(), alpha])
    return dw, d_alpha


def test_a_weight_step_moves_the_weights_by_the_clipped_gradient_and_nothing_else(double):
    parts = parts_of(clip=0.05)
    before, alpha = [p.detach().clone() for p in parts.supernet.parameters()], parts.architect.alpha.detach().clone()
    dw, _ = gradients(parts.supernet, alpha, examples(1))
    norm = torch.cat([g.flatten() for g in dw]).norm()
    assert norm > 0.05
    weight_step(parts, examples(1), STEP)
    for p, old, g in zip(parts.supernet.parameters(), before, dw, strict=True):
        assert torch.allclose(p, old - 0.1 * g * 0.05 / (norm + 1e-6), atol=1e-12)
    assert torch.equal(parts.architect.alpha, alpha) and parts.architect.alpha.grad is None


def test_an_architecture_step_moves_alpha_by_adam_and_leaves_weights_and_their_gradients(double):
    parts = parts_of()
    before = copy.deepcopy(parts.supernet.state_dict())
    _, expected = gradients(parts.supernet, parts.architect.alpha, examples(2))
    architecture_step(parts, examples(1), examples(2), STEP)
    assert torch.allclose(parts.architect.alpha.grad, expected, atol=1e-12)
    for name, p in parts.supernet.named_parameters():
        assert torch.equal(p, before[name]) and p.grad is None and p.requires_grad


def test_a_joint_step_moves_both_by_one_loss_and_clips_the_weights(double):
    parts = parts_of(clip=0.05)
    dw, d_alpha = gradients(parts.supernet, parts.architect.alpha, examples(1))
    norm = torch.cat([g.flatten() for g in dw]).norm()
    joint_step(parts, examples(1), STEP)
    assert torch.allclose(parts.architect.alpha.grad, d_alpha, atol=1e-12) and norm > 0.05
    for p, g in zip(parts.supernet.parameters(), dw, strict=True):
        assert torch.allclose(p.grad, g * 0.05 / (norm + 1e-6), atol=1e-12)


def test_an_architecture_step_moves_every_optimizer_by_one_backward_pass(double):
    parts = parts_of()
    other = torch.optim.SGD([parts.architect.alpha], lr=1.0)
    before = parts.architect.alpha.detach().clone()
    _, expected = gradients(parts.supernet, before, examples(2))
    architecture_step(
        parts._replace(moving=[other, torch.optim.SGD([parts.architect.alpha], lr=2.0)]), examples(1), examples(2), STEP
    )
    assert torch.allclose(parts.architect.alpha, before - 3.0 * expected, atol=1e-12)


class Memory(pl.Callback):
    """Bytes of all tensors that are alive after some updates, but for gradients and optimizer states.

    Those are there for the weights whose path has been drawn.
    """

    def __init__(self, *after):
        self.after, self.bytes, self.done = after, {}, 0

    def on_train_batch_end(self, trainer=None, module=None, *_):
        self.done += 1
        if self.done not in self.after:
            return
        skipped = set()
        if module:
            module.zero_grad()
            states = [state for optimizer in trainer.optimizers for state in optimizer.state.values()]
            skipped = {t.data_ptr() for state in states for t in state.values() if isinstance(t, torch.Tensor)}
        gc.collect()
        tensors = [t for t in gc.get_objects() if type(t) in (torch.Tensor, torch.nn.Parameter)]
        storages = {t.data_ptr(): t.untyped_storage().nbytes() for t in tensors}
        self.bytes[self.done] = sum(n for address, n in storages.items() if address not in skipped)


@pytest.fixture
def young():
    """Only what is made from here on is looked through: the process has millions of older objects."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("settings", [*OWN, REINFORCE])
def test_thirty_updates_leave_the_memory_of_ten(young, settings):
    """Within one epoch, as its end publishes numbers that were not there before."""
    memory = Memory(10, 30)
    for images in (192, 384):  # the second where an epoch has one update a batch
        search = configured(settings, digits(batch_size=6, train_size=images))
        if search.updates_of(1) > 30:
            break
    pl.Trainer(max_epochs=1, callbacks=[memory], **QUIET).fit(search)
    assert memory.bytes[10] > 0
    assert memory.bytes[30] <= memory.bytes[10] * 1.0001  # 0.0005 % an update


def test_the_memory_of_tensors_is_seen():
    memory, kept = Memory(1, 2), []
    memory.on_train_batch_end()
    kept.append(torch.zeros(1000, 1000))
    memory.on_train_batch_end()
    assert memory.bytes[2] - memory.bytes[1] == 4e6


@pytest.mark.parametrize(
    ("settings", "execution"),
    [*((name, "grouped") for name in (*OWN, REINFORCE)), *((name, "edges") for name in ("darts", "gdas", "proxyless"))],
)
def test_forward_and_backward_never_wait_for_the_device(settings, execution):
    """On fake tensors, which have no values to wait for; gates are drawn before, from a host copy.

    Edge by edge for one of each kind: all candidates, one and two of them.
    """
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, execution=execution)
    with torch.no_grad():
        gates = build(settings, space).gates(STEP)
    with FakeTensorMode() as mode:
        supernet = space.supernet()
        weight = mode.from_tensor(gates.weight).requires_grad_()
        logits = supernet(torch.randn(8, 1, 8, 8), gates._replace(weight=weight))
        functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long)).backward()
    assert weight.grad is not None and supernet.classifier.weight.grad is not None


@pytest.mark.parametrize("order", [1, 2])
def test_steps_of_darts_never_wait_for_the_device(order):
    with FakeTensorMode(allow_non_fake_inputs=True):
        parts = parts_of(clip=5.0, nodes=1)
        parts.architect.order = order
        weight_step(parts, examples(1), STEP)
        architecture_step(parts, examples(1), examples(2), STEP)
    assert parts.architect.alpha.grad is not None


def test_a_wait_is_seen():
    with FakeTensorMode(), pytest.raises(DataDependentOutputException):
        torch.zeros(3).sum().item()
