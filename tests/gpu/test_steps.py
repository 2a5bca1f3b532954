"""On a CUDA device: steps of every architect against the CPU, precision, resume, one process of NCCL, memory, waits."""

import os
import tempfile
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from helpers.own_data import Jpegs, images
from helpers.support import OWN, QUIET, SETTINGS, build, configured, small_space
from PIL import Image
from torch.nn import functional

from oneshot import fit
from oneshot.architects import Step
from oneshot.architecture import Gates
from oneshot.data import Augmentation, ImageData, Splits, digits
from oneshot.distributed.strategy import MEETING, SharedBatches
from oneshot.fitting.updates import Components, architecture_step, weight_step
from oneshot.runs.signals import Stopped
from oneshot.spaces import DARTSCells, NASBench201

pytestmark = pytest.mark.gpu
DEVICE = os.environ.get("ONESHOT_TEST_DEVICE", "cuda")  # cpu: a rehearsal on a machine without a GPU
GPU = {**QUIET, "accelerator": "cpu" if DEVICE == "cpu" else "gpu", "devices": 1}
EXACT = "darts_second architect.hessian=exact"
UPDATES = {"64-true": 6, "32-true": 2}  # after more of them, rounding in float32 has grown
TOLERANCE = {"64-true": 1e-8, "32-true": 2e-3}


