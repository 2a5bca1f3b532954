"""Measure how well scores rank architectures.

An estimator and a reference score the same random architectures.
Their orders are compared.

Examples:
    oneshot rank experiment=nb201_cifar10
    oneshot rank supernet=RUN estimator@reference=training reference.epochs=10 architectures=50
"""

import random
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from ... import plots
from ...architecture import Architecture, Query
from ...cost import network_cost
from ...errors import InputError, check_integer, unknown
from ...estimators import LoggedEstimator
from ...executors import Inline
from ...fitting.progress import QueryBar
from ...quantity import Quantity
from ...report.measures import estimator_name
from ...spaces import SearchSpace
from ...statistics import rank_agreement
from ..estimates import EstimatorFactory, known_scores
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
    nodes = {"estimator": config.estimator, "reference": config.reference}
    if not isinstance(config.reference, DictConfig):
        raise InputError(f"reference={config.reference}: must be chosen as estimator@reference=NAME")
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
        portable = Portable(parts.estimator(node), config, name, path, executor)
        sides[name] = LoggedEstimator(portable, space, path / f"{name}.jsonl", config.failures, executor)
    with open_run(config, path) as run, executor:
        result = run.result()
        if result is None:
            found = parts.train(run, console)
            rows = {name: answered(name, side, architectures, shown, console) for name, side in sides.items()}
            result = write_results(rows, space, data.image_shape, config, shown, run, found)
        elif not {"architectures", "failed", "agreement"} <= set(result):
            raise InputError(f"{run.path}: its result.json is none of `oneshot rank`")
        else:
            say(console, [f"finished before: {run.path}"])
    say(console, [*lines(result), written(run)])


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
    both = zip(rows["estimator"], rows["reference"], strict=True)
    pairs = [pair for pair in both if all(metric in row.get("scores", {}) for row in pair)]
    if not pairs:
        errors = (row["error"] for side in rows.values() for row in side if "error" in row)
        reason = next(errors, f"the logs have no {metric}")
        raise InputError(f"none of {len(rows['estimator'])} architectures could be scored: {reason}")
    scores, reference = ([row["scores"][metric] for row in side] for side in zip(*pairs, strict=True))
    costs = [network_cost(space, space.architecture(row["architecture"]), image_shape) for row, _ in pairs]
    sides = {"estimator": scores, **{name: [cost[name] for cost in costs] for name in costs[0]}}
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
    """Return the result as lines for the screen, one for each side."""
    shown = [f"{result['architectures']} architectures, {result['failed']} failed; value [95 % interval]"]
    for side, measures in result["agreement"].items():
        if "message" in measures:
            shown.append(f"{side}: {measures['message']}")
            continue
        parts = [
            f"{n.replace('_', ' ')} {m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for n, m in measures.items()
        ]
        shown.append(f"{side}: {', '.join(parts)}")
    seconds = [f"{name.replace('_', ' ')} {value:.1f}" for name, value in result.items() if name.endswith("seconds")]
    return [*shown, ", ".join(seconds)]
