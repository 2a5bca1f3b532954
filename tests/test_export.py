"""An exported file computes what the network does, for any number of images and without this package."""

import copy
import io
import json
import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from oneshot.cost import network_cost
from oneshot.errors import InputError
from oneshot.export import TOLERANCE, check_formats, compared, export, preprocessing, reached
from oneshot.spaces import DARTSCells, NASBench201

SHAPE = (1, 8, 8)


def darts():
    """Separable and dilated convolutions of both strides, and an auxiliary head."""
    space = DARTSCells(SHAPE, 10, cells=3, channels=4, nodes=1, auxiliary=True)
    names = ["sep_conv_3x3", "dil_conv_3x3", "dil_conv_5x5", "max_pool_3x3"]  # two edges into the node of each cell
    return space, space.architecture([space.candidates.index(name) for name in names])


def nasbench201():
    space = NASBench201(SHAPE, 10, cells=1, channels=4)
    return space, space.architecture([3, 1, 4, 2, 0, 3])


@pytest.fixture(scope="module")
def exported():
    """By space: (space, architecture, network with running statistics of its own, its exports)."""
    found = {}
    for make in (darts, nasbench201):
        torch.manual_seed(0)
        space, architecture = make()
        network = space.network(architecture)
        for _ in range(3):
            network.train()(2 + 3 * torch.randn(16, *SHAPE))
        found[space.name] = space, architecture, network, export(network, torch.randn(6, *SHAPE), ["torch", "onnx"])
    return found


@pytest.fixture(params=["darts", "nasbench201"])
def made(request, exported):
    return exported[request.param]


def eager(network, images):
    network = copy.deepcopy(network).eval()
    with torch.no_grad():
        return network(images)


@pytest.mark.parametrize("batch", [1, 5])
def test_any_number_of_images(made, batch):
    *_, network, exports = made
    images = torch.randn(batch, *SHAPE)
    expected = eager(network, images)
    assert expected.abs().max() > 0.1
    loaded = torch.export.load(io.BytesIO(exports["torch"].content)).module()
    torch.testing.assert_close(loaded(images), expected, atol=1e-5, rtol=1e-5)
    strided = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(loaded(strided), expected, atol=1e-5, rtol=1e-5)
    session = onnxruntime.InferenceSession(exports["onnx"].content, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-5, rtol=1e-5)


def test_what_is_reported_and_left_out(made):
    space, architecture, network, exports = made
    for one in exports.values():
        assert 0 <= one.difference < 1e-5 < TOLERANCE and (one.agreement, one.images) == (1.0, 6)
    program = torch.export.load(io.BytesIO(exports["torch"].content))
    cost = network_cost(space, architecture, SHAPE)
    assert sum(p.numel() for p in program.parameters()) == cost["parameters"]  # of the auxiliary head nothing
    assert not any("auxiliary" in name for name in program.state_dict)
    assert network.training and (space.name == "nasbench201" or network.auxiliary is not None)  # it was a copy
    model = onnx.load_from_string(exports["onnx"].content)
    (image,), (logits,) = model.graph.input, model.graph.output
    dims = [[d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] for value in (image, logits)]
    assert (image.name, logits.name, dims) == ("images", "logits", [["batch", *SHAPE], ["batch", 10]])
    assert "Transpose" not in {node.op_type for node in model.graph.node}  # depthwise convolutions as they are known


def test_a_process_of_its_own(exported, tmp_path):
    """The files are read by a process that does not have this package."""
    images = torch.randn(3, *SHAPE)
    for name, (*_, exports) in exported.items():
        (tmp_path / f"{name}.pt2").write_bytes(exports["torch"].content)
        (tmp_path / f"{name}.onnx").write_bytes(exports["onnx"].content)
    torch.save(images, tmp_path / "images")
    code = """
import json, sys
import onnxruntime, torch
images = torch.load("images")
found = {}
for name in ("darts", "nasbench201"):
    loaded = torch.export.load(f"{name}.pt2").module()(images).tolist()
    (logits,) = onnxruntime.InferenceSession(f"{name}.onnx").run(None, {"images": images.numpy()})
    found[name] = [loaded, logits.tolist()]
assert "oneshot" not in sys.modules
print(json.dumps(found))
"""
    end = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    found = json.loads(end.stdout)
    for name, (*_, network, _) in exported.items():
        for logits in found[name]:
            torch.testing.assert_close(torch.tensor(logits), eager(network, images), atol=1e-5, rtol=1e-5)


def test_only_what_gives_nothing_is_left_out():
    """A module whose weight is used without calling it stays."""

    class Borrows(nn.Module):
        def __init__(self):
            super().__init__()
            self.called, self.borrowed, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
            self.rows = nn.ModuleList([nn.Sequential(nn.Linear(4, 4)), nn.BatchNorm1d(4)])

        def forward(self, x):
            return self.rows[1](nn.functional.linear(self.called(x), self.borrowed.weight))

    network, x = Borrows().eval(), torch.randn(3, 4)
    kept = reached(network, x)
    torch.testing.assert_close(kept(x), network(x))
    assert {name.split(".")[0] for name, _ in kept.named_parameters()} == {"called", "borrowed", "rows"}
    assert isinstance(kept.unused, nn.Identity) and isinstance(kept.rows[0], nn.Identity)


@pytest.mark.parametrize("error", [0.001, float("nan")])
def test_other_outputs_are_refused(error):
    images, logits = torch.randn(4, *SHAPE), torch.randn(4, 10)
    outputs = iter([logits[:1], logits[1:] + error])
    with pytest.raises(InputError, match="export=onnx: its logits differ from the network's by"):
        compared("onnx", b"", lambda _: next(outputs), images, logits)
    outputs = iter([logits[:1], logits[1:] + 1e-6])
    assert compared("onnx", b"file", lambda _: next(outputs), images, logits).content == b"file"


def test_what_cannot_be_traced_is_one_line():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(x) if x.sum() > 0 else -self.linear(x)

    with pytest.raises(InputError, match="export=torch: the network cannot be exported") as raised:
        export(Branches(), torch.randn(3, 4), ["torch"])
    assert "\n" not in str(raised.value)


def test_formats(monkeypatch):
    check_formats([])
    check_formats(["torch", "onnx"])
    for formats, message in [
        ("torch", "must be a list of torch, onnx"),
        (["onx"], "unknown export 'onx'; did you mean 'onnx'?"),
        ([1], "unknown export 1"),
        (["torch", "torch"], "must name each format once"),
    ]:
        with pytest.raises(InputError, match=message.replace("?", r"\?")):
            check_formats(formats)
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    check_formats(["torch"])
    with pytest.raises(InputError, match=r'onnxscript cannot be imported .*; pip install "oneshot\[export\]"'):
        check_formats(["torch", "onnx"])


def test_one_image_is_too_few_and_no_format_is_no_work():
    assert export(nn.Linear(4, 2), torch.randn(1, 4), []) == {}
    with pytest.raises(InputError, match="at least 2 images"):
        export(nn.Linear(4, 2), torch.randn(1, 4), ["torch"])


def test_preprocessing_is_plain_data():
    told = json.loads(json.dumps(preprocessing((3, 32, 32), ("cat", "dog"), (0.5, 0.4, 0.3), [1, 1, 1])))
    assert told["input"]["shape"] == ["batch", 3, 32, 32] and told["input"]["colours"] == "RGB"
    assert told["input"]["mean"] == [0.5, 0.4, 0.3] and told["classes"] == ["cat", "dog"]
    assert preprocessing((4, 8, 8), ("a", "b"), None, None)["input"]["colours"] is None
