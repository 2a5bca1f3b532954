"""A trained network as one file that runs without this package: torch.export or ONNX, compared with the network."""

import copy
import importlib
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from .errors import InputError, named, unknown

FILES = {"torch": "network.pt2", "onnx": "network.onnx"}
PACKAGES: dict[str, tuple[str, ...]] = {"torch": (), "onnx": ("onnx", "onnxscript", "onnxruntime")}
TOLD = "preprocessing.json"  # name of what both formats say of their images: ONNX metadata, extra file of torch.export
IMAGES, LOGITS, BATCH = "images", "logits", "batch"  # names of the file's input, its output and their first axis
OUTPUTS = {  # what the values of the output mean, by task
    "classification": "logits; softmax gives the probability of each class",
    "multilabel": "logits; sigmoid gives the probability of each label",
    "regression": "the numbers themselves",
    "segmentation": "logits of each pixel; softmax over the classes gives their probabilities",
}
TOLERANCE = 1e-4  # allowed difference of logits, relative to the largest logit (at least 1)

Program = torch.export.ExportedProgram
Outputs = Callable[[Tensor], Tensor]
Result = TypeVar("Result")


class Export(NamedTuple):
    """An exported file, and how its outputs compare with those of the network.

    Args:
        content: The bytes of the file.
        difference: Largest absolute difference of a logit.
        agreement: Share of the images (or pixels) with the same predicted class; None where logits are no classes.
        images: Number of images that were compared.
    """

    content: bytes
    difference: float
    agreement: float | None
    images: int


def check_formats(formats: Sequence[str]) -> None:
    """Check that networks can be exported in these formats.

    Args:
        formats: Names of formats, "torch" or "onnx".

    Raises:
        InputError: If a format is unknown or named twice, or if its packages are not installed.
    """
    if not isinstance(formats, list | tuple):
        raise InputError(f"export={formats!r}: must be a list of {', '.join(FILES)}, such as [torch,onnx]")
    for name in formats:
        if name not in FILES:
            raise unknown("export", name, FILES)
        if list(formats).count(name) > 1:
            raise InputError(f"export={list(formats)}: must name each format once")
        for package in PACKAGES[name]:
            try:
                importlib.import_module(package)
            except ImportError as error:
                raise InputError(
                    f'export={name}: {package} cannot be imported ({error}); pip install "oneshot[export]"'
                ) from None


