"""Streamed batches are those of images in memory, byte for byte, with any number of workers; and workers end."""

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.own_data import Jpegs, images
from helpers.support import QUIET, darts, small_space
from PIL import Image

from oneshot import fit
from oneshot.data import Augmentation, ImageData, LabelledImages, Part, Source, Splits, digits
from oneshot.data.images import stratified
from oneshot.data.memory import fits, free_memory, worker_number
from oneshot.data.streaming import InMemory, Streamed
from oneshot.errors import InputError, Lost
from oneshot.runs.signals import Stopped, hold, release, stoppable
from oneshot.search import Search

AUGMENTATION = Augmentation([0.5] * 3, [0.25] * 3, pad=2, flip=True, cutout=3)
HELD = [("device", 0), ("host", 0), *(("stream", workers) for workers in range(4))]


def data_of(source, residence="stream", workers=0, batch_size=8, **options):
    splits = Splits(("a", "b", "c"), lambda: source, lambda: source)
    return ImageData(splits, batch_size, AUGMENTATION, residence=residence, workers=workers, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """60 JPEG files."""
    root = tmp_path_factory.mktemp("jpegs")
    for i, image in enumerate(images(60, 16, 3)[0]):
        Image.fromarray(image.numpy()).save(root / f"{i:03}.jpg")
    return root


EARLIER = set()  # processes of tests before, in this and in other files


@pytest.fixture(autouse=True)
def earlier():
    EARLIER.clear()
    EARLIER.update(children())


def children():
    """The processes that the test has started and that run."""
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return {pid for pid in found if alive(pid)} - EARLIER


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def equal(a, b):
    return torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.x.stride() == b.x.stride()


@pytest.mark.parametrize(("residence", "workers"), HELD)
def test_batches_are_those_of_files_decoded_one_by_one(folder, residence, workers):
    """The oracle decodes each file itself, and asks an ordinary part for the batch, from any first step."""
    source = Jpegs(folder)
    decoded = torch.stack([torch.from_numpy(np.array(Image.open(path).convert("RGB"))) for path in source.paths])
    second = stratified(source.targets, 30)
    expected = [
        Part(name, LabelledImages(decoded, source.targets).take(mask), 8, AUGMENTATION)
        for name, mask in (("weight", ~second), ("architecture", second))
    ]
    parts = data_of(source, residence, workers).split()
    for first in (0, 5):  # three batches a pass: both go into the next pass
        for step in (first, first, first + 1, first + 2, first + 3):  # a search asks for a batch twice
            for part, oracle in zip(parts, expected, strict=True):
                assert equal(part.batch(7, step), oracle.batch(7, step))
    assert equal(parts[0].batch(8, 0), expected[0].batch(8, 0))  # of another seed
    for part in parts:
        part.close()


@pytest.mark.parametrize(("residence", "workers"), HELD[1:4])
def test_everything_else_of_a_part_is_equal_too(folder, residence, workers):
    one, other = (data_of(Jpegs(folder), r, w).train() for r, w in ((residence, workers), ("device", 0)))
    assert equal(one.first(), other.first()) and len(one) == len(other) and one.batches == other.batches
    for size in (512, 17):
        pairs = list(zip(one.passes(size), other.passes(size), strict=True))
        assert sum(len(a.y) for a, _ in pairs) == 60 and all(equal(a, b) for a, b in pairs)
    one, other = one.sample(20).resized(12), other.sample(20).resized(12)
    assert one.first().x.shape == (2, 3, 12, 12) and equal(one.batch(0, 3), other.batch(0, 3))
    assert all(equal(a, b) for a, b in zip(one.passes(7), other.passes(7), strict=True))
    one.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_torchs_global_generator_is_left_alone(folder, workers):
    """A search seeds it before each update: what a method draws must not depend on where images are."""
    part = data_of(Jpegs(folder), workers=workers).train()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    part.batch(0, 0), part.batch(0, 4), list(part.passes())
    assert torch.equal(torch.get_rng_state(), before)
    part.close()


class Counting(InMemory):
    """Counts what is read, over all processes."""

    def __init__(self, *tensors):
        super().__init__(*tensors)
        self.read_so_far = multiprocessing.Value("i", 0)

    def read(self, index):
        with self.read_so_far.get_lock():
            self.read_so_far.value += 1
        return super().read(index)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_no_more_is_read_ahead_than_said(workers):
    source = Counting(*images(3000, 4, 3))
    part = data_of(source, workers=workers).train()
    before = source.read_so_far.value
    for n in range(1, 4):
        part.batch(0, n - 1)
        time.sleep(0.3)
        ahead = (source.read_so_far.value - before) / 8 - n
        assert ahead == 2 * workers  # all that is allowed is used
    part.close()
    sizes = []
    for _ in part.passes(1000):
        sizes.append(source.read_so_far.value)
        time.sleep(0.2)
    assert sizes[0] - before < 1000 + 8 * (2 * workers + 4) + 8 * (2 * workers + 3)


class Broken(Jpegs):
    """One file cannot be read in a way of its own."""

    def __init__(self, folder, error):
        super().__init__(folder)
        self.error = error

    def read(self, index):
        if index == 31:
            raise self.error
        return super().read(index)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (InputError("a/b.jpg: is empty"), "a/b.jpg: is empty"),
        (OSError("image file is truncated"), r"031.jpg: cannot be read \(OSError: image file is truncated\)"),
        (RuntimeError("of\nthe user"), r"031.jpg: cannot be read \(RuntimeError: of the user\)"),
        (StopIteration("x"), r"031.jpg: cannot be read \(StopIteration: x\)"),
    ],
)
def test_what_cannot_be_read_is_named_in_one_line(folder, workers, error, expected):
    part = data_of(Broken(folder, error), workers=workers).train()
    with pytest.raises(InputError, match=expected) as raised:
        for step in range(7):
            part.batch(0, step)
    assert "\n" not in str(raised.value) and not children()
    with pytest.raises(InputError, match=expected):
        list(part.passes())
    with pytest.raises(InputError, match=expected):
        data_of(Broken(folder, error), "device", workers).train()


