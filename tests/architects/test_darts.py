"""DARTS of first order."""

import torch
from support import darts, small_space
from torch.nn import functional

from oneshot.architects import Step

STEP = Step(seed=0, index=0, total=10)


def test_first_order_gradient_is_that_of_the_validation_loss(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = darts(space), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    architect.loss(supernet, (x + 1, y), (x, y), None, STEP).backward()
    gradient = architect.alpha.grad

    def loss_at(alpha):
        from oneshot.architecture import Gates

        return functional.cross_entropy(supernet(x, Gates(torch.softmax(alpha, 1))), y)

    for i, k in ((0, 0), (1, 3), (6, 7), (9, 2)):  # central differences
        moved = torch.zeros_like(architect.alpha)
        moved[i, k] = 1e-5
        numeric = (loss_at(architect.alpha + moved) - loss_at(architect.alpha - moved)) / 2e-5
        assert abs(numeric - gradient[i, k]) < 1e-7


def test_scores_are_probabilities_and_alpha_starts_small():
    torch.manual_seed(0)
    architect = darts(small_space())
    assert torch.allclose(architect.scores().sum(1), torch.ones(10))
    assert 0.5e-3 < architect.alpha.std() < 2e-3
    assert 0.9999 < architect.entropy() <= 1
    architect.alpha.data[:, 0] = 100
    assert architect.entropy() < 1e-6
