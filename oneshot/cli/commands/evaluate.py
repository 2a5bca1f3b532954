"""Test, time and export a trained network.

The network is that of a finished retraining. Reported are the metrics on test images, size and latency.

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
from ...fitting.evaluation import Confusion, class_accuracy, examine
from ...quantity import of_result
from ...runs.files import write_bytes
from ...runs.folder import Run, read_result
from ...tasks import Classification, Segmentation
from ..earlier import check_classes, same_images
from ..folders import run_folder
from ..limits import checked, limit_lines, limit_of
from ..objects import precision, prepare, read_device, say_about, space_and_data
from ..recorder import open_run, recording
from ..retrained import read_weights, take_settings
from ..screen import answered, cell, csv_cell, say, summary, written
from .retrain import ARCHITECTURE

MOST_CLASSES = 100  # in the picture of the confusion matrix
MOST_ROWS = 20  # classes on the screen


def main(config: DictConfig) -> None:
    """Test, time and export the network, write the results and show them."""
    console = Console()
    prepare(config)
    device, formats, batches = read_device(config.device), as_list(config.export), as_list(config.batches)
    check_timing(config.dtype, config.repeats, config.warmup)
    check_batches(batches)
    check_formats(formats)
    folder = take_settings(config)
    limit = limit_of(read_result(folder))
    config.trainer.accelerator = device.type
    space, data = space_and_data(config, console)
    said = data.about
    say(console, check_classes(folder, data, f"run={folder}"))
    say(console, same_images(folder, config, "the network was trained on"))
    architecture = space.load(folder / ARCHITECTURE)
    numbers = numbers_of(config, device)
    network = numbers.convert_module(space.network(architecture))
    read_weights(network, folder)
    test = data.test()
    say_about(data, console, said)
    with open_run(config, run_folder(config, "evaluate")) as run:
        if answered(run, console):
            return
        with recording(run, config, "evaluate") as record:
            found, confusion = tested(network, test, numbers, device, data)
            record.begin([])
            record({"step": 0, **{f"test_{name}": value for name, value in found.items()}})
            times = network_latency(
                network, data.image_shape, device, config.dtype, batches, config.repeats, config.warmup
            )
            told = described(config, data)
            of_classes = isinstance(data.task, Classification | Segmentation)
            exports = export(network, next(test.passes()).x, formats, told, of_classes)
            write_results(run, data, confusion, exports, told)
            cost = network_cost(space, architecture, data.image_shape)
            if limit:
                limit = checked(limit, cost, network, space, data.image_shape, device)
            result = run.finish(
                {
                    "run": str(folder),
                    **{f"test_{name}": value for name, value in found.items()},
                    "metric": data.metric.quantity._asdict(),
                    "metrics": [one.quantity._asdict() for one in data.task.metrics(data.classes).values()],
                    **cost,
                    **({"limit": limit} if limit else {}),
                    **by_class(data, confusion),
                    "device": device_name(device),
                    "precision": precision(config),
                    "latency": {"dtype": config.dtype, "images": {n: t._asdict() for n, t in times.items()}},
                    "export": {name: account(name, made) for name, made in exports.items()},
                }
            )
            record.finish(result)
    console.print(*([class_table(confusion, data.splits.classes)] if confusion else []), latency_table(times))
    said_before = remarks(result, exports, read_result(folder) or {})
    say(console, [*said_before, summary(result), *limit_lines(result), written(run)])


def as_list(value: Any) -> Any:
    """Return a list of the configuration as a plain list, and any other value as it is."""
    return OmegaConf.to_container(value) if isinstance(value, ListConfig) else value


def numbers_of(config: DictConfig, device: torch.device) -> Precision:
    """Return Lightning's precision plugin for the configured precision, as a retraining uses it."""
    name = precision(config)
    if name == "64-true":
        return DoublePrecision()
    return MixedPrecision("bf16-mixed", device.type) if name == "bf16-mixed" else Precision()


def tested(
    network: nn.Module, test: Part, numbers: Precision, device: torch.device, data: ImageData
) -> tuple[dict[str, float], Confusion]:
    """Move the network and the test images to the device, and measure it.

    Returns:
        The metrics of the task by name, the one that decides first, and its usual loss; in a classification also the
        number of images by class and predicted class, else none.
    """
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    test.to(device)
    metrics = {data.metric.name: data.metric, **data.task.metrics(data.classes)}
    classes = data.classes if isinstance(data.task, Classification) else 0
    with numbers.forward_context():
        found, confusion = examine(network, test.passes(), list(metrics.values()), data.task.criterion(), classes)
    return {name: found[name] for name in (*metrics, "loss")}, confusion


