"""Measure how well scores rank architectures.

An estimator and a reference score the same random architectures.
Their orders are compared.

Examples:
    oneshot rank experiment=nb201_cifar10
    oneshot rank supernet=RUN estimator@reference=training reference.epochs=10 architectures=50
    oneshot rank experiment=nb201_cifar10 every=3
"""

import random
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from ... import plots
from ...architecture import Architecture, Query
from ...cost import network_cost
from ...data import ImageData
from ...errors import InputError, check_integer, unknown
from ...estimators import LoggedEstimator
from ...executors import Inline
from ...fitting.progress import QueryBar
from ...quantity import Quantity
from ...report.measures import estimator_name
from ...spaces import SearchSpace
from ...statistics import Interval, rank_agreement
from ...statistics.descriptive import RANKINGS
from ...tables import lookup_for
from ..epochs import FOLDER, EpochScores, check_every
from ..estimates import EstimatorFactory, known_scores, of_reference, wanted
from ..folders import run_folder
from ..objects import check_usual, make, prepare, score_name, shown_score, space_and_data, trainer_for
from ..recorder import open_run
from ..screen import say, written
from ..supernets import take_settings
from ..workers import Portable

AT_ONCE = 10  # architectures in a call; more if that is needed to give each worker four
MOST_DRAWS = 100  # for each architecture that is asked for


def main(config: DictConfig) -> None:
    """Score the architectures on both sides, write their agreement and show it."""
    console = Console()
    prepare(config)
    check_integer("architectures", config.architectures, 3)
    check_integer("resamples", config.resamples, 1)
    check_every(config)
    nodes = {"estimator": config.estimator, "reference": config.reference}
    if not isinstance(config.reference, DictConfig):
        raise InputError(f"reference={config.reference}: must be chosen as estimator@reference=NAME")
    if config.cost and config.cost.get("limit") is not None:
        raise InputError("cost.limit: a ranking is of random architectures of the whole space, so it has no limit")
    take_settings(config)
    space, data = space_and_data(config, console)
    score = score_name(config, data)
    for node in nodes.values():
        known = known_scores(config, node, data)
        check_usual(config, data, known)
        if score not in known:
            raise unknown("metric", config.metric or score, known)
    shown = shown_score(score, data)
    architectures = drawn(space, config.architectures, config.seed)
    executor = make(config.executor) if config.executor else Inline()
    trainer_for(config, console)
    path = run_folder(config, "rank")
    parts = EstimatorFactory(config, space, data, path)
    sides = {}
    for name, node in nodes.items():
        with of_reference() if name == "reference" else nullcontext():
            portable = Portable(parts.estimator(node), config, name, path, executor)
        sides[name] = LoggedEstimator(portable, space, path / f"{name}.jsonl", config.failures, executor)
    following = []
    if config.every is not None:
        assert parts.supernet  # `check_every` has seen that the estimator asks for one
        estimator = partial(parts.estimator, config.estimator)
        following.append(
            EpochScores(config.every, estimator, parts.supernet, space, architectures, path / FOLDER, config.failures)
        )
    say(console, other_images(config, space, data))
    with open_run(config, path) as run, executor:
        result = run.result()
        if result is None:
            found = parts.train(run, console, lambda training: [scores.beside(training) for scores in following])
            rows = {name: answered(name, side, architectures, shown, console) for name, side in sides.items()}
            if curve := ranked_epochs(following, rows["reference"], config, shown, run):
                found |= curve
            result = write_results(rows, space, data.image_shape, config, shown, run, found)
        elif not {"architectures", "failed", "agreement"} <= set(result):
            raise InputError(f"{run.path}: its result.json is none of `oneshot rank`")
        else:
            say(console, [f"finished before: {run.path}"])
    say(console, [*lines(result), written(run)])


def other_images(config: DictConfig, space: SearchSpace, data: ImageData) -> list[str]:
    """Return a line if the package's table is the reference, and is of other images than those of the run."""
    lookup = lookup_for(space.fingerprint, data.splits.classes, data.image_shape)
    packaged = wanted(config.reference) <= {"space"} and config.reference.get("table") is None
    if not packaged or lookup is None or lookup.same:
        return []
    return [f"reference: its table is of {config.reference.get('dataset')} in 32x32 pixels, and not of the images here"]


def drawn(space: SearchSpace, count: int, seed: int) -> list[Architecture]:
    """Return `count` different architectures, or fewer if `MOST_DRAWS * count` draws do not find so many.

    Args:
        space: The search space.
        count: How many architectures.
        seed: Seed of the draws.
    """
    rng, found = random.Random(seed), dict[Architecture, None]()
    for _ in range(MOST_DRAWS * count):
        found[space.sample(rng)] = None
        if len(found) == count:
            break
    return list(found)


def answered(
    name: str, answers: LoggedEstimator, architectures: list[Architecture], score: Quantity, console: Console
) -> list[dict[str, Any]]:
    """Score the architectures and return the row of each in the log."""
    say(console, [f"{name}: {len(architectures)} architectures"])
    best: list[float] = []
    with QueryBar(console, len(architectures)) as bar:
        at_once = max(AT_ONCE, 4 * answers.executor.workers)
        for start in range(0, len(architectures), at_once):
            scores = answers([Query(a) for a in architectures[start : start + at_once]])
            best = sorted([*best, *(s[score.name] for s in scores if score.name in s)])[-1:]
            bar.show(len(answers.rows), len(answers.rows), score.label, best[0] if best else None, score.share)
    return answers.rows


