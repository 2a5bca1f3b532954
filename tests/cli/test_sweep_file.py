"""conf/sweeps: files that W&B and Hydra both take, and what is said about others."""

import copy
import itertools
import re

import pytest
import yaml
from helpers.support import ROOT
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from oneshot.cli.sweep.file import read, settings_of, sweep
from oneshot.cli.sweep.suggestions import count
from oneshot.errors import InputError

CONF = ROOT / "conf"
FILES = sorted(path.stem for path in (CONF / "sweeps").glob("*.yaml"))
CORNERS = (0.0, 0.5, 1.0)


def path(name):
    return str(CONF / "sweeps" / f"{name}.yaml")


def points(found):
    """Every combination of a grid; else each value of each parameter, or the ends of its range, the others as first."""
    choices = {p.name: [p.at(u) for u in CORNERS] if p.at else list(p.values) for p in found.parameters}
    if found.method == "grid":
        assert all(p.at is None for p in found.parameters)
        yield from (dict(zip(choices, point, strict=True)) for point in itertools.product(*choices.values()))
    else:
        first = {name: values[0] for name, values in choices.items()}
        for name, values in choices.items():
            yield from (first | {name: value} for value in values)


def test_files_are_seen():
    assert FILES


@pytest.mark.parametrize("name", FILES)
def test_every_job_composes(name):
    found = read(path(name))
    seen = list(points(found))
    assert len(seen) == count(found, None) if found.method == "grid" else len(seen) > 10
    with initialize_config_dir(str(CONF), version_base=None):
        for values in (values for values in seen if values.get("seed") == seen[0].get("seed")):  # any seed composes
            config = compose(found.program, [*found.settings, *settings_of(values)])
            for setting in settings_of(values):
                override = OverridesParser.create().parse_override(setting)
                if not (CONF / override.key_or_group).is_dir():
                    assert OmegaConf.select(config, override.key_or_group) == override.value(), setting


@pytest.mark.parametrize("name", FILES)
def test_settings_are_what_wandb_passes(name):
    """And the command's words are those of W&B's agent, but for the default logger."""
    content, found = yaml.safe_load(open(path(name))), read(path(name))
    assert content["program"] == "oneshot" and content["command"][:3] == ["${env}", "oneshot", found.program]
    for values in itertools.islice(points(found), 20):
        passed = create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
        assert list(settings_of(values)) == passed["args_no_hyphens"]
    others = [word for word in content["command"][3:] if not word.startswith("${")]
    assert list(found.settings) == [word for word in others if word != "logger=wandb"] != others


def test_nested_parameters_are_dotted_settings():
    content = copy.deepcopy(GOOD)
    content["parameters"] = {"weights": {"parameters": {"optimizer": {"parameters": {"lr": {"value": 0.5}}}}}}
    (parameter,) = sweep(content).parameters
    assert list(settings_of({parameter.name: parameter.values[0]})) == ["weights.optimizer.lr=0.5"]


def test_a_logger_of_the_file_is_the_logger_of_its_jobs(tmp_path):
    path = tmp_path / "sweep.yaml"
    for word in ("logger=none", "logger=csv"):
        path.write_text(OmegaConf.to_yaml(GOOD | {"command": [*GOOD["command"][:-1], word, GOOD["command"][-1]]}))
        assert read(path).settings == (word,)


GOOD = {
    "program": "scripts/search.py",
    "method": "grid",
    "metric": {"name": "valid/accuracy"},
    "parameters": {"seed": {"values": [0, 1]}},
    "command": ["${env}", "${interpreter}", "${program}", "${args_no_hyphens}"],
}
BAD = [
    ({"program": "scripts/serach.py"}, "unknown program 'scripts/serach.py'; did you mean 'scripts/search.py'"),
    ({"program": "/bin/sh"}, "unknown program"),
    ({"method": "gird"}, "did you mean 'grid'"),
    ({"methods": "grid"}, "unknown key 'methods'; did you mean 'method'"),
    ({"metric": {"name": "a", "goal": "max"}}, "unknown metric.goal 'max'"),
    ({"metric": "valid/accuracy"}, "metric: must be a mapping with a name"),
    ({"metric": {"name": "a", "impute": "best"}}, "unknown key of metric 'impute'"),
    ({"metric": {"name": "a", "target": "x"}}, "metric.target='x'"),
    ({"run_cap": 0}, "run_cap=0"),
    ({"parameters": {}}, "parameters: must be"),
    ({"parameters": {"lr": {"min": 0.0, "max": 1.0}}}, "parameters.lr: a grid needs values"),
    ({"parameters": {"out": {"value": "elsewhere"}}}, "parameters.out: is set by the sweep"),
    ({"parameters": {"+lr": {"value": 1}}}, "'+lr' is no name that W&B takes"),
    ({"parameters": {"a": {"values": [1, None]}}}, "null would arrive as the text None"),
    ({"parameters": {"a": {"value": "[1,"}}}, "Hydra cannot read a=[1,"),
    ({"parameters": {"a": {"value": "1,2"}}}, "must be one setting with one value"),
    ({"parameters": {"a": {"value": {"b": 1}}}}, "parameters.a"),
    ({"command": ["${program}", "${args}"]}, "must hold ${program} and ${args_no_hyphens}"),
    ({"command": ["sudo", "${program}", "${args_no_hyphens}"]}, "command: 'sudo' before ${program}"),
    ({"command": ["${program}", "--verbose", "${args_no_hyphens}"]}, "command: Hydra cannot read --verbose"),
    ({"command": "python"}, "command: must be a list"),
    ({"early_terminate": {"type": "envelope"}}, "early_terminate="),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_ones_are_named(change, message):
    assert sweep(GOOD).parameters[0].values == (0, 1)
    with pytest.raises(InputError) as error:
        sweep(GOOD | change)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("key", [key for key in GOOD if key != "metric"])
def test_what_must_be_there(key):
    with pytest.raises(InputError, match=f"^{key}: must be given"):
        sweep({k: v for k, v in GOOD.items() if k != key})


@pytest.mark.parametrize("change", [{"method": "bayes"}, {"early_terminate": {"type": "hyperband", "min_iter": 3}}])
def test_a_metric_is_needed_by_who_looks_at_it(change):
    without = {k: v for k, v in GOOD.items() if k != "metric"}
    assert sweep(without).metric == ""
    with pytest.raises(InputError, match="metric: must be a mapping with a name"):
        sweep(without | change)


@pytest.mark.parametrize("text", ["[1, 2", "- 1", "", "a: *b", "\x00", None, "x" * 70_000])
def test_files_that_are_none(tmp_path, text):
    file = tmp_path / "sweep.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(str(file))}: "):
        read(str(file))
