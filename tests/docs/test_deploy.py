"""The commands of docs/deploy.md, from a folder of images to an ONNX file whose network holds the limit."""

import json
import re
import shlex

import pytest
from helpers.commands import call, run_all
from helpers.support import ROOT
from PIL import Image
from sklearn.datasets import load_digits

PAGE = (ROOT / "docs" / "deploy.md").read_text()
LINES = re.findall(r"^oneshot .*$", PAGE, re.M)
SHORT = {
    "latency": ["repeats=3", "warmup=1", "space.width=0.25", "space.head=32"],
    "search": ["epochs=2", "data.batch_size=32", "logger=none", "space.width=0.25", "space.head=32", "controls=3"],
    "retrain": ["epochs=1", "data.batch_size=32", "logger=none", "space.width=0.25", "space.head=32"],
    "evaluate": ["repeats=3", "warmup=1", "logger=none"],
}


def job(line, folder="photos"):
    """A line of the page as a command with its words, shortened."""
    _, command, *words = shlex.split(line.replace("FOLDER", folder).replace("=4ms", "=1s"))
    return command, [*words, *SHORT[command]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Digits as PNG files, a folder for each class, and the table of the first command."""
    folder, digits = tmp_path_factory.mktemp("deploy"), load_digits()
    for n in range(120):
        path = folder / "photos" / f"class_{digits.target[n]}" / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[n] * 15).astype("uint8")).convert("RGB").save(path)
    run_all(folder, [job(LINES[0])])
    return folder


def test_its_four_commands(photos, capsys, monkeypatch):
    monkeypatch.chdir(photos)
    assert len(LINES) == 4
    run_all(photos, map(job, LINES[1:]))
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
    command, words = job(LINES[2])
    assert call(command, *(word for word in words if not word.startswith("out=")), "space.width=0.5", "out=wide") == 0
    said = capsys.readouterr().out  # the prediction is of a narrower network
    assert "`oneshot evaluate` measures whether the network holds it" in said and "predicted" not in said
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


def test_a_device_that_is_slower_than_its_table_is_named(photos, capsys, monkeypatch):
    monkeypatch.chdir(photos)
    table = json.loads((photos / "latency.json").read_text())
    rows = [row for choice in table["rows"].values() for row in choice.values()]
    for row in (*rows, *table["networks"]):
        row.update({key: value / 10 for key, value in row.items() if key.endswith("_ms")})
    (photos / "fast.json").write_text(json.dumps(table))
    command, words = job(LINES[1])
    words = [word for word in words if not word.startswith(("out=", "cost.table="))]
    assert call(command, *words, "cost.table=fast.json", "out=fast") == 0
    assert re.search(r"warning: other networks of the table take \d+\.\d\d times what they", capsys.readouterr().out)
    assert json.loads((photos / "fast" / "result.json").read_text())["limit"]["drift"] > 3
