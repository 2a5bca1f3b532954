"""`oneshot latency` as a user types it."""

import json

import pytest
import torch
from helpers.commands import is_first_line
from helpers.support import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import OmegaConf

from oneshot.cli.conf import choices
from oneshot.cost import LatencyTable
from oneshot.spaces import DARTSCells

TINY = ["space.cells=3", "space.channels=4", "space.nodes=1", "batch=2", "repeats=2", "warmup=0", "device=cpu"]
SPACE = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=1)


def test_a_table_that_a_search_can_read(run, tmp_path):
    code, out, err = run("latency", "space=darts", *TINY, "dtype=float64", "out=tables/cpu.json")
    assert (code, err) == (0, "")
    assert "written to tables/cpu.json" in out and "cost.table=tables/cpu.json" in out and "sep_conv_5x5" in out
    assert [p.name for p in (tmp_path / "tables").iterdir()] == ["cpu.json"]
    read = LatencyTable.read(tmp_path / "tables" / "cpu.json", SPACE)
    assert (read.batch, read.dtype, read.image_shape) == (2, "float64", [1, 8, 8])
    assert read.device.startswith("cpu") and read.versions["torch"] == torch.__version__
    assert (read.medians(SPACE) > 0).sum() == SPACE.mask.sum() - len(SPACE.choices)  # all but none


def test_default_files_and_multirun(run, tmp_path):
    assert run("latency", *TINY)[0] == 0
    (path,) = (tmp_path / "outputs" / "latency").iterdir()
    assert path.suffix == ".json"
    assert run("latency", "--multirun", *TINY, "batch=2,3", "out=b.json")[0] == 0
    assert [json.loads((tmp_path / f"b-{n}.json").read_text())["batch"] for n in (0, 1)] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dtype=float8"], "unknown dtype 'float8'; did you mean 'float64'? known: bfloat16"),
        (["batch=0"], "batch=0: must be a whole number"),
        (["repeats=1"], "repeats=1"),
        (["device=nowhere"], "device=nowhere: must be auto or the name of a device"),
        (["out=there.json"], "out=there.json: exists"),
        (["out=there.json/below.json"], "out=there.json/below.json: cannot be written"),
        (["bach=3"], "unknown setting 'bach'; did you mean 'batch'?"),
        (["space.cells=1"], "space.cells=1"),
        (["data=images"], "data.source: must be given"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line(run, tmp_path, arguments, message):
    (tmp_path / "there.json").write_text("kept")
    code, out, err = run("latency", *TINY, *arguments)
    assert code == 2 and is_first_line("latency", out)
    assert err.startswith("error: ") and message in err and len(err.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["there.json"] and (tmp_path / "there.json").read_text() == "kept"


@pytest.mark.parametrize("name", choices("cost"))
def test_configured_costs(run, tmp_path, name):
    assert run("latency", *TINY, "out=t.json")[0] == 0
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(ROOT / "conf" / "cost"), version_base=None):
        config = compose(name, ["table=t.json"] if name == "latency" else [])
    assert set(config) == {"_target_", "weight", "form", "reference", "limit"} | (
        {"table"} if name == "latency" else set()
    )
    made = instantiate(config, space=SPACE)
    loss = made(torch.tensor(1.0), SPACE.mask / SPACE.shape[1])
    assert 1 < loss.item() < 100


@pytest.mark.parametrize("words", [[], ["cost=none"], ["cost=null"]])
def test_no_cost_is_null(run, words):
    code, out, _ = run("search", *words, "--cfg", "job")
    assert code == 0 and OmegaConf.create(out).cost is None
