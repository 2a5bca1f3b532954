"""A trained network as one file that runs without this package, by torch.export or as ONNX, compared with it."""

import copy
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .errors import InputError, named, unknown

FILES = {"torch": "network.pt2", "onnx": "network.onnx"}
PACKAGES: dict[str, tuple[str, ...]] = {"torch": (), "onnx": ("onnx", "onnxscript", "onnxruntime")}
IMAGES, LOGITS, BATCH = "images", "logits", "batch"  # what the file calls its input, its output and their first axis
TOLERANCE = 1e-4  # how far a file's logits may be from the network's, of the largest, which counts as at least 1

Program = torch.export.ExportedProgram
Outputs = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


class Export(NamedTuple):
    """A file, and how its outputs compare with the network's on so many images.

    difference: the largest of a logit. agreement: share of the images with the same predicted class.
    """

    content: bytes
    difference: float
    agreement: float
    images: int


def check_formats(formats: Sequence[str]) -> None:
    """Raise InputError for an unknown format, one named twice, and one whose packages are not installed."""
    if not isinstance(formats, list | tuple):
        raise InputError(f"export={formats!r}: must be a list of {', '.join(FILES)}, as [torch,onnx]")
    for name in formats:
        if name not in FILES:
            raise unknown("export", name, FILES)
        if list(formats).count(name) > 1:
            raise InputError(f"export={list(formats)}: each format once")
        for package in PACKAGES[name]:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f'export={name}: {package} cannot be imported ({error}); pip install "oneshot[export]"'
                ) from None


def export(network: nn.Module, images: Tensor, formats: Sequence[str]) -> dict[str, Export]:
    """The network as it is used after training, in each format: evaluation mode, float32, any number of images.

    What evaluation never reaches (an auxiliary head) is not in it. images: normalized, (at least 2, channels, height,
    width). The file takes such images and gives logits; it is read back and compared with the network on these, one
    of them alone and the others together.
    Raises InputError as `check_formats` does, for a network that cannot be exported, and where a logit differs by
    more than TOLERANCE.
    """
    check_formats(formats)
    if not formats:
        return {}
    images = images.detach().cpu().float().contiguous()
    if len(images) < 2:
        raise InputError("export: at least 2 images are needed, to compare the file with the network")
    network = reached(network, images[:2])
    with torch.no_grad(), quiet():
        logits = network(images)
        program = attempt(formats[0], traced, network, images[:2])
        exports = {}
        for name in formats:
            content, outputs = attempt(name, WRITE[name], program)
            exports[name] = compared(name, content, outputs, images, logits)
    return exports


def reached(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy on the CPU in float32, in evaluation mode, without the submodules that give nothing to these logits."""
    network = copy.deepcopy(network).cpu().float().eval()
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    parameters = [p.requires_grad_() for p in network.parameters()]
    with torch.enable_grad():
        gradients = torch.autograd.grad(network(images).sum(), parameters, allow_unused=True)
    used = {id(p) for p, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            own = [id(p) for p in child.parameters()]
            if own and used.isdisjoint(own):
                setattr(parent, name, nn.Identity())
    return network


def traced(network: nn.Module, images: Tensor) -> Program:
    """The network's graph for any number of images. At least 2 of them: torch takes a size of 1 for a constant."""
    batch = torch.export.Dim(BATCH, min=1)
    return torch.export.export(network, (images,), dynamic_shapes=({0: batch},))


def to_torch(program: Program) -> tuple[bytes, Outputs]:
    """A file of torch.export.save, and what it computes when it is loaded."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue(), torch.export.load(io.BytesIO(buffer.getvalue())).module()


def to_onnx(program: Program) -> tuple[bytes, Outputs]:
    """An ONNX file, checked, and what ONNX Runtime computes with it on the CPU."""
    import onnx
    import onnxruntime

    names: Any = {"input_names": [IMAGES], "output_names": [LOGITS], "dynamic_shapes": ({0: BATCH},)}
    made = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    assert made is not None  # as it is where no file is named
    content = made.model_proto.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: torch.from_numpy(session.run([LOGITS], {IMAGES: images.numpy()})[0])


WRITE: dict[str, Callable[[Program], tuple[bytes, Outputs]]] = {"torch": to_torch, "onnx": to_onnx}


def compared(name: str, content: bytes, outputs: Outputs, images: Tensor, logits: Tensor) -> Export:
    """The export of these contents. Raises InputError where its outputs are not the logits."""
    found = torch.cat([outputs(images[:1]), outputs(images[1:])])  # two sizes of a batch
    difference = (found - logits).abs().max().item()
    allowed = TOLERANCE * max(1.0, logits.abs().max().item())
    if not difference <= allowed:
        raise InputError(f"export={name}: its logits differ from the network's by {difference:.3g}, over {allowed:.3g}")
    agreement = (found.argmax(dim=1) == logits.argmax(dim=1)).float().mean().item()
    return Export(content, difference, agreement, len(images))


def attempt(name: str, make: Callable[..., Result], *arguments: Any) -> Result:
    """What `make` gives. Raises InputError where it fails: of a user's operations anything may not translate."""
    try:
        return make(*arguments)
    except Exception as error:  # tracing, translation, checker and runtime have no class of errors in common
        raise InputError(f"export={name}: the network cannot be exported ({named(error)})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's remarks: packages that it could use, deprecations inside torch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def preprocessing(
    image_shape: Sequence[int], classes: Sequence[str], mean: Sequence[float] | None, std: Sequence[float] | None
) -> dict[str, Any]:
    """What whoever runs an exported file must know: the images that it takes and what its logits mean.

    mean, std: of each channel, of pixels from 0 to 1; None where the data does not say.
    """
    return {
        "input": {
            "name": IMAGES,
            "dtype": "float32",
            "shape": [BATCH, *image_shape],
            "axes": "batch, channels, height, width",
            "colours": {1: "grey", 3: "RGB"}.get(image_shape[0]),
            "values": "(pixel / 255 - mean) / std, by channel",
            "mean": None if mean is None else list(mean),
            "std": None if std is None else list(std),
        },
        "output": {"name": LOGITS, "shape": [BATCH, len(classes)]},
        "classes": list(classes),
    }
