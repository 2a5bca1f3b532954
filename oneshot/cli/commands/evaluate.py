"""What a retrained network reaches and costs: test accuracy, size, latency; and its export, to run elsewhere.

Examples:
    oneshot evaluate run=outputs/retrain/RUN
    oneshot evaluate 'batches=[1,256]' device=cuda dtype=bfloat16
    oneshot evaluate 'export=[torch,onnx]'
"""

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf
from pytorch_lightning.plugins.precision import DoublePrecision, MixedPrecision, Precision
from rich.console import Console
from rich.table import Table
from torch import nn

from ... import plots
from ...cost import network_cost
from ...cost.timing import Latency, check_batches, check_timing, device_name, network_latency
from ...data import ImageData, Part
from ...errors import is_number
from ...export import FILES, TOLERANCE, Export, check_formats, export, preprocessing
from ...fitting.evaluation import Classified, classify
from ...runs.folder import Run, read_result, write_bytes
from ..folders import run_folder
from ..objects import make, precision, prepare, read_device
from ..recorder import open_run, recording
from ..retrained import read_weights, take_settings
from ..screen import answered, say, summary, written
from .retrain import ARCHITECTURE

MOST_CLASSES = 100  # of the picture
MOST_ROWS = 20  # of the classes on the screen


def main(config: DictConfig) -> None:
    console = Console()
    prepare(config)
    device, formats, batches = read_device(config.device), as_list(config.export), as_list(config.batches)
    check_timing(config.dtype, config.repeats, config.warmup)
    check_batches(batches)
    check_formats(formats)
    folder = take_settings(config)
    config.trainer.accelerator = device.type
    data = make(config.data)
    space = make(config.space, image_shape=data.image_shape, classes=data.classes)
    architecture = space.load(folder / ARCHITECTURE)
    numbers = numbers_of(config, device)
    network = numbers.convert_module(space.network(architecture))
    read_weights(network, folder)
    test = data.test()
    with open_run(config, run_folder(config, "evaluate")) as run:
        if answered(run, console):
            return
        with recording(run, config, "evaluate") as record:
            classified = tested(network, test, numbers, device, data.classes)
            record.begin([])
            record({"step": 0, "test_accuracy": classified.accuracy, "test_loss": classified.loss})
            times = network_latency(
                network, data.image_shape, device, config.dtype, batches, config.repeats, config.warmup
            )
            exports = export(network, next(test.passes()).x, formats)
            write_results(run, config, data, classified, exports)
            result = run.finish(
                {
                    "run": str(folder),
                    "test_accuracy": classified.accuracy,
                    "test_loss": classified.loss,
                    **network_cost(space, architecture, data.image_shape),
                    "class_accuracy": dict(zip(data.splits.classes, classified.class_accuracy(), strict=True)),
                    "device": device_name(device),
                    "precision": precision(config),
                    "latency": {"dtype": config.dtype, "images": {n: t._asdict() for n, t in times.items()}},
                    "export": {name: account(name, made) for name, made in exports.items()},
                }
            )
            record.finish(result)
    console.print(class_table(classified, data.splits.classes), latency_table(times))
    say(console, [*remarks(result, exports, read_result(folder) or {}), summary(result), written(run)])


def as_list(value: Any) -> Any:
    """A list of the configuration as a list."""
    return OmegaConf.to_container(value) if isinstance(value, ListConfig) else value


def numbers_of(config: DictConfig, device: torch.device) -> Precision:
    """What Lightning computes with in a retraining of this precision."""
    name = precision(config)
    if name == "64-true":
        return DoublePrecision()
    return MixedPrecision("bf16-mixed", device.type) if name == "bf16-mixed" else Precision()


def tested(network: nn.Module, test: Part, numbers: Precision, device: torch.device, classes: int) -> Classified:
    """Moves the network and the images to the device."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    test.to(device)
    with numbers.forward_context():
        return classify(network, test.passes(), classes)


def write_results(
    run: Run, config: DictConfig, data: ImageData, classified: Classified, exports: Mapping[str, Export]
) -> None:
    """The files beside result.json. All that they hold has been computed and compared."""
    classes = data.splits.classes
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["class", *classes])
    writer.writerows([name, *row] for name, row in zip(classes, classified.confusion, strict=True))
    run.write("confusion.csv", table.getvalue())
    if len(classes) <= MOST_CLASSES:
        plots.save(plots.confusion(classified.confusion, classes), run.path / "confusion")
    for name, made in exports.items():
        write_bytes(run.path / FILES[name], made.content)
    if exports:
        mean, std = (as_list(OmegaConf.select(config, f"data.augmentation.{key}")) for key in ("mean", "std"))
        content = preprocessing(data.image_shape, classes, mean, std)
        run.write("preprocessing.json", json.dumps(content, indent=2) + "\n")


def account(name: str, made: Export) -> dict[str, Any]:
    """What result.json says of an export."""
    return {
        "file": FILES[name],
        "bytes": len(made.content),
        "largest_difference": made.difference,
        "tolerance": TOLERANCE,
        "agreement": made.agreement,
        "images": made.images,
    }


def class_table(classified: Classified, classes: tuple[str, ...]) -> Table:
    """A row a class: how many images it has and how many of them were found; of many classes the worst."""
    rows = list(zip(classes, classified.confusion, classified.class_accuracy(), strict=True))
    worst = sorted(rows, key=lambda row: 1.0 if row[2] is None else row[2])[:MOST_ROWS]
    table = Table("class" if len(rows) <= MOST_ROWS else f"the worst of {len(rows)} classes", "images", "accuracy, %")
    for name, counts, share in rows if len(rows) <= MOST_ROWS else worst:
        table.add_row(name, f"{sum(counts):,}", "" if share is None else f"{100 * share:.2f}")
    return table


def latency_table(times: Mapping[int, Latency]) -> Table:
    """A row a number of images a call."""
    table = Table("images a call", "median, ms", "quartiles, ms", "images/s")
    for n, t in times.items():
        quartiles = f"{t.first_quartile_ms:.3f} to {t.third_quartile_ms:.3f}"
        table.add_row(f"{n:,}", f"{t.median_ms:.3f}", quartiles, f"{1e3 * n / t.median_ms:,.0f}")
    return table


def remarks(result: Mapping[str, Any], exports: Mapping[str, Export], before: Mapping[str, Any]) -> list[str]:
    """What the tables leave out, for the screen. before: the retraining's result."""
    lines = [f"latency on {result['device']}, {result['latency']['dtype']}; test in {result['precision']}"]
    for name, made in exports.items():
        lines.append(
            f"{FILES[name]}: on {made.images} test images logits within {made.difference:.2g} of the network's, "
            f"the same class on {made.agreement:.2%}"
        )
    own = before.get("test_accuracy")
    if is_number(own) and own != result["test_accuracy"]:
        lines.append(
            f"the retraining itself found {own:.4%}: on another device, in another precision or on other images"
        )
    return lines