@pytest.mark.parametrize("workers", [0, 1])
def test_images_of_another_size_or_type_are_named(workers):
    class Other(InMemory):
        def read(self, index):
            image = super().read(index)
            return image[:3] if index == 9 else image.double() if index == 11 else image

    def read(chosen):
        return next(iter(Streamed(Other(*images(24, 4, 3)), workers, shape=(4, 4, 3)).read([torch.tensor(chosen)])))

    with pytest.raises(InputError, match=r"image 9: is 3x4x3 \(height, width, channels\), the first image is 4x4x3"):
        read([1, 9])
    with pytest.raises(InputError, match="image 11: has pixels of type float64"):
        read([11, 9])


def test_a_worker_that_is_killed_ends_it_with_one_line(folder):
    part = data_of(Jpegs(folder), workers=2).train()
    part.batch(0, 0)
    for pid in children():
        os.kill(int(pid), signal.SIGKILL)
    with pytest.raises(Lost, match=r"a process that reads images was ended by SIGKILL \(memory ran out\?\)"):
        for step in range(1, 20):
            part.batch(0, step)
    assert not children()
    assert len(part.batch(0, 1).y) == 8  # starts again
    part.close()


def test_workers_end_with_the_part(folder):
    part = data_of(Jpegs(folder), workers=2).train()
    part.batch(0, 0)
    assert len(children()) == 2
    part.close()
    assert not children()
    passes = part.passes(16)
    next(passes)
    assert len(children()) == 2
    passes.close()  # as where an evaluation fails
    assert not children()


