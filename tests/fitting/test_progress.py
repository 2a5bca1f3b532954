"""What is shown while a run goes on."""

import io

import pytorch_lightning as pl
import torch
from helpers.support import QUIET, darts, small_space
from rich.console import Console

from oneshot.fitting.progress import ProgressBar, clock
from oneshot.search import Search


def shown(data, **console):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, darts(space), data, log_every=2)
    file = io.StringIO()
    bar = ProgressBar(Console(file=file, width=120, **console))
    pl.Trainer(max_epochs=2, callbacks=[bar], **QUIET).fit(search)
    return search, file.getvalue()


def test_one_plain_line_an_epoch_without_a_terminal(data):
    search, text = shown(data)
    lines = text.splitlines()
    assert len(lines) == 2 and "\x1b" not in text
    last = search.rows[-1]
    assert lines[1].startswith("epoch 2/2  weight loss ")
    assert f"valid accuracy {last['valid_accuracy']:.1%}" in lines[1]
    assert f"entropy {last['entropy']:.3f}" in lines[1] and "0:00 left" in lines[1]


def test_a_live_bar_on_a_terminal(data):
    _, text = shown(data, force_terminal=True)
    assert "\x1b[" in text and "epoch 2/2" in text and "left" in text


def test_clock():
    assert [clock(s) for s in (0, 61, 3723)] == ["0:00", "1:01", "1:02:03"]
