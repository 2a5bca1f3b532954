"""The metrics of the tasks against plain loops, over one batch and over several of unequal size."""

import math

import pytest
import torch
from torch import nn

from oneshot.errors import InputError
from oneshot.fitting.evaluation import Meter
from oneshot.tasks import Classification, LanguageModelling, MultiLabel, Regression, Segmentation

SIZES = (17, 5, 28)


def over(task, outputs, logits, y, name):
    """The metric over batches of unequal size."""
    meter = Meter([task.metric(outputs, name)])
    for a, b in zip(logits.split(SIZES), y.split(SIZES), strict=True):
        meter.add(a, b)
    return meter.read()[name]


def f1(pairs):
    """Of (predicted, true) pairs of bool."""
    hits = sum(p and t for p, t in pairs)
    wrong = sum(p != t for p, t in pairs)
    return 2 * hits / (2 * hits + wrong) if hits or wrong else 0.0


def auroc(scores, truths):
    """The share of pairs (one that is true, one that is not) in the right order; ties count half."""
    pairs = [
        (a, b) for a, t in zip(scores, truths, strict=True) if t for b, u in zip(scores, truths, strict=True) if not u
    ]
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def average_precision(scores, truths):
    """The mean, over the true ones, of the precision at their place."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    found = [sum(truths[j] for j in order[: n + 1]) / (n + 1) for n, i in enumerate(order) if truths[i]]
    return sum(found) / len(found)


def mean(values):
    values = list(values)
    return sum(values) / len(values)


@pytest.fixture
def drawn():
    torch.manual_seed(0)
    return torch.randn(sum(SIZES), 7, dtype=torch.float64), torch.randint(7, (sum(SIZES),))


def test_classification(drawn):
    logits, y = drawn
    rows, labels, task = logits.tolist(), y.tolist(), Classification()
    best = [max(range(7), key=row.__getitem__) for row in rows]
    assert over(task, 7, logits, y, "accuracy") == pytest.approx(
        mean(a == b for a, b in zip(best, labels, strict=True))
    )
    top = [b in sorted(range(7), key=lambda k, row=row: -row[k])[:5] for row, b in zip(rows, labels, strict=True)]
    assert over(task, 7, logits, y, "top_5_accuracy") == pytest.approx(mean(top))
    own = [f1([(a == c, b == c) for a, b in zip(best, labels, strict=True)]) for c in range(7)]
    assert over(task, 7, logits, y, "f1") == pytest.approx(mean(own))
    chances = logits.softmax(1)
    areas = [auroc(chances[:, c].tolist(), [b == c for b in labels]) for c in range(7)]
    assert over(task, 7, logits, y, "auroc") == pytest.approx(mean(areas))


def test_logits_in_0_1_are_no_probabilities():
    """torchmetrics would take them for probabilities, and order the rows by them."""
    torch.manual_seed(1)
    logits, y = torch.rand(sum(SIZES), 3), torch.randint(3, (sum(SIZES),))
    areas = [auroc(logits.softmax(1)[:, c].tolist(), (y == c).tolist()) for c in range(3)]
    assert over(Classification(), 3, logits, y, "auroc") == pytest.approx(mean(areas), rel=1e-6)


def test_a_class_that_does_not_occur_is_left_out_of_the_mean(drawn):
    logits, y = drawn
    y = y.clamp(max=5)
    areas = [auroc(logits.softmax(1)[:, c].tolist(), (y == c).tolist()) for c in range(6)]
    assert over(Classification(), 7, logits, y, "auroc") == pytest.approx(mean(areas))


def test_multilabel(drawn):
    logits, _ = drawn
    y = (torch.rand(logits.shape) < 0.3).float()
    columns = [(logits[:, c].tolist(), y[:, c].bool().tolist()) for c in range(7)]
    task = MultiLabel()
    assert over(task, 7, logits, y, "average_precision") == pytest.approx(mean(average_precision(*c) for c in columns))
    assert over(task, 7, logits, y, "auroc") == pytest.approx(mean(auroc(*c) for c in columns))
    pairs = [[(a > 0, b) for a, b in zip(*c, strict=True)] for c in columns]
    assert over(task, 7, logits, y, "f1") == pytest.approx(mean(map(f1, pairs)))
    assert over(task, 7, logits, y, "accuracy") == pytest.approx(mean(a == b for own in pairs for a, b in own))
    rows = list(zip(*pairs, strict=True))
    assert over(task, 7, logits, y, "exact_match") == pytest.approx(mean(all(a == b for a, b in row) for row in rows))


@pytest.mark.parametrize("numbers", [1, 3])
def test_regression(numbers):
    torch.manual_seed(2)
    p, y = torch.randn(sum(SIZES), numbers, dtype=torch.float64), torch.randn(sum(SIZES), numbers, dtype=torch.float64)
    errors = [(a - b, b) for a, b in zip(p.flatten().tolist(), y.flatten().tolist(), strict=True)]
    task = Regression()
    assert over(task, numbers, p, y, "mean_absolute_error") == pytest.approx(mean(abs(e) for e, _ in errors))
    assert over(task, numbers, p, y, "mean_squared_error") == pytest.approx(mean(e * e for e, _ in errors))
    columns = [(p[:, c].tolist(), y[:, c].tolist()) for c in range(numbers)]
    r2 = [
        1 - sum((a - b) ** 2 for a, b in zip(own, true, strict=True)) / sum((b - mean(true)) ** 2 for b in true)
        for own, true in columns
    ]
    assert over(task, numbers, p, y, "r2") == pytest.approx(mean(r2), rel=1e-5)


def test_segmentation():
    torch.manual_seed(3)
    logits, y = torch.randn(sum(SIZES), 3, 4, 6), torch.randint(3, (sum(SIZES), 4, 6))
    y[torch.rand(y.shape) < 0.2] = -100
    best = logits.argmax(1)
    pairs = [(a, b) for a, b in zip(best.flatten().tolist(), y.flatten().tolist(), strict=True) if b != -100]
    overlaps = [sum(a == b == c for a, b in pairs) / sum(c in (a, b) for a, b in pairs) for c in range(3)]
    assert over(Segmentation(), 3, logits, y, "mean_iou") == pytest.approx(mean(overlaps))
    assert over(Segmentation(), 3, logits, y, "accuracy") == pytest.approx(mean(a == b for a, b in pairs))


def test_language_modelling():
    torch.manual_seed(4)
    logits, y = torch.randn(sum(SIZES), 9, 5), torch.randint(9, (sum(SIZES), 5))
    bits = []
    for row, tokens in zip(logits.tolist(), y.tolist(), strict=True):
        for t, token in enumerate(tokens):
            total = sum(math.exp(row[k][t]) for k in range(9))
            bits.append(-math.log2(math.exp(row[token][t]) / total))
    assert over(LanguageModelling(), 9, logits, y, "bits_per_character") == pytest.approx(mean(bits), rel=1e-5)


@pytest.mark.parametrize(("task", "outputs"), [(Classification(), 7), (MultiLabel(), 7), (Regression(), 1)])
def test_one_batch_is_all_of_one_batch(task, outputs):
    """A reward of a batch is the metric of that batch, and the usual metric comes first."""
    torch.manual_seed(5)
    logits = torch.randn(40, outputs)
    y = torch.randint(7, (40,)) if outputs == 7 else torch.randn(40, 1)
    y = (torch.rand(40, 7) < 0.4).float() if isinstance(task, MultiLabel) else y
    for name, metric in task.metrics(outputs).items():
        meter = Meter([metric])
        meter.add(logits, y)
        assert meter.read()[name] == pytest.approx(float(metric.of_batch(logits, y)), rel=1e-6), name
        value = torch.tensor(0.25)
        assert metric.quantity.maximize == (float(metric.reward(value)) == 0.25)
        assert float(metric.error(value) + metric.reward(value)) == 1.0
    assert task.metric(outputs).name == next(iter(task.metrics(outputs)))


@pytest.mark.parametrize("task", [Classification(), MultiLabel(), Regression(), Segmentation(), LanguageModelling()])
def test_targets_of_another_task_are_refused_in_words(task):
    """Of any shape and type; one kind alone is right."""
    right = {
        "classification": [(1, torch.int64)],
        "multilabel": [(2, torch.float32), (2, torch.float64)],
        "regression": [(2, torch.float32), (2, torch.float64)],
        "segmentation": [(3, torch.int64)],
        "language_modelling": [(2, torch.int64)],
    }[task.name]
    for dimensions in range(6):
        for kind in (torch.int64, torch.uint8, torch.bool, torch.float32, torch.float64):
            targets = torch.zeros((2,) * dimensions, dtype=kind)
            if (dimensions, kind) in right:
                task.check("train", targets, ("a", "b"))
                continue
            with pytest.raises(InputError, match=r"^train (labels|targets) are \w+ (of shape )?\("):
                task.check("train", targets, ("a", "b"))


def test_wrong_metrics_and_targets_are_named():
    with pytest.raises(InputError, match=r"task 'classification': unknown metric 'acuracy'.*did you mean 'accuracy'"):
        Classification("acuracy").metric(7)
    with pytest.raises(InputError, match="unknown metric 'top_5_accuracy'"):
        Classification("top_5_accuracy").metric(5)
    with pytest.raises(InputError, match=r"train image 1: label 'b' is 0.5; must be 0 or 1"):
        MultiLabel().check("train", torch.tensor([[0.0, 1.0], [0.0, 0.5]]), ("a", "b"))
    with pytest.raises(InputError, match=r"train example 1 has the target \[nan\]"):
        Regression().check("train", torch.tensor([[0.0], [float("nan")]]), ("a",))
    with pytest.raises(InputError, match=r"train targets are int64 \(3,\); task=regression needs float \(n, 1\)"):
        Regression().check("train", torch.arange(3), ("a",))
    with pytest.raises(InputError, match=r"test image 0 has pixels of class 7: must be from 0 to 1, or -100"):
        Segmentation().check("test", torch.full((1, 2, 2), 7), ("a", "b"))
    with pytest.raises(InputError, match="test targets: all are -100, which leaves a pixel out"):
        Segmentation().check("test", torch.full((1, 2, 2), -100), ("a", "b"))
    with pytest.raises(InputError, match="train token 2 has label 5: must be from 0 to 1"):
        LanguageModelling().check("train", torch.tensor([[0, 1], [5, 1]]), ("a", "b"))


def test_strata_of_a_regression_are_tenths_of_the_order():
    y = torch.randperm(100).float()[:, None]
    strata = Regression().strata(y)
    assert torch.bincount(strata).tolist() == [10] * 10
    assert all(int(s) == int(v) // 10 for s, v in zip(strata, y.squeeze(1), strict=True))


def test_the_losses_are_the_usual_ones():
    torch.manual_seed(6)
    p, y = torch.randn(4, 3), torch.rand(4, 3).round()
    assert torch.equal(MultiLabel().criterion()(p, y), nn.BCEWithLogitsLoss()(p, y))
    assert torch.equal(Regression().criterion()(p, y), (p - y).square().mean())


def test_a_batch_in_which_no_pixel_counts_has_a_loss_of_zero():
    """torch's mean over no pixel is NaN, which would end a training that meets one such batch."""
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randint(0, 4, (3, 5, 6))
    y[torch.rand(3, 5, 6) < 0.4] = -100
    loss = Segmentation().criterion()
    pairs = [
        (logits[n, :, i, k], int(y[n, i, k])) for n in range(3) for i in range(5) for k in range(6) if y[n, i, k] >= 0
    ]
    expected = sum(v.logsumexp(0) - v[c] for v, c in pairs) / len(pairs)
    assert torch.allclose(loss(logits, y), expected, rtol=1e-12)
    nothing = loss(logits, torch.full((3, 5, 6), -100))
    (gradient,) = torch.autograd.grad(nothing, logits)
    assert float(nothing) == 0 and not gradient.any()
