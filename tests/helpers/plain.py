"""The supernet of the DARTS cell as the paper describes it, with the weights of a state and nothing else of ours."""

import torch
from torch.nn import functional as F


def norm(x):
    return F.batch_norm(x, None, None, training=True)


def half(x, state, key):
    x = F.relu(x)
    y = [
        F.conv2d(x, state[f"{key}.1.even.weight"], stride=2),
        F.conv2d(x[:, :, 1:, 1:], state[f"{key}.1.odd.weight"], stride=2),
    ]
    return norm(torch.cat(y, 1))


def apply(name, x, stride, state, key):
    """One candidate as the paper describes it, with the weights of `state`."""
    if name == "max_pool_3x3":
        return norm(F.max_pool2d(x, 3, stride, 1))
    if name == "avg_pool_3x3":
        return norm(F.avg_pool2d(x, 3, stride, 1, count_include_pad=False))
    if name == "skip_connect":
        return x if stride == 1 else half(x, state, key)
    kind, kernel = name[:3], int(name[-1])
    dilation = 2 if kind == "dil" else 1
    rounds = ((1, 2), (5, 6)) if kind == "sep" else ((1, 2),)
    for depthwise, pointwise in rounds:
        padding = dilation * (kernel - 1) // 2
        weight = state[f"{key}.{depthwise}.weight"]
        x = F.conv2d(F.relu(x), weight, None, stride, padding, dilation, groups=x.shape[1])
        x = norm(F.conv2d(x, state[f"{key}.{pointwise}.weight"]))
        stride = 1
    return x


def plain_supernet(space, state, x, weight):
    """Every edge, every candidate, one after the other."""
    stem = F.conv2d(x, state["stem.0.weight"], padding=1)
    s0 = s1 = F.batch_norm(stem, None, None, state["stem.1.weight"], state["stem.1.bias"], training=True)
    reduced = False
    for i in range(space.cells):
        reduces = i in (space.cells // 3, 2 * space.cells // 3)
        cell = f"cells.{i}"
        if reduced:
            first = half(s0, state, f"{cell}.inputs.before")
        else:
            first = norm(F.conv2d(F.relu(s0), state[f"{cell}.inputs.before.1.weight"]))
        states = [first, norm(F.conv2d(F.relu(s1), state[f"{cell}.inputs.last.1.weight"]))]
        row = len(space.choices) // 2 if reduces else 0
        edge = 0
        for node in range(space.nodes):
            total = 0
            for source in range(node + 2):
                stride = 2 if reduces and source < 2 else 1
                for k, name in enumerate(space.choices[row + edge].candidates):
                    if name != "none":
                        y = apply(name, states[source], stride, state, f"{cell}.graph.edges.{edge}.{name}")
                        total = total + weight[row + edge, k] * y
                edge += 1
            states.append(total)
        s0, s1, reduced = s1, torch.cat(states[2:], 1), reduces
    return F.linear(s1.mean((2, 3)), state["classifier.weight"], state["classifier.bias"])