def ranked_epochs(
    following: list[EpochScores], reference: list[dict[str, Any]], config: DictConfig, score: Quantity, run: Any
) -> dict[str, Any]:
    """Compare the scores after each epoch with the reference, draw their agreement, and return it for the result.

    Args:
        following: What scored after the epochs; empty where that was not asked for.
        reference: The row of each architecture in the log of the reference.
        config: The settings of the command.
        score: What is compared.
        run: Where to write.
    """
    found: list[dict[str, Any]] = []
    spent = 0.0
    for scores in following:
        for epoch, rows in scores.rows():
            ours, theirs = zip(*scored(rows, reference, score.name), strict=True)
            agreement = compared(values_of(ours, score.name), values_of(theirs, score.name), config)
            found.append({"epoch": epoch, "agreement": agreement})
            spent += rows[-1]["elapsed"]
    if not found:
        return {}
    curves = {
        measure: {row["epoch"]: Interval(**row["agreement"][measure]) for row in found if measure in row["agreement"]}
        for measure in RANKINGS
    }
    plots.save(plots.agreement(curves), run.path / "ranking_epochs")
    return {"epochs": found, "epochs_seconds": spent}


def scored(
    rows: list[dict[str, Any]], reference: list[dict[str, Any]], metric: str
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the rows of the architectures that both sides scored, as pairs.

    Args:
        rows: The row of each architecture in a log.
        reference: The same of the reference.
        metric: The score.

    Raises:
        InputError: If no architecture has both scores.
    """
    both = zip(rows, reference, strict=True)
    pairs = [pair for pair in both if all(metric in row.get("scores", {}) for row in pair)]
    if not pairs:
        errors = (row["error"] for side in (rows, reference) for row in side if "error" in row)
        reason = next(errors, f"the logs have no {metric}")
        raise InputError(f"none of {len(rows)} architectures could be scored: {reason}")
    return pairs


def values_of(rows: Iterable[dict[str, Any]], metric: str) -> list[float]:
    """Return a score of each row.

    Args:
        rows: Rows of logs that have the score.
        metric: The score.
    """
    return [row["scores"][metric] for row in rows]


def write_results(
    rows: dict[str, list[dict[str, Any]]],
    space: SearchSpace,
    image_shape: tuple[int, int, int],
    config: DictConfig,
    score: Quantity,
    run: Any,
    found: dict[str, Any],
) -> dict[str, Any]:
    """Compare the architectures that both sides scored; write picture and result, and return the result.

    Args:
        rows: "estimator" and "reference" -> the row of each architecture in the log.
        space: The search space.
        image_shape: (channels, height, width), for the cost of the networks.
        config: The settings of the command.
        score: What is compared.
        run: Where to write.
        found: Other numbers for the result.

    Raises:
        InputError: If no architecture has both scores.
    """
    metric = score.name
    pairs = scored(rows["estimator"], rows["reference"], metric)
    ours, theirs = zip(*pairs, strict=True)
    scores, reference = values_of(ours, metric), values_of(theirs, metric)
    costs = [network_cost(space, space.architecture(row["architecture"]), image_shape) for row, _ in pairs]
    sides: dict[str, list[float]] = {"estimator": scores, **{name: [cost[name] for cost in costs] for name in costs[0]}}
    agreement = {name: compared(side, reference, config) for name, side in sides.items()}
    tau = agreement["estimator"].get("kendall_tau")
    title = f"Kendall tau {tau['value']:.2f}, {len(pairs)} architectures" if tau else f"{len(pairs)} architectures"
    quantities = [quantity(score, estimator_name(node._target_)) for node in (config.reference, config.estimator)]
    points = [(score.scale * x, score.scale * y) for x, y in zip(reference, scores, strict=True)]
    plots.save(plots.ranking(points, (quantities[0], quantities[1]), title), run.path / "ranking")
    seconds = {f"{name}_seconds": side[-1]["elapsed"] for name, side in rows.items()}
    failed = len(rows["estimator"]) - len(pairs)
    return run.finish({"architectures": len(pairs), "failed": failed, "agreement": agreement, **seconds, **found})


def compared(scores: list[float], reference: list[float], config: DictConfig) -> dict[str, Any]:
    """Return each measure of agreement with its interval, or a message if the scores cannot be ranked."""
    try:
        found = rank_agreement(scores, reference, config.resamples, seed=config.seed)
    except InputError as error:
        return {"message": str(error)}
    return {name: interval._asdict() for name, interval in found.items()}


def quantity(score: Quantity, by: str) -> str:
    """Return the label of an axis: the score, the estimator that gives it, and its unit."""
    return Quantity("", f"validation {score.label} by {by}", share=score.share).titled()


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as lines for the screen, one for each side and each epoch that was scored."""
    shown = [f"{result['architectures']} architectures, {result['failed']} failed; value [95 % interval]"]
    sides = {f"after epoch {row['epoch']}": row["agreement"] for row in result.get("epochs", ())}
    for side, measures in {**sides, **result["agreement"]}.items():
        if "message" in measures:
            shown.append(f"{side}: {measures['message']}")
            continue
        parts = [
            f"{n.replace('_', ' ')} {m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for n, m in measures.items()
        ]
        shown.append(f"{side}: {', '.join(parts)}")
    seconds = [f"{name.replace('_', ' ')} {value:.1f}" for name, value in result.items() if name.endswith("seconds")]
    return [*shown, ", ".join(seconds)]
