"""Choices, gates and architectures as plain data, and the JSON file that holds an architecture."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from torch import Tensor

from .errors import InputError, unknown
from .runs.files import parse_json

FORMAT = "oneshot/architecture"
VERSION = 1
MAX_BYTES = 1 << 20


class Choice(NamedTuple):
    """One categorical decision of a space.

    Args:
        name: Name of the choice; "cell/source->target" for an edge.
        candidates: Names of the candidates.
        group: Name of a group of choices; edges into one node share it.
        unmixed: How many of the last candidates an architecture may have, but gates never mix: `none` where it is no
            operation, and only means that the edge is absent.
    """

    name: str
    candidates: tuple[str, ...]
    group: str
    unmixed: int = 0

    @property
    def mixed(self) -> tuple[str, ...]:
        """The candidates that gates mix: all but the last `unmixed`."""
        return self.candidates[: len(self.candidates) - self.unmixed]


class Gates(NamedTuple):
    """What a supernet multiplies its candidates with.

    Args:
        weight: (choices, candidates), with zeros where a choice has fewer candidates. Rows need not sum to 1.
        active: For each choice, the indices of the candidates to compute; they are on the host. None computes all.
        silent: For each choice, the active candidates whose gate is 0. No gradient flows back through them: a supernet
            computes them only for the gradient of the gates and keeps nothing else. None if there are none.
        cells: What is added to the weights in each cell of the supernet, (cells, choices, candidates), in the order of
            the space's `kinds`. None if all cells of a kind have the same gates.
    """

    weight: Tensor
    active: tuple[tuple[int, ...], ...] | None = None
    silent: tuple[tuple[int, ...], ...] | None = None
    cells: Tensor | None = None

    def rows(self, rows: slice) -> "Gates":
        """Return the gates of some of the choices.

        Args:
            rows: Which choices.
        """
        active, silent = (None if part is None else part[rows] for part in (self.active, self.silent))
        return Gates(self.weight[rows], active, silent, None if self.cells is None else self.cells[:, rows])

    def of_cell(self, cell: int) -> "Gates":
        """Return the gates of one cell.

        Args:
            cell: The number of the cell.
        """
        return self if self.cells is None else Gates(self.weight + self.cells[cell], self.active, self.silent)


@dataclass(frozen=True)
class Architecture:
    """One candidate for each choice of a space.

    Args:
        space: Fingerprint of the space that the indices refer to.
        decisions: Index of the candidate for each choice.
    """

    space: str
    decisions: tuple[int, ...]


class Query(NamedTuple):
    """A request for the scores of an architecture.

    Args:
        architecture: The architecture.
        fidelity: Share of the full effort; 1 is the full fidelity.
        parent: An architecture whose weights may be inherited; None is from scratch.
    """

    architecture: Architecture
    fidelity: float = 1.0
    parent: Architecture | None = None


def fingerprint(name: str, choices: Sequence[Choice]) -> str:
    """Identify a space by its choices and their candidates. Sizes of the network do not enter.

    Args:
        name: Name of the space.
        choices: Its choices.

    Returns:
        The name and a hash: "NAME:HASH".
    """
    text = json.dumps([name, [[c.name, c.candidates, c.group] for c in choices]])
    return f"{name}:{blake2b(text.encode(), digest_size=6).hexdigest()}"


def by_name(architecture: Architecture, choices: Sequence[Choice]) -> dict[str, str]:
    """Return the decisions of an architecture as names: choice -> candidate.

    Args:
        architecture: The architecture.
        choices: The choices of its space.
    """
    return {c.name: c.candidates[i] for c, i in zip(choices, architecture.decisions, strict=True)}


def to_json(architecture: Architecture, choices: Sequence[Choice], settings: dict[str, Any], notation: str) -> str:
    """Write the content of an architecture file: decisions by name, readable, and checked when they are read back.

    Args:
        architecture: The architecture.
        choices: The choices of its space.
        settings: Settings of the space. For the reader only.
        notation: Short form of the architecture. For the reader only.

    Returns:
        The text of the file.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "space": architecture.space,
        "settings": settings,
        "decisions": by_name(architecture, choices),
        "notation": notation,
    }
    return json.dumps(content, indent=2) + "\n"


def read_document(text: str, where: str, form: str, version: int) -> dict[str, Any]:
    """Read a JSON document that names its format and version.

    Args:
        text: The text.
        where: Name of the file for messages.
        form: The format that it must have.
        version: The version that it must have.

    Returns:
        Its content.

    Raises:
        InputError: If the text is truncated, or the format or the version is another one.
    """
    try:
        content = parse_json(text)
    except ValueError as error:
        raise InputError(f"{where}: not a complete JSON file ({str(error)[:80]})") from None
    if not isinstance(content, dict) or content.get("format") != form:
        raise InputError(f"{where}: field 'format' must be {form!r}")
    if type(content.get("version")) is not int or content["version"] != version:
        raise InputError(f"{where}: field 'version' is {content.get('version')!r:.40}; this version reads {version}")
    return content


def from_json(text: str, space: str, choices: Sequence[Choice], where: str = "architecture") -> Architecture:
    """Read the content of an architecture file as data.

    This function does not check whether the decisions are allowed together; the space does.

    Args:
        text: The text of the file.
        space: Fingerprint of the space that it must belong to.
        choices: The choices of the space.
        where: Name of the file for messages.

    Returns:
        The architecture.

    Raises:
        InputError: If the text is truncated, of another space or version, or if a choice is missing, unknown or decided
            by an unknown operation. The message names the field.
    """
    content = read_document(text, where, FORMAT, VERSION)
    if content.get("space") != space:
        raise InputError(
            f"{where}: field 'space' is {content.get('space')!r:.60}, but the configured space is {space!r}"
        )
    decisions = content.get("decisions")
    if not isinstance(decisions, dict):
        raise InputError(f"{where}: field 'decisions' must map each choice to an operation")
    names = [c.name for c in choices]
    for name in decisions:
        if name not in names:
            raise InputError(f"{where}: field 'decisions': {unknown('choice', name[:60], names)}")
    indices = []
    for choice in choices:
        if choice.name not in decisions:
            raise InputError(f"{where}: field 'decisions' lacks {choice.name!r}")
        operation = decisions[choice.name]
        if operation not in choice.candidates:
            reason = unknown("operation", str(operation)[:60], choice.candidates)
            raise InputError(f"{where}: field 'decisions', {choice.name!r}: {reason}")
        indices.append(choice.candidates.index(operation))
    return Architecture(space, tuple(indices))


Estimator = Callable[[Sequence[Query]], list[Mapping[str, float]]]
"""From queries to the scores of each, by name. A larger score is better; `{}` is the answer to a query that failed."""
