"""Settings are refused by their names and plain types before torch is imported."""

import inspect
import subprocess
import sys
import types
import typing

import pytest
from hydra.utils import get_method
from omegaconf import OmegaConf

from oneshot.cli import check as checks
from oneshot.cli.conf import CONF
from oneshot.cli.signatures import signature
from oneshot.errors import InputError


def check_part(config):
    """Of `check` what looks at the parts that a configuration names."""
    for path, node in checks._nodes(config):
        checks._check_node(path, node)


def targets(node):
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)


def is_written_here(target):
    """Whether the function that is called is of this package; a class may have its constructor from elsewhere."""
    made = get_method(target)
    called = made.__init__ if inspect.isclass(made) else made
    return called.__module__.startswith("oneshot.") or called.__qualname__.startswith("__create_fn__")


FOUND = {name for path in CONF.rglob("*.yaml") for name in targets(OmegaConf.to_container(OmegaConf.load(path)))}
OURS = sorted(name for name in FOUND if name.startswith("oneshot.") and is_written_here(name))
SAMPLES = [True, 3, 0.5, "text", None, [1], {"a": 1}]
PLAIN = {int, float, bool, str, types.NoneType}


def plain_types(annotation):
    """The types of an annotation of plain types alone, else none."""
    several = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    found = set(typing.get_args(annotation)) if several else {None: types.NoneType}.get(annotation, annotation)
    found = found if isinstance(found, set) else {found}
    return found if found <= PLAIN else set()


def fits(value, kinds):
    """As Python and the settings files mean it: a whole number is a number too, true and false are none."""
    return type(value) in kinds or (type(value) is int and float in kinds)


def resolved(target):
    """The function that is called, with its parameters as Python sees them."""
    try:
        return inspect.signature(get_method(target), eval_str=True)
    except NameError:  # of a name that only a type checker imports
        return inspect.signature(get_method(target))


def test_targets_are_seen():
    assert OURS and {name for name in FOUND if signature(name)} == {*OURS}


@pytest.mark.parametrize("target", OURS)
def test_a_signature_read_from_source_is_the_real_one(target):
    read, real = signature(target), resolved(target)
    keywords = [p for p in real.parameters.values() if p.kind is p.VAR_KEYWORD]
    assert list(read.parameters) == [name for name, p in real.parameters.items() if p not in keywords]
    assert read.open == bool(keywords)


@pytest.mark.parametrize("target", OURS)
def test_plain_types_are_checked(target):
    """For each parameter: what its annotation allows passes, anything else is refused by its name."""
    for name, parameter in resolved(target).parameters.items():
        kinds = plain_types(parameter.annotation)
        for value in SAMPLES:
            config = OmegaConf.create({"part": {"_target_": target, name: value}})
            if not kinds or fits(value, kinds):
                check_part(config)
                continue
            with pytest.raises(InputError) as error:
                check_part(config)
            assert str(error.value).startswith(f"part.{name}=") and ": must be " in str(error.value)


@pytest.mark.parametrize("target", OURS)
def test_unknown_settings_are_refused(target):
    config = OmegaConf.create({"part": {"_target_": target, "nonsense": 1}})
    if signature(target).open:
        return check_part(config)
    with pytest.raises(InputError, match="unknown setting 'part.nonsense'"):
        check_part(config)


@pytest.mark.parametrize(
    ("annotation", "good", "bad"),
    [
        ("int", [0, -3], [True, 0.5, "3", None]),
        ("float", [0, 0.5, -1e-9], [True, "0.5", None, float("nan"), float("inf")]),
        ("bool", [True, False], [0, 1, "true", None]),
        ("str", ["", "text"], [3, True, None]),
        ("int | None", [3, None], [0.5, "x", True]),
        ("float | str | None", [3, 0.5, "x", None], [True]),
    ],
)
def test_types_of_a_class(tmp_path, monkeypatch, annotation, good, bad):
    """One kind at a time, in a package of its own."""
    from oneshot.cli import signatures

    package = tmp_path / "oneshot"
    package.mkdir()
    (package / "made.py").write_text(f"class Made:\n    def __init__(self, x: {annotation}) -> None:\n        pass\n")
    monkeypatch.setattr(signatures, "PACKAGE", package)
    signatures.signature.cache_clear()
    for value in good:
        check_part(OmegaConf.create({"part": {"_target_": "oneshot.made.Made", "x": value}}))
    for value in bad:
        with pytest.raises(InputError, match=r"^part\.x="):
            check_part(OmegaConf.create({"part": {"_target_": "oneshot.made.Made", "x": value}}))
    signatures.signature.cache_clear()


def test_what_is_not_ours_is_left_to_its_maker():
    for target in ("torch.optim.SGD", "my.Own", "oneshot.nowhere.Nothing"):
        check_part(OmegaConf.create({"part": {"_target_": target, "anything": [1]}}))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["space.cells=three"], "space.cells='three': must be a whole number"),
        (["space.cells=true"], "space.cells=True: must be a whole number"),
        (["data.train_size=0.5"], "data.train_size=0.5: must be a whole number"),
        (["weights.gradient_clip=much"], "weights.gradient_clip='much': must be a number"),
        (["weights.optimizer.lr=fast"], "weights.optimizer.lr='fast': must be a number"),
        (["schedule.joint=1"], "schedule.joint=1: must be true or false"),
        (["resume=maybe"], "resume='maybe': must be true or false"),
        (["space.candidates=none"], "space.candidates='none': must be a list"),
        (["seed=1.5"], "seed=1.5: must be a whole number"),
        (["threads=-1"], "threads=-1: must be a whole number"),
        (["+space.cels=3"], "unknown setting 'space.cels'; did you mean 'space.cells'?"),
        (["data=images"], "data.source: must be given"),
        (["checkpoint=3"], "checkpoint=3: must be given as checkpoint.every=VALUE"),
        (["trainer.precision=fp8"], "unknown trainer.precision 'fp8'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_command_lines(run, tmp_path, words, line):
    code, out, err = run("search", *words)
    assert (code, out) == (2, "") and err.startswith(f"error: {line}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["space.cells=three"], ["architct=darts"], ["controls=-1"], ["--epochs", "3"]])
def test_a_refusal_comes_before_torch(tmp_path, words):
    code = (
        "import sys\nfrom oneshot.cli import main\nsys.argv[:] = ['oneshot', 'search', *sys.argv[1:]]\n"
        "try:\n    main.main()\nexcept SystemExit as end:\n"
        "    print(end.code, [m for m in ('torch', 'wandb', 'datasets', 'matplotlib') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "2 []\n" and done.stderr.startswith("error: ")