def export(
    network: nn.Module,
    images: Tensor,
    formats: Sequence[str],
    told: Mapping[str, Any] | None = None,
    classes: bool = True,
) -> dict[str, Export]:
    """Export a network as it is used after training: evaluation mode, float32, any number of images.

    Parts that evaluation never reaches (an auxiliary head) are left out. The file takes normalized images and gives
    logits. It is read back and compared with the network: one of the images alone, and the others together.

    Args:
        network: The network.
        images: Normalized images to compare with, (at least 2, channels, height, width).
        formats: Names of formats, "torch" or "onnx".
        told: What `preprocessing` returns. It is written into the files too, as JSON by the name TOLD.
        classes: Whether the largest logit is the predicted class.

    Returns:
        The export by the name of its format.

    Raises:
        InputError: As `check_formats`; also if the network cannot be exported, or if a logit differs by more than
            TOLERANCE.
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
            content, outputs = attempt(name, WRITE[name], program, json.dumps(told) if told else "")
            exports[name] = compared(name, content, outputs, images, logits, classes)
    return exports


def reached(network: nn.Module, images: Tensor) -> nn.Module:
    """Copy a network to the CPU, in float32 and evaluation mode, without submodules that do not affect the logits.

    Args:
        network: The network; it stays as it is.
        images: Images, (batch, channels, height, width).

    Returns:
        The copy.
    """
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
    """Trace the graph of a network for any number of images.

    Args:
        network: The network.
        images: At least 2 images: torch would take a batch size of 1 for a constant.

    Returns:
        The exported program.
    """
    batch = torch.export.Dim(BATCH, min=1)
    return torch.export.export(network, (images,), dynamic_shapes=({0: batch},))


def to_torch(program: Program, told: str = "") -> tuple[bytes, Outputs]:
    """Write a program as a file of torch.export.save, and load it again.

    Args:
        program: The program.
        told: What the file says of its images besides; empty: nothing.

    Returns:
        The bytes of the file, and a function from images to logits that uses it.
    """
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={TOLD: told} if told else None)
    return buffer.getvalue(), torch.export.load(io.BytesIO(buffer.getvalue())).module()


def to_onnx(program: Program, told: str = "") -> tuple[bytes, Outputs]:
    """Write a program as an ONNX file, check it, and load it in ONNX Runtime on the CPU.

    Args:
        program: The program.
        told: What the file says of its images besides; empty: nothing.

    Returns:
        The bytes of the file, and a function from images to logits that uses it.
    """
    import onnx
    import onnxruntime

    names: Any = {"input_names": [IMAGES], "output_names": [LOGITS], "dynamic_shapes": ({0: BATCH},)}
    made = torch.onnx.export(program, dynamo=True, verbose=False, **names)
    assert made is not None  # true if no file is named
    model = made.model_proto
    if told:
        model.metadata_props.add(key=TOLD, value=told)
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: torch.from_numpy(session.run([LOGITS], {IMAGES: images.numpy()})[0])


WRITE: dict[str, Callable[[Program, str], tuple[bytes, Outputs]]] = {"torch": to_torch, "onnx": to_onnx}


def compared(
    name: str, content: bytes, outputs: Outputs, images: Tensor, logits: Tensor, classes: bool = True
) -> Export:
    """Compare the outputs of a file with the logits of the network.

    Args:
        name: Name of the format.
        content: The bytes of the file.
        outputs: From images to logits, with the file.
        images: Images, (batch, channels, height, width).
        logits: The network's logits, (batch, classes).
        classes: Whether the largest logit is the predicted class.

    Returns:
        The export.

    Raises:
        InputError: If a logit differs by more than TOLERANCE.
    """
    found = torch.cat([outputs(images[:1]), outputs(images[1:])])  # with two batch sizes
    difference = (found - logits).abs().max().item()
    allowed = TOLERANCE * max(1.0, logits.abs().max().item())
    if not difference <= allowed:
        raise InputError(
            f"export={name}: its logits differ from the network's by {difference:.3g}; at most {allowed:.3g} is allowed"
        )
    same = (found.argmax(dim=1) == logits.argmax(dim=1)).float().mean().item()
    return Export(content, difference, same if classes else None, len(images))


def attempt(name: str, make: Callable[..., Result], *arguments: Any) -> Result:
    """Run one step of an export.

    Args:
        name: Name of the format.
        make: The step.
        *arguments: Its arguments.

    Returns:
        What the step returns.

    Raises:
        InputError: If the step fails. A user's operations may contain anything that cannot be translated.
    """
    try:
        return make(*arguments)
    except Exception as error:  # tracing, translation, checker and runtime share no class of errors
        raise InputError(f"export={name}: the network cannot be exported ({named(error)})") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Hide the exporter's remarks on packages that it could use, and deprecation warnings from inside torch."""
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
    image_shape: Sequence[int],
    classes: Sequence[str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    file: Mapping[str, Any] | None = None,
    task: str = "classification",
) -> dict[str, Any]:
    """Describe what the user of an exported file must know: its input images and the meaning of its logits.

    Args:
        image_shape: (channels, height, width) of an image.
        classes: Names of the classes, in the order of the logits.
        mean: Mean of each channel, of pixels from 0 to 1; None if unknown.
        std: Standard deviation of each channel, of pixels from 0 to 1; None if unknown.
        file: How the pixels, from 0 to 255, come from an image file, in the order of the steps. None: from no file.
        task: Name of the task, of OUTPUTS; another one has no description.

    Returns:
        The description, as plain data for JSON.
    """
    size = image_shape[1:] if task == "segmentation" else ()
    return {
        "file_to_pixels": None if file is None else dict(file),
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
        "output": {"name": LOGITS, "shape": [BATCH, len(classes), *size], "values": OUTPUTS.get(task)},
        "task": task,
        "classes": list(classes),
    }
