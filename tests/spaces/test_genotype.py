"""Published genotypes: their parameters, and texts that are read as data alone."""

import random

import pytest

from oneshot.cost import network_cost
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, ModelSpace, NASBench201
from oneshot.spaces.examples import SignalNet
from oneshot.spaces.genotype import PUBLISHED, parsed

SPACE = DARTSCells((3, 32, 32), 10, cells=20, channels=36)
V2 = PUBLISHED["darts_v2"]


@pytest.mark.parametrize(
    ("name", "millions"),
    [("darts_v1", 3.169), ("darts_v2", 3.349), ("p_darts", 3.434), ("pc_darts_cifar", 3.635), ("gdas_v1", 3.369)],
)
def test_parameters_are_the_published_ones(name, millions):
    """On CIFAR-10, without the auxiliary head."""
    cost = network_cost(SPACE, SPACE.from_notation(SPACE.published[name]), (3, 32, 32))
    assert round(cost["parameters"] / 1e6, 3) == millions


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_one_is_of_the_space(name):
    architecture = SPACE.from_notation(PUBLISHED[name])
    assert sorted(parsed(SPACE.notation(architecture)).normal) == sorted(parsed(PUBLISHED[name]).normal)


@pytest.mark.parametrize(
    "space",
    [
        DARTSCells((3, 8, 8), 10, 3, 4),
        DARTSCells((3, 8, 8), 10, 3, 4, nodes=2, candidates=["skip_connect", "sep_conv_3x3"]),
        NASBench201((3, 8, 8), 10),
        ModelSpace(SignalNet, (1, 1, 40), 10),
    ],
    ids=["darts", "unmixed", "nasbench201", "model"],
)
def test_a_notation_is_read_back(space):
    rng = random.Random(0)
    for _ in range(50):
        architecture = space.sample(rng)
        assert space.from_notation(space.notation(architecture)) == architecture


def test_other_ways_to_write_a_genotype():
    found = SPACE.from_notation(V2)
    lists = V2.replace("range(2, 6)", "[2, 3, 4, 5]")
    pairs = "Genotype(normal=[(('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), (('sep_conv_3x3', 0), ('sep_conv_3x3', 1)), "
    pairs += "(('sep_conv_3x3', 1), ('skip_connect', 0)), (('skip_connect', 0), ('dil_conv_3x3', 2))]"
    pairs += V2[V2.index(", normal_concat") :]
    assert SPACE.from_notation(lists) == SPACE.from_notation(pairs) == SPACE.from_notation(f"\n {V2}\n") == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be like Genotype"),
        ("__import__('os').system('true')", "must be like Genotype"),
        (
            "Genotype(normal=__import__('os'), normal_concat=[2], reduce=[], reduce_concat=[2])",
            "field 'normal' must be",
        ),
        (V2.replace("range(2, 6)", "range(2, 10**9)"), "field 'normal_concat' must be"),
        (V2.replace("range(2, 6)", "range(*a)"), "field 'normal_concat' must be"),
        (V2.replace("range(2, 6)", "range(2)"), "field 'normal_concat' must be"),
        (V2.replace("range(2, 6)", "[2, 3]"), r"normal_concat=\[2, 3\]: this space concatenates all nodes, 2 to 5"),
        (V2.replace("reduce=", "other="), "must be like Genotype"),
        (V2.replace("('dil_conv_3x3', 2)", "('conv_7x7', 2)"), "normal, edge 7: unknown operation 'conv_7x7'"),
        (V2.replace("('dil_conv_3x3', 2)", "('none', 2)"), "normal, edge 7: unknown operation 'none'"),
        (V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)"), "normal, edge 7: state 5 is none before node 5"),
        (V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)"), "normal, edge 7: a second edge from state 0"),
        (V2.replace(", ('dil_conv_3x3', 2)", ""), "normal has 7 edges; a cell with space.nodes=4 has 8"),
        (V2.replace("('dil_conv_3x3', 2)", "('dil_conv_3x3', True)"), "field 'normal' must be"),
        (V2.replace("('dil_conv_3x3', 2)", "3"), "field 'normal' must be"),
        ("(" * 5000 + ")" * 4000, "must be like Genotype"),
        ("x" * 20_000, "20,000 characters; at most 10,000"),
    ],
)
def test_what_is_no_genotype_is_refused_and_never_run(text, message):
    with pytest.raises(InputError, match=message) as raised:
        SPACE.from_notation(text)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600


@pytest.mark.parametrize(
    ("text", "message"),
    [("layer1=conv_3", "says nothing of layer2"), ("a=b", "unknown choice 'a'"), ("", "says nothing of layer1")],
)
def test_a_notation_of_a_model_is_checked(text, message):
    with pytest.raises(InputError, match=message):
        ModelSpace(SignalNet, (1, 1, 40), 10).from_notation(text)
