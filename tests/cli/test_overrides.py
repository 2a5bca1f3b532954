"""Choices of groups on a command line, above all lists of techniques: what is read, what is refused, what is said."""

import json

import pytest
import yaml
from helpers.commands import is_first_line

from oneshot.cli.composition import configuration
from oneshot.cli.overrides import checked
from oneshot.errors import InputError

TINY = ["epochs=1", "space.cells=1", "space.channels=4", "data.train_size=64", "data.batch_size=32", "logger=null"]
CHAIN = """\
class Chain:
    def __init__(self, image_shape, classes):
        raise AssertionError("the option must be refused before")
"""


@pytest.mark.parametrize("word", ["technique=none", "technique=null", "technique=[]", "+technique=none"])
def test_no_further_technique(word):
    """Neither beside an architect without techniques, nor beside one with."""
    key = word.partition("=")[0]
    assert checked([word]) == [f"{key}=[]"]
    for architect, names in (("darts", []), ("fair_darts", ["zero_one"])):
        if key == "technique":
            assert list(configuration("search", [f"architect={architect}", *checked([word])]).technique) == names


@pytest.mark.parametrize(
    ("word", "same"),
    [
        ("technique=beta_decay", "technique=beta_decay"),
        ("technique=[beta_decay,'zero_one']", "technique=[beta_decay,'zero_one']"),
        ("technique=none,[beta_decay],zero_one", "technique=[],[beta_decay],zero_one"),
        ("architect=darts,snas", "architect=darts,snas"),
        ("architect=glob(*darts)", "architect=glob(*darts)"),
        ("space.candidates=[none,skip_connect]", "space.candidates=[none,skip_connect]"),
        ("~technique.zero_one", "~technique.zero_one"),
        ("--config-dir", "--config-dir"),
    ],
)
def test_what_is_left_as_it_is(word, same):
    assert checked([word]) == [same]


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("architect=[pc_darts]", "architect=[pc_darts]: the group takes one choice and no list, as architect=pc_darts"),
        ("architect=[darts,snas]", "architect=[darts,snas]: the group takes one choice and no list"),
        ("space=[darts]", "space=[darts]: the group takes one choice and no list, as space=darts"),
        ("experiment=[]", "experiment=[]: the group takes one choice and no list, as experiment=NAME"),
        ("architect=[darts],[snas]", "architect=[darts]: the group takes one choice"),
        ("architect=true", "architect=true: must name a choice for architect; known: beta_darts, "),
        ("cost={a: 1}", "cost={a: 1}: must name a choice for cost"),
        ("architect=", "architect=: must name a choice"),
        ("architect=../technique/beta_decay", "unknown choice for architect '../technique/beta_decay'"),
        *(
            (f"technique={value}", f"technique={value}: must be a list of names, as technique=[beta_decay]; known: ")
            for value in ("[nan]", "[1]", "[true]", "[null]", "[[beta_decay]]", "['']", "''", "true", "{beta_decay: 1}")
        ),
        ("technique=[../architect/snas]", "unknown choice for technique '../architect/snas'"),
        ("technique=/architect/snas", "unknown choice for technique '/architect/snas'"),
        ("technique=[beta_decay,zero_one,beta_decay]", "names beta_decay more than once"),
        ("technique=none,[zero_one,zero_one]", "names zero_one more than once"),
    ],
)
def test_what_is_refused(word, line):
    with pytest.raises(InputError) as error:
        checked([word])
    assert line in str(error.value)


def refused(found, *texts):
    code, out, err = found
    assert code == 2 and is_first_line("search", out), found
    assert err.startswith("error: ") and err.count("\n") == 1 and all(text in err for text in texts), err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["architect=[darts,snas]"], "takes one choice"),
        (["technique=[nan]"], "must be a list of names"),
        (["technique=[beta_deacy]"], "unknown choice for technique 'beta_deacy'; did you mean 'beta_decay'?"),
        (["technique.beta_decay.weight=3"], "technique beta_decay is not chosen; technique=[beta_decay] adds it"),
        (["technique.beta_deacy.weight=3"], "technique beta_decay is not chosen; technique=[beta_decay] adds it"),
        (["+technique.beta_decay.weight=3"], "must be a mapping with _target_; technique=[beta_decay] adds it"),
        (["technique=zero_one", "technique.beta_decay.weight=3"], "technique=[zero_one,beta_decay] adds it"),
        (["technique=[beta_decay]", "technique.beta_decay.wieght=3"], "did you mean 'technique.beta_decay.weight'?"),
        (["technique=[beta_decay]", "technique.beta_deacy.weight=3"], "did you mean 'technique.beta_decay.weight'?"),
        (["architect=fair_darts", "technique.zero_one.wieght=3"], "did you mean 'technique.zero_one.weight'?"),
        (["architect=pc_darts", "space.cels=3"], "did you mean 'space.cells'?"),
        (
            ["space=nasbench201", "architect=gdas", "technique=[random_perturbation]"],
            "architect=gdas: technique.random_perturbation: needs",
        ),
    ],
)
def test_one_line_from_the_command(run, words, line):
    refused(run("search", *TINY, *words), line)


