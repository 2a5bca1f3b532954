"""Checkpoint files: whole, checked, and data alone."""

import os
import pickle
import random
import signal
import time
import zipfile

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, configured

from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.fitting.checkpoints import Checkpointing, Checkpoints, interval, is_whole
from oneshot.runs.folder import Run


@pytest.fixture
def saved(tmp_path):
    """The checkpoints of a short search, and what was said."""
    said = []
    checkpoints = Checkpoints(tmp_path / "checkpoints", said.append)
    search = configured("darts", digits(batch_size=16, train_size=64))
    trainer = pl.Trainer(max_epochs=2, callbacks=[Checkpointing(checkpoints, 3)], **QUIET)
    trainer.strategy.checkpoint_io = checkpoints
    trainer.fit(search)
    return checkpoints, said


def files(checkpoints):
    return sorted(checkpoints.folder.iterdir())


def test_the_last_two_are_kept(saved):
    checkpoints, said = saved
    assert [int(path.name[:12]) for path in files(checkpoints)] == [6, 8]  # every third update, each epoch's last
    assert all(is_whole(path) for path in files(checkpoints))
    assert checkpoints.newest() == files(checkpoints)[1] and not said


def cut(share):
    return lambda content: content[: int(len(content) * share)]


def flipped(position):
    def change(content):
        at = int(len(content) * position)
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return change


@pytest.mark.parametrize(
    "damage", [cut(0.01), cut(0.5), cut(0.99), flipped(0.001), flipped(0.5), flipped(0.999), lambda content: b""]
)
def test_a_damaged_one_is_named_and_the_one_before_is_used(saved, damage):
    checkpoints, said = saved
    before, newest = files(checkpoints)
    newest.write_bytes(damage(newest.read_bytes()))
    assert checkpoints.newest() == before
    assert len(said) == 1 and newest.name in said[0] and "damaged" in said[0]
    before.write_bytes(damage(before.read_bytes()))
    assert checkpoints.newest() is None and len(said) == 2
    assert [path.suffix for path in files(checkpoints)] == [".damaged", ".damaged"]


def longer(path, size):
    os.truncate(path, size)


def empty_between(path, size):
    """The directory at the end stays in its place, so that this is still an archive with all its parts."""
    content = path.read_bytes()
    at = content.rindex(b"PK\x05\x06")
    start = int.from_bytes(content[at + 16 : at + 20], "little")
    with open(path, "r+b") as file:
        file.truncate(size)
        file.seek(0, os.SEEK_END)
        file.write(content[start:])


def a_large_directory(path, size):
    """The end says that nearly the whole file is the directory."""
    content = path.read_bytes()
    end = bytearray(content[content.rindex(b"PK\x05\x06") :])
    end[12:16] = (0xFFFFFFF0).to_bytes(4, "little")
    end[16:20] = bytes(4)
    with open(path, "r+b") as file:
        file.truncate(0xFFFFFFF0)
        file.seek(0, os.SEEK_END)
        file.write(end)


@pytest.mark.parametrize("grow", [longer, empty_between, a_large_directory])
def test_a_sparse_file_is_not_read(saved, grow):
    """It takes no space on the disk, and reading it would take minutes."""
    checkpoints, said = saved
    before, newest = files(checkpoints)
    grow(newest, 30 << 30)
    start = time.monotonic()
    assert checkpoints.newest() == before and len(said) == 1 and "damaged" in said[0]
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        checkpoints.load_checkpoint(newest.with_name(newest.name + ".damaged"))
    assert time.monotonic() - start < 5


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "checkpoints").write_text("a file")
    for use in (
        lambda checkpoints: checkpoints.newest(),
        lambda checkpoints: checkpoints.save_checkpoint({}, tmp_path / "checkpoints" / f"{1:012}"),
    ):
        with pytest.raises(InputError, match="checkpoints: is a file, and must be a folder"):
            use(Checkpoints(tmp_path / "checkpoints"))


def test_a_write_that_fails_leaves_the_old_ones(saved, monkeypatch):
    checkpoints, _ = saved
    before = files(checkpoints)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save_checkpoint({"a": 1}, checkpoints.folder / "000000000009")
    assert files(checkpoints) == before


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("where", ["state_dict", "fit", "optimizer_states", "new"])
def test_a_planted_pickle_is_not_executed(saved, tmp_path, where):
    checkpoints, _ = saved
    content = torch.load(checkpoints.newest(), weights_only=True)
    content[where] = Planted(tmp_path / "executed")
    torch.save(content, tmp_path / "planted.ckpt")
    with pytest.raises(InputError, match="holds more than data|cannot be read"):
        checkpoints.load_checkpoint(tmp_path / "planted.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Planted(tmp_path / "executed")))
    with pytest.raises(InputError, match="cannot be read"):
        checkpoints.load_checkpoint(tmp_path / "plain.ckpt")
    assert not (tmp_path / "executed").exists()


def test_other_content_is_refused(saved, tmp_path):
    checkpoints, _ = saved
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="no checkpoint of a search"):
        checkpoints.load_checkpoint(tmp_path / "other.ckpt")
    with zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 20))
    with pytest.raises(InputError, match="compressed"):
        checkpoints.load_checkpoint(tmp_path / "packed.ckpt")
    with pytest.raises(
        InputError, match=r"nowhere.ckpt: cannot be read as a checkpoint \(No such file or directory\)$"
    ):
        checkpoints.load_checkpoint(tmp_path / "nowhere.ckpt")


@pytest.mark.parametrize(
    ("every", "expected"),
    [
        (50, (50, float("inf"))),
        ("90s", (0, 90.0)),
        ("5min", (0, 300.0)),
        ("1.5 h", (0, 5400.0)),
        (None, (0, float("inf"))),
    ],
)
def test_interval(every, expected):
    assert interval(every) == expected


@pytest.mark.parametrize("every", [0, -1, 2.5, "five", "5 days", True, "", "1e9s"])
def test_no_interval(every):
    with pytest.raises(InputError, match="checkpoint.every="):
        interval(every)


def test_a_kill_in_a_write_leaves_a_whole_one(tmp_path):
    """A process that does nothing but save, killed at 20 instants; behind the first save there is always one."""
    state, rng, cut = {"weights": torch.zeros(1 << 19)}, random.Random(0), 0
    for attempt in range(20):
        folder = tmp_path / str(attempt) / "checkpoints"
        with Run(folder.parent, "a: 1"):
            pass
        child = os.fork()
        if child == 0:
            checkpoints, done = Checkpoints(folder), 0
            while True:
                done += 1
                checkpoints.save_checkpoint(state, folder / f"{done:012}")
        said = []
        while not any(folder.glob("*.ckpt")):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        cut += any(path.name.endswith(".tmp") for path in folder.iterdir())
        assert Checkpoints(folder, said.append).newest() is not None and not said
        Run(tmp_path / str(attempt), "a: 1")
        assert not any(path.name.endswith(".tmp") for path in folder.iterdir())
    assert cut  # some of them were in the middle of a write