def trained(precision, space, settings, **options):
    """The state after a few updates."""
    data = digits(batch_size=16, train_size=32 * UPDATES[precision] // 2)
    spaces = {"darts": small_space(data, nodes=1), "nasbench201": NASBench201(data, cells=1, channels=4)}
    module = configured(settings, data, 1, space=spaces[space])
    pl.Trainer(max_epochs=1, precision=precision, **options).fit(module)
    return {name: tensor.cpu().double() for name, tensor in module.state_dict().items()}


@pytest.fixture(autouse=True)
def float32_is_float32():
    """cuDNN rounds to TF32 by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize("precision", UPDATES)
@pytest.mark.parametrize(
    ("space", "settings"), [("darts", s) for s in [*OWN, EXACT]] + [("nasbench201", s) for s in [*SETTINGS, EXACT]]
)
def test_updates_of_every_architect_are_those_of_the_cpu(space, settings, precision):
    here, there = trained(precision, space, settings, **QUIET), trained(precision, space, settings, **GPU)
    assert here.keys() == there.keys()
    for name, tensor in here.items():
        assert (there[name] - tensor).abs().max() <= TOLERANCE[precision] * max(1.0, float(tensor.abs().max())), name


def components(space, architect="darts", seed=0):
    """A supernet, an architect and their optimizers on the device, and a batch of noise."""
    torch.manual_seed(seed)
    supernet = space.supernet().to(DEVICE, memory_format=torch.channels_last)
    made = build(architect, space).to(DEVICE)
    weights = torch.optim.SGD(supernet.parameters(), lr=0.01, momentum=0.9)
    moving = [torch.optim.Adam(made.parameters(), lr=0.01)] if any(True for _ in made.parameters()) else []
    x = torch.randn(16, *space.image_shape).to(DEVICE, memory_format=torch.channels_last)
    batch = x, torch.arange(16, device=DEVICE) % 10
    return Components(supernet, made, functional.cross_entropy, weights, moving), batch


@pytest.mark.parametrize("space_class", [DARTSCells, NASBench201])
def test_bf16_gives_the_loss_and_the_direction_of_float32(space_class):
    space = space_class((3, 16, 16), 10, cells=3 if space_class is DARTSCells else 1, channels=16)
    found = []
    for low in (False, True):
        parts, (x, y) = components(space)
        weight = parts.architect.scores().detach().requires_grad_()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=low):
            loss = functional.cross_entropy(parts.supernet(x, Gates(weight)), y)
        loss.backward()
        gradients = [weight.grad, *(p.grad for p in parts.supernet.parameters())]
        found.append((loss.detach().double(), torch.cat([g.flatten().double() for g in gradients])))
    (loss, gradient), (low_loss, low_gradient) = found
    assert abs(low_loss - loss) < 0.02 * loss
    assert functional.cosine_similarity(gradient, low_gradient, dim=0) > 0.95


class StopAt:
    """Ends a search behind an update, as a signal does."""

    def __init__(self, step):
        self.step = step

    def __call__(self, row):
        if row.get("step") == self.step:
            raise Stopped(15)


@pytest.mark.parametrize("settings", ["darts", "drnas", "enas", "proxyless"])
def test_a_search_that_was_stopped_goes_on_exactly(settings, tmp_path):
    def searched(folder, record=None):
        module = configured(settings, digits(batch_size=16, train_size=128), record=record)
        fit(module, 2, folder, checkpoint_every=1, accelerator=GPU["accelerator"], show=False)
        return module

    whole = searched(tmp_path / "whole")
    with pytest.raises(BaseException):  # noqa: B017, PT011 - Stopped, or the exit that fit makes of it
        searched(tmp_path / "again", StopAt(6))
    assert not (tmp_path / "again" / "result.json").exists()
    resumed = searched(tmp_path / "again")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name
    assert (resumed.found, resumed.scores) == (whole.found, whole.scores)


def test_one_process_of_ddp_computes_what_a_plain_one_does(monkeypatch):
    """With NCCL on a GPU."""
    plain = trained("64-true", "nasbench201", "darts", **GPU)
    with tempfile.TemporaryDirectory() as folder:
        for name, value in (("LOCAL_RANK", "0"), (MEETING, f"{folder}/meeting"), ("NCCL_SOCKET_IFNAME", "lo")):
            monkeypatch.setenv(name, value)
        try:
            shared = trained("64-true", "nasbench201", "darts", strategy=SharedBatches(), **GPU)
            assert torch.distributed.get_backend() == ("gloo" if DEVICE == "cpu" else "nccl")
        finally:
            torch.distributed.destroy_process_group()
    assert plain.keys() == shared.keys() and all(torch.equal(plain[name], shared[name]) for name in plain)


@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_batches_are_those_of_the_cpu(workers, tmp_path):
    for i, image in enumerate(images(60, 16, 3)[0]):
        Image.fromarray(image.numpy()).save(tmp_path / f"{i:03}.jpg")
    source = Jpegs(Path(tmp_path))
    augmentation = Augmentation([0.5] * 3, [0.25] * 3, pad=2, flip=True, cutout=3)

    def part(residence, **options):
        splits = Splits(("a", "b", "c"), lambda: source, lambda: source)
        return ImageData(splits, 8, augmentation, residence=residence, **options).split()[0]

    here, there = part("host"), part("stream", workers=workers)
    there.to(torch.device(DEVICE))
    for step in range(5):
        expected, found = here.batch(0, step), there.batch(0, step)
        assert found.x.device.type == DEVICE and torch.equal(found.y.cpu(), expected.y)
        torch.testing.assert_close(found.x.cpu(), expected.x, rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(DEVICE == "cpu", reason="counts the memory of a GPU")
@pytest.mark.parametrize("architect", ["enas", "proxyless", "gdas"])
def test_memory_of_drawn_paths_does_not_grow_with_the_candidates(architect):
    """With three and with six copies of one convolution: only the weights of the others are more."""
    peaks = []
    for copies in (3, 6):
        names = [f"conv_{i}" for i in range(copies)]
        factory = DARTSCells((3, 8, 8), 10).factories["sep_conv_3x3"]
        space = DARTSCells((3, 32, 32), 10, cells=3, candidates=names, operations=dict.fromkeys(names, factory))
        parts, batch = components(space, architect)
        for n in range(3):
            kept = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            architecture_step(parts, batch, batch, Step(0, n, 3))
            peak = torch.cuda.max_memory_allocated() - kept
        peaks.append(peak)
    assert peaks[1] < 1.15 * peaks[0]


@pytest.mark.skipif(DEVICE == "cpu", reason="a CPU never waits for another device")
@pytest.mark.parametrize("architect", ["darts", "snas", "gaea", "fair_darts", "darts_minus", "smooth_darts_random"])
def test_an_update_does_not_wait_for_the_device(architect):
    """Architects that draw by their parameters on the host are left out: each of their draws is a wait."""
    parts, batch = components(NASBench201((3, 16, 16), 10, cells=1, channels=8), architect)
    steps = partial(architecture_step, parts, batch, batch), partial(weight_step, parts, batch)
    for step in steps:
        step(Step(0, 0, 4))  # the first makes the state of the optimizers
    torch.cuda.synchronize()
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in steps:
            step(Step(0, 1, 4))
    finally:
        torch.cuda.set_sync_debug_mode(mode)