def test_a_technique_that_the_architect_has_is_there_once_with_its_settings():
    alone = configuration("search", ["architect=beta_darts"])
    assert configuration("search", ["architect=beta_darts", "technique=[beta_decay]"]) == alone
    assert list(alone.technique) == ["beta_decay"]


def own(folder, name, text):
    path = folder / "conf" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_file_without_its_first_line(run, tmp_path):
    text = yaml.safe_dump({"technique": {"keep": {"_target_": "oneshot.techniques.ZeroOne", "weight": 1.0}}})
    own(tmp_path, "technique/keep.yaml", f"# Keep\n{text}")
    words = ["search", "--config-dir", "conf", "technique=[keep]"]
    refused(run(*words), f"the first line of {tmp_path}/conf/technique/keep.yaml must be `# @package _global_`")
    own(tmp_path, "technique/odd.yaml", "# @package _global_\n# Odd\ntechnique: 3\n")
    refused(run(*words[:-1], "technique=[odd]"), "technique=3: must be a mapping from names to techniques")
    own(tmp_path, "technique/keep.yaml", f"# @package _global_\n# Keep\n{text}")
    assert run(*words, "--cfg", "job")[0] == 0
    out = run("search", "--config-dir", "conf", "--help", "technique.keep")[1]
    assert out.startswith("technique=keep  Keep") and "technique.keep.weight=" in out


@pytest.mark.parametrize("name", ["space/darts", "experiment/digits", "technique/beta_decay"])
def test_a_file_with_the_name_of_a_choice_that_there_is(run, tmp_path, name):
    own(tmp_path, f"{name}.yaml", "# Mine\n")
    refused(
        run("search", "--config-dir", "conf", "technique=[beta_decay]"),
        f"conf/{name}.yaml: is not used, as {name.replace('/', '=')} is a choice of oneshot's own",
    )
    assert run("search", "--config-dir", "conf", "space=nasbench201", "experiment=mnist1d", "--cfg", "job")[0] == 0


@pytest.mark.parametrize("words", [["technique=[partial_channels]"], ["architect=pc_darts"]])
def test_a_space_without_partial_channels(run, tmp_path, monkeypatch, words):
    (tmp_path / "unpartial_chain.py").write_text(CHAIN)
    monkeypatch.syspath_prepend(tmp_path)
    own(tmp_path, "space/layers.yaml", "# A chain\n_target_: unpartial_chain.Chain\n")
    small = ["epochs=1", "data.train_size=64", "data.batch_size=32", "logger=null"]
    refused(
        run("search", "--config-dir", "conf", "space=layers", *small, *words),
        "space.partial_channels=4: unpartial_chain.Chain is a space without partial channels",
    )


def test_techniques_are_on_the_screen_and_in_the_result(run, tmp_path):
    words = ["space=nasbench201", "technique=[zero_one,edge_normalization]", "space.partial_channels=2", "out=with"]
    code, out, err = run("search", *TINY, *words)
    assert (code, err) == (0, "") and "architect darts + edge_normalization + partial_channels + zero_one, " in out
    result = json.loads((tmp_path / "with" / "result.json").read_text())
    assert result["techniques"] == ["partial_channels", "edge_normalization", "zero_one"]
    words = ["space=nasbench201", "architect=fair_darts", "~technique.zero_one", "out=without"]
    code, out, err = run("search", *TINY, *words)
    assert (code, err) == (0, "") and "architect fair_darts - zero_one, " in out
    assert "techniques" not in json.loads((tmp_path / "without" / "result.json").read_text())


@pytest.mark.parametrize("epochs", ["abc", "null", "nan", "inf", "[2]", "2.5"])
def test_a_share_of_wrong_epochs_leaves_the_message_to_the_epochs(run, epochs):
    """The warm-up of pc_darts is a share of the epochs."""
    refused(run("search", "architect=pc_darts", f"epochs={epochs}"), "must be a whole number, from 1 to 100000")
