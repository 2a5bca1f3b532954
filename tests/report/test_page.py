"""A page that can be read by any reader and holds nothing but what it was given."""

from html.parser import HTMLParser

from oneshot.report.page import Heading, Listing, Picture, Table, Text, markdown, printable, to_html, to_markdown

EVIL = "<script>alert('x')</script> | **b** [l](http://e.org) `c` & \"q\" \x00\ud800 $x$\n# not a heading"
VOID = {"meta", "img", "wbr", "source"}


class Reader(HTMLParser):
    """Every element with its attributes, and the text; balanced, or it says no."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


BLOCKS = [
    Heading(EVIL, 2),
    Text(EVIL),
    Listing([EVIL, "1. not a number", "- not a list"]),
    Table(EVIL, (EVIL, "n"), [(EVIL, "1"), ("b", EVIL)], frozenset({1}), frozenset({(0, 1)})),
    Table("more", ("a", "b"), [("a", "b")], folded=True),
    Heading("Cells", 3),
    Picture("cells-0", b"<svg/>", EVIL, EVIL, (300, 200), EVIL, b"<svg />"),
]


def test_texts_stay_texts_in_html():
    reader = Reader(to_html(EVIL, BLOCKS))
    names = {tag for tag, _ in reader.elements}
    assert not names & {"script", "b", "link", "iframe"} and {"h1", "h2", "table", "details", "img"} <= names
    # title, h1, contents, h2, p, li, head, two cells, the picture's heading and caption
    assert reader.text.count("<script>alert('x')</script>") == 11
    assert reader.text.count("<strong>") == 0 and ("strong", {}) in reader.elements
    assert "\x00" not in reader.text and to_html(EVIL, BLOCKS).encode()


def test_nothing_is_fetched():
    for tag, attributes in Reader(to_html("t", BLOCKS)).elements:
        for name, value in attributes.items():
            assert name not in ("onload", "onclick"), (tag, name)
            if name == "href":
                assert value.startswith("#part-")
            if name in ("src", "srcset"):
                assert value.startswith("data:image/svg+xml;base64,")
    assert "url(" not in to_html("t", []) and "@import" not in to_html("t", []) and "://" not in to_html("t", [])


def test_who_does_not_see_it_hears_it():
    elements = Reader(to_html("t", BLOCKS)).elements
    assert ("html", {"lang": "en"}) in elements
    assert [attributes["alt"] for tag, attributes in elements if tag == "img"] == [printable(EVIL)]
    assert [attributes["scope"] for tag, attributes in elements if tag == "th"] == ["col"] * 2 + ["row"] * 2 + [
        "col"
    ] * 2 + ["row"]
    assert all("aria-label" in attributes for tag, attributes in elements if tag == "table")


def test_texts_stay_texts_in_markdown():
    text = to_markdown(EVIL, BLOCKS, "pictures")
    lines = text.split("\n")
    assert "<script" not in text and "[l](" not in text and "\x00" not in text and text.encode()
    assert [line for line in lines if line.startswith("#")] == [
        f"# {markdown(EVIL)}",
        f"## {markdown(EVIL)}",
        "### Cells",
        f"#### {markdown(EVIL)}",
    ]
    table = [line for line in lines if line.startswith("| ")][:4]
    assert len(table) == 4 and table[1] == "| --- | ---: |"
    for line in table:  # a cell ends at a | that no \ stands before
        assert line.replace("\\|", "").count("|") == 3
    assert table[2].endswith("| **1** |")
    assert "- 1\\. not a number" in lines and "- \\- not a list" in lines
    assert f"![{markdown(EVIL)}](pictures/cells-0.svg)" in lines


def test_markdown():
    assert markdown("a_b") == "a\\_b" and markdown("a\nb") == "a b"
    assert markdown("www.e.org") == "www&#46;e.org" and markdown("\\|") == "\\\\\\|"


def test_contents_link_to_every_heading():
    blocks = [Heading("A", 2), Text("x"), Heading("A1", 3), Heading("A2", 3), Heading("B", 2), Heading("B1", 3)]
    elements = Reader(to_html("t", blocks)).elements
    links = [attributes["href"] for tag, attributes in elements if tag == "a"]
    targets = [f"#{attributes['id']}" for _, attributes in elements if "id" in attributes]
    assert links == targets == ["#part-1", "#part-1-1", "#part-1-2", "#part-2", "#part-2-1"]
    text = to_markdown("t", blocks, "pictures")
    assert "- [A](#part-1)\n  - [A1](#part-1-1)\n  - [A2](#part-1-2)\n- [B](#part-2)\n  - [B1](#part-2-1)" in text
    assert all(f'<a id="{link[1:]}"></a>\n\n#' in text for link in links)
    assert "<nav" not in to_html("t", blocks[:2]) and "Contents" not in to_markdown("t", blocks[:2], "pictures")


def test_pictures_scale_and_have_a_narrow_form():
    page = to_html("t", BLOCKS)
    elements = Reader(page).elements
    assert [attributes["media"] for tag, attributes in elements if tag == "source"] == ["(max-width: 40rem)"]
    assert "figure img { display: block; max-width: 100%; height: auto }" in page and "max-width: none } }" not in page