class Drawn(Source):
    """Reads noise from each generator that a transform may use, beside the number of the image."""

    random = True
    targets = torch.arange(24) % 3

    def __len__(self):
        return 24

    def read(self, index):
        import random

        draws = [random.randrange(256), int(np.random.randint(256)), int(torch.randint(256, ()))]
        image = np.full((4, 4, 3), index, np.uint8)
        image[0, 0] = draws
        return image


def test_what_a_source_draws_is_a_function_of_seed_and_step():
    plain = Augmentation([0.0] * 3, [1 / 255] * 3)

    def drawn(workers, steps, seed=0):
        splits = Splits(("a", "b", "c"), Drawn, Drawn)
        part = ImageData(splits, 8, plain, residence="stream", workers=workers).train()
        found = {step: part.batch(seed, step).x for step in steps}
        passed = torch.cat([batch.x for batch in part.passes(10)])
        part.close()
        return found, passed

    (one, passed), (other, again) = drawn(0, range(7)), drawn(3, (4, 5, 1))
    assert all(torch.equal(x, one[step]) for step, x in other.items()) and torch.equal(passed, again)
    corners = torch.cat([x[:, :, 0, 0] for x in one.values()])
    assert len(corners.unique(dim=0)) == len(corners)  # each image in each pass has draws of its own
    assert not torch.equal(drawn(0, [0], seed=1)[0][0][:, :, 0, 0], one[0][:, :, 0, 0])


def test_targets_of_any_kind_are_streamed():
    x, _ = images(24, 4, 3)
    for targets, workers in ((torch.rand(24, 5), 0), (torch.rand(24, 1), 0), (torch.randint(3, (24, 4, 4)), 2)):

        class Read(InMemory):
            """Gives the target with the image, as for a target a pixel."""

            def __init__(self, x, y):
                super().__init__(x, y)
                self.along, self.targets = y, None

            def read(self, index):
                return self.images[index], self.along[index]

        oracle = Part("train", LabelledImages(x, targets), 8, AUGMENTATION)
        for source in (InMemory(x, targets), Read(x, targets)):
            part = Part("train", Streamed(source, workers), 8, AUGMENTATION)
            assert equal(part.batch(0, 1), oracle.batch(0, 1)) and part.batch(0, 1).y.dtype == targets.dtype
            assert all(equal(a, b) for a, b in zip(part.passes(9), oracle.passes(9), strict=True))
            part.close()


def test_a_target_a_pixel_is_resized_with_the_image():
    x, _ = images(4, 4, 3)
    targets = torch.arange(16).view(1, 4, 4).expand(4, 4, 4)
    part = Part("train", LabelledImages(x, targets), 2, AUGMENTATION).resized(2)
    assert part.data.labels[0].tolist() == [[0, 2], [8, 10]] and part.data.labels.dtype == torch.int64


class Many(Source):
    """More images than memory has room for."""

    def __init__(self, number, side=512):
        self.number, self.side, self.targets = number, side, torch.arange(number) % 3

    def __len__(self):
        return self.number

    def read(self, index):
        return np.full((self.side, self.side, 3), index % 256, np.uint8)


