"""Genotypes: the notation of architectures of DARTS cells, and published ones."""

import ast
from typing import Any, NamedTuple

from ..errors import InputError

FIELDS = ("normal", "normal_concat", "reduce", "reduce_concat")
LONGEST = 10_000  # characters
LIKE = "Genotype(normal=[('sep_conv_3x3', 0), ...], normal_concat=range(2, 6), reduce=[...], reduce_concat=range(2, 6))"

PUBLISHED = {
    # Liu, Simonyan and Yang, DARTS, arXiv:1806.09055: first and second order
    "darts_v1": "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 6))",
    "darts_v2": "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=range(2, 6), "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))",
    # Chen, Xie, Wu and Tian, P-DARTS, arXiv:1904.12760
    "p_darts": "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0), ('dil_conv_5x5', 4)], normal_concat=range(2, 6), "
    "reduce=[('avg_pool_3x3', 0), ('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('dil_conv_5x5', 2), ('max_pool_3x3', 0), "
    "('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)], reduce_concat=range(2, 6))",
    # Xu et al., PC-DARTS, arXiv:1907.05737: found on CIFAR-10 and on ImageNet
    "pc_darts_cifar": "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 0), "
    "('dil_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 1)], "
    "normal_concat=range(2, 6), reduce=[('sep_conv_5x5', 1), ('max_pool_3x3', 0), ('sep_conv_5x5', 1), "
    "('sep_conv_5x5', 2), ('sep_conv_3x3', 0), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('sep_conv_3x3', 2)], "
    "reduce_concat=range(2, 6))",
    "pc_darts_imagenet": "Genotype(normal=[('skip_connect', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 0), "
    "('skip_connect', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 1), ('dil_conv_5x5', 4)], "
    "normal_concat=range(2, 6), reduce=[('sep_conv_3x3', 0), ('skip_connect', 1), ('dil_conv_5x5', 2), "
    "('max_pool_3x3', 1), ('sep_conv_3x3', 2), ('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_3x3', 3)], "
    "reduce_concat=range(2, 6))",
    # Dong and Yang, GDAS, arXiv:1910.04465
    "gdas_v1": "Genotype(normal=[('skip_connect', 0), ('skip_connect', 1), ('skip_connect', 0), ('sep_conv_5x5', 2), "
    "('sep_conv_3x3', 3), ('skip_connect', 0), ('sep_conv_5x5', 4), ('sep_conv_3x3', 3)], normal_concat=range(2, 6), "
    "reduce=[('sep_conv_5x5', 0), ('sep_conv_3x3', 1), ('sep_conv_5x5', 2), ('sep_conv_5x5', 1), ('dil_conv_5x5', 2), "
    "('sep_conv_3x3', 1), ('sep_conv_5x5', 0), ('sep_conv_5x5', 1)], reduce_concat=range(2, 6))",
}


class Genotype(NamedTuple):
    """A genotype as data.

    Args:
        normal: Operation and source of each edge of the normal cell, two a node; the sources are states of the cell.
        normal_concat: The states that the cell's output concatenates.
        reduce: The same for the reduction cell.
        reduce_concat: The same for the reduction cell.
    """

    normal: list[tuple[str, int]]
    normal_concat: list[int]
    reduce: list[tuple[str, int]]
    reduce_concat: list[int]


def parsed(text: str) -> Genotype:
    """Read a genotype. The text is parsed, never evaluated.

    Pairs may also be in pairs, one for each node, as some repositories write them.

    Args:
        text: As `notation` of the DARTS cells gives it: Genotype(normal=[...], normal_concat=range(2, 6), ...).

    Raises:
        InputError: If the text is no genotype.
    """
    shown = f"architecture {text[:80]!r}"
    if len(text) > LONGEST:
        raise InputError(f"{shown}: {len(text):,} characters; at most {LONGEST:,}")
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise InputError(f"{shown}: must be like {LIKE}") from None
    named = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Genotype"
    if not isinstance(call, ast.Call) or not named or call.args or len(call.keywords) != len(FIELDS):
        raise InputError(f"{shown}: must be like {LIKE}")
    fields = {keyword.arg: keyword.value for keyword in call.keywords}
    if set(fields) != set(FIELDS):
        raise InputError(f"{shown}: must be like {LIKE}")
    found: dict[str, Any] = {}
    for name in FIELDS:
        try:
            value = _value(fields[name])
            found[name] = _numbers(value) if name.endswith("concat") else _pairs(value)
        except (ValueError, TypeError, RecursionError):
            raise InputError(f"{shown}: field {name!r} must be like that of {LIKE}") from None
    return Genotype(**found)


def _value(node: ast.expr) -> Any:
    """A literal, or a range of literals."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range" and not node.keywords:
        start, end = (ast.literal_eval(argument) for argument in node.args)
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= 64:
            raise ValueError
        return list(range(start, end))
    return ast.literal_eval(node)


def _numbers(value: Any) -> list[int]:
    if not isinstance(value, list | tuple) or not all(type(n) is int for n in value):
        raise ValueError
    return list(value)


def _pairs(value: Any) -> list[tuple[str, int]]:
    if not isinstance(value, list | tuple):
        raise ValueError
    pairs: list[tuple[str, int]] = []
    for entry in value:
        of_a_node = all(isinstance(pair, list | tuple) for pair in entry)
        for name, source in entry if of_a_node else [entry]:
            if not isinstance(name, str) or type(source) is not int:
                raise ValueError
            pairs.append((name, source))
    return pairs
