"""Links between the pages lead somewhere, and no page is left out."""

import re

import pytest
from helpers.support import ROOT

DOCS = ROOT / "docs"
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)
MACHINE = re.compile(r"(?<![\w.])/(?:tmp|root|home|opt|work|usr)/")


def anchors(text):
    """The names by which the headings of a page are linked to."""
    titles = re.findall(r"^#+ (.*)$", CODE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links(page):
    for link in LINK.findall(CODE.sub("", page.read_text())):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", target):
            continue
        path = (page.parent / target) if target else page
        assert path.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(path.read_text()), f"{page.name}: {link}"


def test_every_page_is_in_a_table_of_contents():
    listed = set()
    for page in DOCS.glob("*.md"):
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(), re.M | re.S):
            listed |= {line.strip() for line in tree.splitlines() if line.strip() and not line.startswith(":")}
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert pages - listed == {"index"}


def public_modules():
    """Folders that export names, and modules whose names no folder exports. Commands are no library."""
    for path in sorted((ROOT / "oneshot").rglob("*.py")):
        folder = path.parent.relative_to(ROOT).as_posix().replace("/", ".")
        exports = folder != "oneshot" and "__all__" in (path.parent / "__init__.py").read_text()
        if folder.startswith("oneshot.cli") or folder == "oneshot" and path.stem.startswith("__"):
            continue
        if path.stem == "__init__" and exports:
            yield folder
        elif not path.stem.startswith("_") and not exports:
            yield f"{folder}.{path.stem}"


def test_every_public_module_is_in_the_api_reference():
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    found = list(public_modules())
    assert "oneshot.spaces" in found and "oneshot.search" in found
    missing = [name for name in found if f".. automodule:: {name}\n" not in pages]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_page_names_a_machine(page):
    assert not MACHINE.search(page.read_text())
