"""Windows of a text, against cutting strings by hand, and a language model that learns from them."""

import math

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import ROOT
from torch import nn

import oneshot
from oneshot import Retrain
from oneshot.data import Text
from oneshot.errors import InputError
from oneshot.tasks import Classification

SHAKESPEARE = ROOT.parent / "shared" / "data" / "tinyshakespeare" / "input.txt"


def written(folder, text):
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    return path


def words(data, tokens):
    return ["".join(data.splits.classes[token] for token in row) for row in tokens.tolist()]


def test_windows_and_their_next_characters(tmp_path):
    text = "".join(chr(0x4E00 + 7 * n % 400) for n in range(400))  # each character once: a window tells its place
    data = Text(written(tmp_path, text), batch_size=3, length=7, test_fraction=0.1, architecture_fraction=0.25)
    assert data.classes == 400 and data.splits.classes == tuple(sorted(text))
    weight, architecture = data.split()
    training = text[: len(text) - round(0.1 * len(text))]
    border = len(training) - round(0.25 * len(training))
    for part, own in ((weight, training[:border]), (architecture, training[border:]), (data.train(), training)):
        for epoch in range(2):
            seen = []
            for step in range(epoch * part.batches, (epoch + 1) * part.batches):
                batch = part.batch(5, step)
                for x, y in zip(words(data, batch.x), words(data, batch.y), strict=True):
                    assert len(x) == 7 and x[1:] == y[:-1] and x + y[-1] in own
                    seen.append(x)
            assert len(set("".join(seen))) == 3 * 7 * part.batches  # the windows of a pass do not overlap
        passed = [x for batch in part.passes(2) for x in words(data, batch.x)]
        assert passed == [own[n : n + 7] for n in range(0, len(own) - 7, 7)][: len(part)]
    tested = "".join(x for batch in data.test().passes() for x in words(data, batch.x))
    assert text[len(training) :].startswith(tested) and len(tested) > len(text) - len(training) - 8


def test_a_batch_is_a_function_of_seed_and_step(tmp_path):
    parts = [Text(written(tmp_path, "to be or not to be " * 40), batch_size=2, length=5).train() for _ in range(2)]
    forwards = [parts[0].batch(3, step).x for step in range(2 * parts[0].batches)]
    backwards = [parts[1].batch(3, step).x for step in reversed(range(2 * parts[0].batches))]
    assert all(torch.equal(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert not torch.equal(forwards[0], parts[0].batch(4, 0).x)


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read|no such file"):
        Text(tmp_path / "none.txt")
    with pytest.raises(InputError, match="holds 1 different characters; at least 2 are needed"):
        Text(written(tmp_path, "aaaa"))
    with pytest.raises(InputError, match=r"data.batch_size=64, data.length=128: the weight part has \d+ characters"):
        Text(written(tmp_path, "ab" * 300)).split()
    with pytest.raises(InputError, match="task=classification: a text is for language_modelling"):
        Text(written(tmp_path, "ab" * 300), task=Classification())
    with pytest.raises(InputError, match="has no images"):
        _ = Text(written(tmp_path, "ab" * 300)).image_shape


class Model(nn.Module):
    """A small GRU: tokens (batch, time) -> logits (batch, vocabulary, time)."""

    def __init__(self, vocabulary):
        super().__init__()
        self.embedding, self.gru = nn.Embedding(vocabulary, 32), nn.GRU(32, 64, batch_first=True)
        self.logits = nn.Linear(64, vocabulary)

    def forward(self, x):
        return self.logits(self.gru(self.embedding(x))[0]).transpose(1, 2)


@pytest.mark.skipif(not SHAKESPEARE.is_file(), reason="shared/data/tinyshakespeare is absent")
def test_a_language_model_learns_more_than_the_frequencies_of_characters():
    torch.manual_seed(0)
    data = Text(SHAKESPEARE, batch_size=32, length=64, train_size=200_000, test_fraction=0.02)
    retrain = Retrain(
        Model(data.classes), data, drop_path=0.0, optimizer=lambda p: torch.optim.Adam(p, lr=5e-3), log_every=50
    )
    pl.Trainer(
        max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    ).fit(retrain)
    shares = torch.bincount(data._test).double() / len(data._test)
    frequencies = -sum(p * math.log2(p) for p in shares.tolist() if p)  # the best that knows no context
    assert frequencies > 4.5 and retrain.tested["bits_per_character"] < frequencies - 1
    assert "test_bits_per_character" in retrain.rows[-1] and "train_bits_per_character" in retrain.rows[0]


def test_a_training_from_python_has_a_folder(tmp_path):
    torch.manual_seed(0)
    data = Text(written(tmp_path, "to be or not to be " * 60), batch_size=4, length=8, test_fraction=0.3)

    def fit():
        retrain = Retrain(Model(data.classes), data, drop_path=0.0, optimizer=lambda p: torch.optim.Adam(p, lr=5e-3))
        return oneshot.fit(retrain, epochs=2, out=tmp_path / "run", show=False), retrain

    result, retrain = fit()
    assert result["test_bits_per_character"] == retrain.tested["bits_per_character"] < 4
    again, restored = fit()
    assert again == result and restored.tested == retrain.tested
