"""A page as blocks, and its two forms: HTML in one file, and Markdown. Every text is escaped here and nowhere else."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ..errors import printable

CSS = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b6570; --line: #d9dee3; --back: #ffffff; --card: #f5f7f9;
  --link: #0b5cad }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ec; --soft: #a3adb8; --line: #39424b; --back: #14181c;
  --card: #1e242a; --link: #7db8f0 } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1.25rem 4rem; background: var(--back); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif }
h1 { font-size: 1.75rem; line-height: 1.2; margin: .5rem 0 1rem }
h2 { font-size: 1.35rem; margin: 3rem 0 .75rem; padding-top: 1.25rem; border-top: 1px solid var(--line) }
h3 { font-size: 1.08rem; margin: 2rem 0 .5rem }
h4 { font-size: 1rem; margin: 1rem 0 .4rem; overflow-wrap: anywhere }
a { color: var(--link) }
nav { margin: 1rem 0; padding: .6rem 1rem; background: var(--card); border-radius: .5rem; width: fit-content;
  max-width: 100% }
nav p { margin: 0; font-weight: 600 }
nav ul { margin: .2rem 0; padding-left: 1.2rem }
p, li { max-width: 52rem; overflow-wrap: anywhere }
summary { color: var(--link); cursor: pointer }
.scroll { overflow-x: auto; margin: .75rem 0 }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .55rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
thead th { border-bottom: 2px solid var(--line); vertical-align: bottom; color: var(--soft); font-weight: 600 }
th.number, td.number { text-align: right }
td.number { white-space: nowrap }
tbody th, td { overflow-wrap: anywhere }
th:first-child { position: sticky; left: 0; background: var(--back) }
tbody th { font-weight: 500; min-width: 11rem }
.row { display: flex; flex-wrap: wrap; gap: 0 .5rem; align-items: flex-start }
figure { margin: .75rem 0 1.5rem; max-width: 100% }
figure .scroll { margin: 0; width: fit-content; max-width: 100%; padding: .5rem; background: #ffffff;
  border: 1px solid var(--line); border-radius: .5rem }
figure img { display: block; max-width: 100%; height: auto }
figcaption { color: var(--soft); font-size: .92rem; max-width: 52rem; margin-top: .4rem; overflow-wrap: anywhere }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem } th, td { padding: .3rem .5rem }
  tbody th { min-width: 9.5rem }
  figure .scroll { padding: .3rem } figure .narrow img { width: 28rem } }
@media print { body { max-width: none } h2 { break-after: avoid } figure, table { break-inside: avoid } }
"""
FRAME = 18  # pixels that a picture's frame adds to its width
SVG = "data:image/svg+xml;base64,"
BREAKS = r"(?<=[.=:/_])(?=[a-z])"  # where a long name may go on in the next line


@dataclass(frozen=True)
class Heading:
    """A heading.

    Args:
        text: What it says.
        level: 1 is the page's own; 2 and 3 are in the list of contents.
    """

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Args:
        text: What it says, not yet escaped.
    """

    text: str


@dataclass(frozen=True)
class Listing:
    """A list without numbers.

    Args:
        items: The text of each item, not yet escaped.
    """

    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table whose first column names its rows.

    Args:
        caption: Its name.
        columns: Their headings.
        rows: Their texts, one for each column.
        numbers: Columns that are aligned to the right.
        bold: Cells (row, column).
        folded: Whether it shows its caption alone until it is opened, where the form can do that.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    bold: frozenset[tuple[int, int]] = frozenset()
    folded: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Args:
        name: Of its file, [a-z0-9-].
        svg: The picture.
        text: What it shows, for readers who do not see it.
        caption: Below it.
        size: Width and height in CSS pixels.
        heading: Above it, "" for none.
        narrow: The same for a narrow screen, as an SVG file; empty where `svg` does for both.
    """

    name: str
    svg: bytes
    text: str
    caption: str
    size: tuple[int, int]
    heading: str = ""
    narrow: bytes = b""


Block = Heading | Text | Listing | Table | Picture


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """Write a page as one HTML file that needs nothing else: pictures inside, no script, nothing from a network.

    Args:
        title: The page's heading.
        blocks: What it holds, from top to bottom. Headings of level 2 and 3 are listed at the top, with links.

    Returns:
        The file's content.
    """
    anchors = _anchors(blocks)
    parts = [_html_contents(anchors, blocks)] if len(anchors) > 1 else []
    for pictures, own in groupby(enumerate(blocks), key=lambda pair: isinstance(pair[1], Picture)):
        text = "\n".join(_html(block, anchors.get(n, "")) for n, block in own)
        parts.append(f'<div class="row">\n{text}\n</div>' if pictures else text)
    body = "\n".join(parts)
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def to_markdown(title: str, blocks: Sequence[Block], folder: str) -> str:
    """Write a page as Markdown.

    Args:
        title: The page's heading.
        blocks: What it holds, from top to bottom. Headings of level 2 and 3 are listed at the top, with links.
        folder: Where the pictures are, relative to the file: `folder`/NAME.svg.

    Returns:
        The file's content.
    """
    anchors = _anchors(blocks)
    contents = []
    for n, name in anchors.items():
        heading = blocks[n]
        assert isinstance(heading, Heading)
        contents.append(f"{'  ' * (heading.level - 2)}- [{markdown(heading.text)}](#{name})")
    parts = [f"# {markdown(title)}", *(["\n".join(["Contents:", "", *contents])] if len(anchors) > 1 else [])]
    for n, block in enumerate(blocks):
        parts += [f'<a id="{anchors[n]}"></a>'] if len(anchors) > 1 and n in anchors else []
        parts.append(_markdown(block, folder))
    return "\n\n".join(parts) + "\n"


