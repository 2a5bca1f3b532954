"""Weights to start from: what is taken, what stays new, and what is refused."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from oneshot.errors import InputError
from oneshot.fitting.start import start_from
from oneshot.spaces import DARTSCells, NASBench201


def network(outputs):
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, outputs))


def written(folder, module, **changed):
    state = {**{n: w.contiguous() for n, w in module.state_dict().items()}, **changed}
    save_file({n: w for n, w in state.items() if w is not None}, folder / "w.safetensors")
    return folder / "w.safetensors"


def test_all_weights_are_those_of_the_file(tmp_path):
    source, target = network(4), network(4)
    assert start_from(target, written(tmp_path, source), 4) == []
    assert all(torch.equal(w, source.state_dict()[n]) for n, w in target.state_dict().items())


@pytest.mark.parametrize("make", [NASBench201, DARTSCells])
def test_with_other_classes_the_classifier_alone_is_new(tmp_path, make):
    spaces = [make((3, 8, 8), classes, cells=3 if make is DARTSCells else 1, channels=4) for classes in (10, 7)]
    source, target = (space.supernet() for space in spaces)
    before = {n: w.clone() for n, w in target.state_dict().items()}
    new = start_from(target, written(tmp_path, source), 7)
    assert new == ["classifier.weight", "classifier.bias"]
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, before[name] if name in new else source.state_dict()[name])


def test_an_auxiliary_classifier_is_new_too(tmp_path):
    spaces = [DARTSCells((3, 32, 32), classes, cells=3, channels=4, auxiliary=True) for classes in (10, 2)]
    architecture = spaces[0].architecture([1, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0] * 2)
    source, target = (space.network(architecture) for space in spaces)
    new = start_from(target, written(tmp_path, source), 2)
    assert new == ["classifier.weight", "classifier.bias", "auxiliary.classifier.weight", "auxiliary.classifier.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"0.weight": torch.zeros(6, 3, 3, 3)},
            r"0.weight is \(6, 3, 3, 3\), the configured network has \(5, 3, 3, 3\)",
        ),
        ({"0.bias": None}, r"0.bias is nothing, the configured network has \(5,\)"),
        ({"extra": torch.zeros(2)}, r"extra is \(2,\), the configured network has nothing"),
        ({"3.weight": torch.zeros(9, 21)}, r"3.weight is \(9, 21\), the configured network has \(4, 20\)"),
        ({"0.bias": torch.full((5,), float("nan"))}, "0.bias holds numbers that are not finite"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(tmp_path, change, message):
    target = network(4)
    before = {n: w.clone() for n, w in target.state_dict().items()}
    with pytest.raises(InputError, match=message):
        start_from(target, written(tmp_path, network(4), **change), 4, "network.weights")
    assert all(torch.equal(w, before[n]) for n, w in target.state_dict().items())


def test_what_is_no_file_of_weights(tmp_path):
    (tmp_path / "text").write_text("weights")
    with pytest.raises(InputError, match="network.weights=.*text: holds no weights"):
        start_from(network(4), tmp_path / "text", 4, "network.weights")
    with pytest.raises(InputError, match="network.weights: .*none: cannot be read|network.weights=.*none: cannot"):
        start_from(network(4), tmp_path / "none", 4, "network.weights")
    with pytest.raises(InputError, match="must be the path of a safetensors file"):
        start_from(network(4), 7, 4, "network.weights")
