"""Counts against computations whose counts are known."""

import torch

from oneshot.cli.benchmark.profiling import Alive, Operations, Saved, saved_bytes


def test_saved_bytes_counts_each_storage_once_and_no_parameters():
    w, x = torch.randn(10, 10, requires_grad=True), torch.randn(5, 10)
    assert saved_bytes(lambda: (x @ w).sum(), [w]) == 5 * 10 * 4
    assert saved_bytes(lambda: (x @ w + x[:, :] @ w).sum(), [w]) == 5 * 10 * 4
    assert saved_bytes(lambda: (x @ w).exp().sum(), [w]) == 2 * 5 * 10 * 4
    assert saved_bytes(lambda: (x.clone().requires_grad_() @ w).sum()) == (5 + 10) * 10 * 4
    with torch.no_grad():
        assert saved_bytes(lambda: (x @ w).sum(), [w]) == 0


def test_operations_counts_what_computes_backward_included():
    w, x = torch.randn(10, 10, requires_grad=True), torch.randn(5, 10)
    with Operations() as counter:
        loss = (x @ w).relu().view(50).t().sum()
        loss.backward()
    forward = {"mm": 1, "relu": 1, "sum": 1}
    backward = {"ones_like": 1, "threshold_backward": 1, "mm": 1}
    assert counter.total == sum(forward.values()) + sum(backward.values())
    assert counter.counts["mm"] == 2 and "view" not in counter.counts and "t" not in counter.counts


def test_views_and_allocations_are_free():
    x = torch.randn(5, 10)
    with Operations() as counter:
        x.detach().view(50).unsqueeze(0).expand(3, 50).permute(1, 0).select(0, 1).unflatten(0, (3, 1))
        torch.empty(3), torch.empty_like(x), x.new_empty(3), torch.empty_strided((2,), (1,))
    assert counter.total == 0


def test_the_peak_of_what_is_saved_falls_when_a_backward_pass_frees_it():
    w = torch.randn(10, 10, requires_grad=True)
    x, size = torch.randn(5, 10), 5 * 10 * 4
    with Saved([w]) as saved:
        (x @ w).exp().sum().backward()  # x and the exponentials
        assert (saved.peak, saved.bytes) == (2 * size, 0)
        first = (x @ w).sum()
        second = (x[:, :] @ w).exp().sin().sum()  # the same x; the exponentials, and once more as the input of the sine
        assert saved.bytes == 2 * size == saved.peak
        second.backward()
        assert saved.bytes == size
        first.backward()
    assert (saved.peak, saved.bytes) == (2 * size, 0)


def test_what_is_alive_at_a_time():
    x, size = torch.randn(5, 10), 5 * 10 * 4
    with Alive() as alive:
        y = x.exp()
        y = y.sin()  # two at a time
        y.view(50)[3:].t()
        assert alive.peak == 2 * size
        z = y.cos().sin()
        assert alive.peak == 3 * size
        del y
        z.neg_()
        w = z + 1
        w + w  # three, as y has been freed
        assert alive.peak == 3 * size
        torch.stack([z, w])
        assert alive.peak == 4 * size


def test_gradients_are_alive_and_what_was_given_is_not():
    w, x = torch.randn(10, 10, requires_grad=True), torch.randn(5, 10, requires_grad=True)
    small, large = 5 * 10 * 4, 10 * 10 * 4
    with Alive([w, x]) as alive:
        w.mul(1.0)
        w.detach().zero_()
        assert alive.peak == large
        y = (x @ w).sum()  # a number of 4 bytes; the product has been freed
        y.backward()
    assert x.grad.untyped_storage().nbytes() == small
    assert alive.peak == 4 + 4 + small + large  # y, its gradient, and those of x and w; that of the product is expanded
