"""If every path to the output draws `none`, the loss does not depend on the gates: the gradient is 0, not an error."""

import pytest
import torch
from helpers.support import build, moving
from torch.nn import functional

from oneshot.fitting.updates import Components, architecture_step, joint_step
from oneshot.schedule import Step
from oneshot.spaces import NASBench201

DRAWING = [*(name for name in moving() if "darts" not in name), "snas architect.straight_through=true"]
SPACE = NASBench201((1, 8, 8), 10, cells=1, channels=4)


def components(name):
    architect, supernet = build(name, SPACE), SPACE.supernet()
    with torch.no_grad():
        for key, parameter in architect.named_parameters():
            if key == "alpha":
                parameter[:, SPACE.choices[0].candidates.index("none")] += 100
    weights = torch.optim.SGD(supernet.parameters(), lr=0.1)
    return Components(
        supernet, architect, functional.cross_entropy, weights, [architect.optimizer(architect.parameters())]
    )


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", DRAWING)
def test_a_step_goes_on(name, joint):
    parts, batch = components(name), (torch.randn(8, 1, 8, 8), torch.randint(10, (8,)))
    if joint:
        loss = joint_step(parts, batch, Step(0, 0, 10))
    else:
        loss = architecture_step(parts, batch, batch, Step(0, 0, 10))
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in parts.architect.parameters())


def test_the_gradient_is_zero():
    parts, batch = (
        components("snas architect.straight_through=true"),
        (torch.randn(8, 1, 8, 8), torch.randint(10, (8,))),
    )
    gates = parts.architect.gates(Step(0, 0, 10))
    assert all(SPACE.choices[0].candidates[k] == "none" for (k,) in gates.active)
    architecture_step(parts, batch, batch, Step(0, 0, 10))
    assert not parts.architect.alpha.grad.any()