def by_class(data: ImageData, confusion: Confusion) -> dict[str, Any]:
    """Return the accuracy of each class for result.json; empty unless each image has one class."""
    if not confusion:
        return {}
    return {"class_accuracy": dict(zip(data.splits.classes, class_accuracy(confusion), strict=True))}


def write_results(
    run: Run, data: ImageData, confusion: Confusion, exports: Mapping[str, Export], told: Mapping[str, Any]
) -> None:
    """Write the files beside result.json. Everything in them has been computed and compared before.

    Args:
        run: Where to write.
        data: The data, for the names of the classes.
        classified: How the network classifies the test images.
        exports: The exports by format.
        told: What preprocessing.json says.
    """
    classes = data.splits.classes
    if confusion:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["class", *map(csv_cell, classes)])
        writer.writerows([csv_cell(name), *row] for name, row in zip(classes, confusion, strict=True))
        run.write("confusion.csv", table.getvalue())
    if confusion and len(classes) <= MOST_CLASSES:
        plots.save(plots.confusion(confusion, classes), run.path / "confusion")
    for name, made in exports.items():
        write_bytes(run.path / FILES[name], made.content)
    if exports:
        run.write("preprocessing.json", json.dumps(told, indent=2) + "\n")


def described(config: DictConfig, data: ImageData) -> dict[str, Any]:
    """Return what the user of an exported network must know, from an image file to the names of the classes."""
    mean, std = (as_list(OmegaConf.select(config, f"data.augmentation.{key}")) for key in ("mean", "std"))
    return preprocessing(data.image_shape, data.splits.classes, mean, std, data.splits.preprocessing, data.task.name)


def account(name: str, made: Export) -> dict[str, Any]:
    """Return the entry of result.json for an export."""
    return {
        "file": FILES[name],
        "bytes": len(made.content),
        "largest_difference": made.difference,
        "tolerance": TOLERANCE,
        "agreement": made.agreement,
        "images": made.images,
    }


def class_table(confusion: Confusion, classes: tuple[str, ...]) -> Table:
    """Return a table of the classes: number of images and accuracy in percent. Of many classes it shows the worst."""
    rows = list(zip(classes, confusion, class_accuracy(confusion), strict=True))
    worst = sorted(rows, key=lambda row: 1.0 if row[2] is None else row[2])[:MOST_ROWS]
    table = Table("class" if len(rows) <= MOST_ROWS else f"the worst of {len(rows)} classes", "images", "accuracy, %")
    for name, counts, share in rows if len(rows) <= MOST_ROWS else worst:
        table.add_row(cell(name), f"{sum(counts):,}", "" if share is None else f"{100 * share:.2f}")
    return table


def latency_table(times: Mapping[int, Latency]) -> Table:
    """Return a table with one row for each number of images in a call."""
    table = Table("images a call", "median, ms", "quartiles, ms", "images/s")
    for n, t in times.items():
        quartiles = f"{t.first_quartile_ms:.3f} to {t.third_quartile_ms:.3f}"
        table.add_row(f"{n:,}", f"{t.median_ms:.3f}", quartiles, f"{1e3 * n / t.median_ms:,.0f}")
    return table


def remarks(result: Mapping[str, Any], exports: Mapping[str, Export], before: Mapping[str, Any]) -> list[str]:
    """Return lines for the screen with what the tables leave out.

    Args:
        result: The result of this run.
        exports: The exports by format.
        before: The result of the retraining.
    """
    lines = [f"latency on {result['device']}, {result['latency']['dtype']}; test in {result['precision']}"]
    for name, made in exports.items():
        lines.append(
            f"{FILES[name]}: on {made.images} test images logits within {made.difference:.2g} of the network's"
            + ("" if made.agreement is None else f", the same class on {made.agreement:.2%}")
        )
    metric = of_result(result)
    own = before.get(f"test_{metric.name}")
    if is_number(own) and own != result[f"test_{metric.name}"]:
        number = f"{own:.4%}" if metric.share else f"{own:.6g}"
        lines.append(
            f"the retraining itself found {metric.label} {number}: on another device, in another precision or on other "
            "images"
        )
    return lines
