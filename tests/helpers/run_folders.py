"""Small real run folders, written by the class that the scripts write theirs with."""

import yaml

from oneshot.report.summaries import folders, read
from oneshot.runs.folder import Run

SPACE = {"_target_": "oneshot.spaces.NASBench201", "cells": 1, "channels": 8}
DIGITS = {"_target_": "oneshot.data.digits", "batch_size": 32, "train_size": 0}
SIZES = {"parameters": 1000, "multiply_accumulates": 5000}
NAMES = ("cell/0->1", "cell/0->2", "cell/1->2", "cell/0->3", "cell/1->3", "cell/2->3")
KNOWN = {  # methods' settings, as scripts/report.py reads them from conf
    "darts": {"architect._target_": "oneshot.architects.DARTS", "architect.optimizer.lr": 0.1},
    "darts_second": {
        "architect._target_": "oneshot.architects.darts.DARTS",
        "architect.optimizer.lr": 0.1,
        "architect.order": 2,
    },
}


def decisions(operation="skip_connect"):
    return dict.fromkeys(NAMES, operation)


def leave(path, settings, result=None, rows=(), reason=None):
    """A run; without a result it fails with this reason, or says that it runs."""
    settings = {"space": SPACE, "data": DIGITS, "seed": 0, **settings}
    run = Run(path, yaml.safe_dump(settings)).__enter__()
    for row in rows:
        run.record(row, seconds=10.0 * row["step"])
    if result is not None:
        run.finish(result)
    if reason:
        run.__exit__(ValueError, ValueError(reason), None)
    else:
        run.__exit__(None, None, None)
    return path


def search(path, found=0.5, operation="skip_connect", architect=None, **settings):
    result = {"architecture": decisions(operation), "valid_accuracy": 0.4, "found_valid_accuracy": found, **SIZES}
    node = {"_target_": "oneshot.architects.DARTS", "optimizer": {"lr": 0.1}, **(architect or {})}
    rows = [{"step": 0, "entropy": 1.0}, {"step": 4, "entropy": 0.5, "valid_accuracy": 0.4}]
    return leave(path, {"architect": node, "epochs": 2, **settings}, result, rows)


def retrain(path, architecture, test=0.9, operation="skip_connect", **settings):
    result = {"architecture": decisions(operation), "test_accuracy": test, "parameters": 7, "multiply_accumulates": 9}
    return leave(path, {"architecture": str(architecture), "drop_path": 0.1, "epochs": 3, **settings}, result)


def records(root):
    return [record for folder in folders(root) for record in read(folder, KNOWN)]