def _anchors(blocks: Sequence[Block]) -> dict[int, str]:
    """Place of each heading that the list of contents has -> what a link to it names: part-1, part-1-2."""
    anchors: dict[int, str] = {}
    part = section = 0
    for n, block in enumerate(blocks):
        if isinstance(block, Heading) and block.level == 2:
            part, section = part + 1, 0
            anchors[n] = f"part-{part}"
        elif isinstance(block, Heading) and block.level == 3:
            section += 1
            anchors[n] = f"part-{part}-{section}"
    return anchors


def _html_contents(anchors: Mapping[int, str], blocks: Sequence[Block]) -> str:
    """The list of contents: a list of parts, inside each a list of its sections."""
    text, deep = '<nav aria-label="Contents">\n<p>Contents</p>\n<ul>', 1
    for n, name in anchors.items():
        heading = blocks[n]
        assert isinstance(heading, Heading)
        if heading.level == 2:
            text += {1: "", 2: "</li>", 3: "</li></ul></li>"}[deep]
        else:
            text += {1: "", 2: "<ul>", 3: "</li>"}[deep]
        deep = 2 if heading.level == 2 or deep == 1 else 3
        text += f'\n<li><a href="#{name}">{_escape(heading.text)}</a>'
    return f"{text}{'</li></ul></li>' if deep == 3 else '</li>'}\n</ul>\n</nav>"


def markdown(text: str) -> str:
    """Escape a text, so that no Markdown reader takes it for anything else; on one line."""
    escaped = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", printable(text))
    for plain, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("://", ":&#47;/"), ("www.", "www&#46;")):
        escaped = escaped.replace(plain, entity)
    return escaped


def _escape(text: str) -> str:
    return html.escape(printable(text))


def _html(block: Block, anchor: str = "") -> str:
    match block:
        case Heading():
            name = f' id="{anchor}"' if anchor else ""
            return f"<h{block.level}{name}>{_escape(block.text)}</h{block.level}>"
        case Text():
            return f"<p>{_escape(block.text)}</p>"
        case Listing():
            return "<ul>\n" + "\n".join(f"<li>{_escape(item)}</li>" for item in block.items) + "\n</ul>"
        case Table():
            return _html_table(block)
        case Picture():
            return _html_picture(block)


def _html_picture(picture: Picture) -> str:
    """A figure that is never wider than the page; on a narrow screen it shows the narrow picture."""
    width, height = picture.size
    wide, narrow = (base64.b64encode(svg).decode() for svg in (picture.svg, picture.narrow))
    image = f'<img width="{width}" height="{height}" alt="{_escape(picture.text)}" src="{SVG}{wide}">'
    if picture.narrow:
        image = f'<picture class="narrow"><source media="(max-width: 40rem)" srcset="{SVG}{narrow}">{image}</picture>'
    heading = f"<h4>{_escape(picture.heading)}</h4>\n" if picture.heading else ""
    return (
        f'<figure style="width: {width + FRAME}px">\n{heading}<div class="scroll" tabindex="0">{image}</div>\n'
        f"<figcaption>{_escape(picture.caption)}</figcaption>\n</figure>"
    )


def _html_table(table: Table) -> str:
    classes = [' class="number"' if n in table.numbers else "" for n in range(len(table.columns))]
    head = "".join(f'<th scope="col"{c}>{_escape(t)}</th>' for c, t in zip(classes, table.columns, strict=True))
    rows = []
    for y, row in enumerate(table.rows):
        cells = [f'<th scope="row">{re.sub(BREAKS, "<wbr>", _escape(row[0]))}</th>']
        for x, cell in enumerate(row[1:], 1):
            text = _escape(cell)
            cells.append(f"<td{classes[x]}>{f'<strong>{text}</strong>' if (y, x) in table.bold else text}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    label = _escape(table.caption)
    text = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">\n<table aria-label="{label}">\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>\n</table>\n</div>"
    )
    return f"<details>\n<summary>{label}</summary>\n{text}\n</details>" if table.folded else text


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Heading():
            return f"{'#' * block.level} {markdown(block.text)}"
        case Text():
            return _line(block.text)
        case Listing():
            return "\n".join(f"- {_line(item)}" for item in block.items)
        case Table():
            return _markdown_table(block)
        case Picture():
            heading = f"#### {markdown(block.heading)}\n\n" if block.heading else ""
            return f"{heading}![{markdown(block.text)}]({folder}/{block.name}.svg)\n\n{_line(block.caption)}"


def _markdown_table(table: Table) -> str:
    rule = ["---:" if n in table.numbers else "---" for n in range(len(table.columns))]
    lines = [[markdown(column) for column in table.columns], rule]
    for y, row in enumerate(table.rows):
        lines.append([f"**{markdown(c)}**" if (y, x) in table.bold else markdown(c) for x, c in enumerate(row)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _line(text: str) -> str:
    """A line of text that begins no list and no heading."""
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", markdown(text))
