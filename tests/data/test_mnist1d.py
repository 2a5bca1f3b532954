"""MNIST-1D beside the numbers of its authors' package, mnist1d 0.0.2.post1 (`make_dataset()`)."""

import hashlib

import numpy as np
import torch

from oneshot.data import mnist1d
from oneshot.data.mnist1d import signals

FIRST = [-0.332006, -0.47191, -0.778697, -1.009741, -0.882353, 0.103935, 1.643284, 1.652507, 0.683078, -0.342638]
LAST = [-0.395911, -0.098646, 0.447233, 0.659876, 0.877734, 1.193152]
DIGITS = [2, 6, 4, 5, 6, 6, 6, 0, 3, 1, 6, 9, 4, 3, 4, 5, 1, 9, 0, 3]
OF_TRAINING, OF_TEST = [398, 396, 411, 394, 394, 402, 401, 404, 402, 398], [102, 104, 89, 106, 106, 98, 99, 96, 98, 102]


def test_the_signals_are_those_of_the_package():
    x, y = signals()
    assert x.shape == (5000, 40) and len(y) == 5000
    np.testing.assert_allclose(x[0, :10], FIRST, atol=6e-7)
    np.testing.assert_allclose(x[-1, -6:], LAST, atol=6e-7)
    # of all signals: sum of sizes, of products of neighbours, smallest and largest
    found = [np.abs(x).sum(), (x[:, ::2] * x[:, 1::2]).sum(), x.min(), x.max()]
    np.testing.assert_allclose(found, [148316.17264806535, 82175.59620981145, -5.479419072154895, 4.533515672898283])
    np.testing.assert_allclose([x.mean(), x.std()], [0, 1], atol=1e-12)


def test_the_digits_are_those_of_the_package():
    _, y = signals()
    assert y[:20].tolist() == DIGITS
    assert np.bincount(y[:4000]).tolist() == OF_TRAINING and np.bincount(y[4000:]).tolist() == OF_TEST
    expected = "6feec4a017698c7fe237c8854cbd2e338c6dd5c16240f6fa79daefaaa129e169"
    assert hashlib.sha256(y.astype("<i8").tobytes()).hexdigest() == expected


def test_the_global_generator_is_neither_read_nor_moved():
    np.random.seed(7)
    before = np.random.get_state()[1].copy()
    x, y = signals.__wrapped__()
    assert np.array_equal(np.random.get_state()[1], before)
    np.random.seed(8)
    again = signals.__wrapped__()
    assert np.array_equal(x, again[0]) and np.array_equal(y, again[1])


def test_batches_are_these_signals_without_augmentation():
    x, y = signals()
    digit = {row.tobytes(): int(k) for row, k in zip(x[:4000].astype(np.float32).round(4) + 0.0, y, strict=False)}
    data = mnist1d(batch_size=100)
    assert data.image_shape == (1, 1, 40) and data.classes == 10
    drawn = data.train().batch(0, 3)
    for signal, label in zip(drawn.x, drawn.y.tolist(), strict=True):
        assert digit[(signal.flatten().numpy().round(4) + 0.0).tobytes()] == label
    tested = torch.cat([batch.x.flatten(1) for batch in data.test().passes()])
    assert len(tested) == 1000
    torch.testing.assert_close(tested.sort(0).values, torch.from_numpy(x[4000:]).float().sort(0).values)
