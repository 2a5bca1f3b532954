"""The commands of docs/deploy.md, from a folder of images to an ONNX file whose network holds the limit."""

import json
import re
import shlex

import pytest
from helpers.commands import call, run_all
from helpers.support import ROOT
from sklearn.datasets import load_digits

PAGE = (ROOT / "docs" / "deploy.md").read_text()
LINES = re.findall(r"^oneshot .*$", PAGE, re.M)
SHORT = {
    "latency": ["repeats=3", "warmup=1", "space.width=0.25", "space.head=32"],
    "search": ["epochs=2", "data.batch_size=32", "logger=none", "space.width=0.25", "space.head=32", "controls=3"],
    "retrain": ["epochs=1", "data.batch_size=32", "logger=none", "space.width=0.25", "space.head=32"],
    "evaluate": ["repeats=3", "warmup=1", "logger=none"],
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Digits as PNG files, a folder for each class."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("deploy")
    digits = load_digits()
    for n in range(120):
        path = folder / "photos" / f"class_{digits.target[n]}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[n] * 15).astype("uint8")).convert("RGB").save(path)
    return folder


def test_its_four_commands(photos, capsys):
    assert len(LINES) == 4
    jobs = []
    for line in LINES:
        _, command, *words = shlex.split(line.replace("FOLDER", "photos").replace("=4ms", "=1000ms"))
        jobs.append((command, [*words, *SHORT[command]]))
    run_all(photos, jobs)
    out = capsys.readouterr().out
    results = {
        name: json.loads((photos / name / "result.json").read_text()) for name in ("search", "network", "deployed")
    }
    limits = {name: result["limit"] for name, result in results.items()}
    assert all(limit["value"] == 1000 and limit["batch"] == 1 for limit in limits.values())
    assert limits["search"]["whole"] > 0 and limits["search"]["holds"] is True
    assert limits["network"]["whole"] is None  # nothing is timed there
    assert limits["deployed"]["holds"] is True and limits["deployed"]["whole"] < 1000
    assert (photos / "deployed" / "network.onnx").stat().st_size > 1000
    assert out.count("limit of 1,000 ms for a batch of 1 (cpu") == 3 and out.count(": holds: the network has") == 2
    for name in ("random", "largest"):
        assert json.loads((photos / "search" / f"{name}.json").read_text())["decisions"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("space.width=0.5", "latency.json: was measured with width=0.25, but the final network has width=0.5"),
        ("data.image_size=16", "with image_shape=[3, 32, 32], but the final network has image_shape=[3, 16, 16]"),
        ("final={width: 0.5}", "latency.json: was measured with width=0.25, but the final network has width=0.5"),
    ],
)
def test_a_table_of_other_sizes_is_refused(photos, capsys, monkeypatch, word, message):
    monkeypatch.chdir(photos)
    words = ["data=images", "data.source=photos", "data.image_size=32", "data.test_fraction=0.2", "space=mbconv"]
    table = ["cost=latency", "cost.table=latency.json", "cost.limit=1s", "space.width=0.25", "space.head=32"]
    assert call("search", *words, *table, "out=other", word) == 2
    assert message in capsys.readouterr().err
    assert not (photos / "other").exists()