def test_auto_streams_what_does_not_fit_and_decodes_what_does():
    free = free_memory(torch.device("cpu"))
    assert fits(free // 5, torch.device("cpu")) and not fits(free // 3, torch.device("cpu"))
    data = data_of(Many(free // 4 // (512 * 512 * 3) + 1000), "auto", 0)
    assert data.image_shape == (3, 512, 512) and data.split()[0].batch(0, 0).x.shape == (8, 3, 512, 512)
    assert isinstance(data.train().data, Streamed)
    assert isinstance(data_of(Many(24, 8), "auto", 0).train().data, LabelledImages)


def test_images_in_memory_stay_where_they_are_on_the_cpu():
    """The path of every run before there was a residence: no copy, no process."""
    x, y = images(24, 4, 3)
    part = Part("train", LabelledImages(x, y), 8, AUGMENTATION, "auto")
    part.to(torch.device("cpu"))
    assert part.data.images.data_ptr() == x.data_ptr() and not children()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"residence": "disk"}, "unknown data.residence 'disk'"),
        ({"workers": -1}, "data.workers=-1: must be a whole number, from 0 to 256"),
        ({"workers": "many"}, "data.workers='many': must be auto or a whole number"),
        ({"workers": True}, "data.workers=True"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        digits(**settings)


def test_the_number_of_workers():
    cores = len(os.sched_getaffinity(0))
    assert worker_number("auto") == max(1, min(8, cores - 1)) and worker_number(0) == 0 and worker_number(5) == 5


def a_search(workers, residence="stream"):
    """Of digits: 3 batches a pass."""
    torch.manual_seed(0)
    data = digits(batch_size=16, train_size=96, residence=residence, workers=workers)
    space = small_space(data, nodes=1)
    return Search(space, darts(space), data, log_every=1)


def test_a_search_goes_on_with_another_number_of_workers(tmp_path):
    """Stopped within its epoch by a signal, then continued: the metrics of a run that never was, byte by byte."""
    whole = a_search(0, "device")
    pl.Trainer(max_epochs=1, **QUIET).fit(whole)
    first = a_search(2)
    first.record = lambda row: os.kill(os.getpid(), signal.SIGTERM) if row["step"] == 3 else None
    with pytest.raises(SystemExit, match="143"):
        fit(first, 1, tmp_path / "run", show=False)
    assert not children() and 3 <= first.done < 6
    second = a_search(1)
    fit(second, 1, tmp_path / "run", show=False)
    assert not children() and not second.fresh
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows == whole.rows and json.dumps(second.rows) == json.dumps(whole.rows) and rows[-1]["epoch"] == 1


def test_a_fit_of_lightnings_ends_its_workers():
    search = a_search(1)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert not children() and search.found_valid["accuracy"] >= 0


class Slow(InMemory):
    def read(self, index):
        time.sleep(0.02)
        return super().read(index)


def stepping(pipe, errors):
    """Steps until a signal comes, as a run does: the step is finished, then one more batch is made."""
    os.setsid()  # a group of its own, as a terminal makes it
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
    part = Part("train", Streamed(Slow(*images(24, 4, 3)), 2), 8, AUGMENTATION)
    step = 0
    try:
        with stoppable():
            while True:
                hold()
                part.batch(0, step)
                if step == 0:
                    pipe.send(sorted(children()))
                step += 1
                if pipe.poll():  # a long step
                    pipe.send(pipe.recv())
                    time.sleep(60)
                release()
    except Stopped as stop:
        pipe.send((len(part.batch(0, step).y), str(stop)))
        sys.exit(stop.code)


@pytest.fixture
def started(tmp_path):
    """A process that steps, the numbers of its two workers, what it sends, and its errors."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=stepping, args=(there, tmp_path / "errors"))
    process.start()
    there.close()
    assert here.poll(20)
    workers = here.recv()
    assert len(workers) == 2
    yield process, workers, here, tmp_path / "errors"
    process.kill()


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_to_the_whole_group_ends_the_step_and_leaves_no_process(started, name, code):
    """The workers still give what the step and a last evaluation need."""
    process, workers, pipe, errors = started
    os.killpg(process.pid, getattr(signal, name))
    assert pipe.poll(10) and pipe.recv() == (8, f"stopped by {name}")
    process.join(10)
    assert process.exitcode == code and not any(map(alive, workers)) and errors.read_text() == ""


@pytest.mark.parametrize("again", [False, True])
def test_no_process_outlives_one_that_ends_at_once(started, again):
    """After SIGKILL, and after a second Ctrl-C."""
    process, workers, pipe, _ = started
    pipe.send("wait")
    assert pipe.poll(10)
    if again:
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
    else:
        process.kill()
    process.join(10)
    assert process.exitcode in (130, -signal.SIGKILL)
    until = time.monotonic() + 3  # torch's own check comes after five seconds
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(alive, workers))
