"""The text of a mail, made of its HTML.

The standard library's parser reads in order and builds no tree: a tree builder would move what stands between the rows of a table,
as loops do, out of it (HTML, "foster parenting").
"""

import re
from html.parser import HTMLParser

from clarion_template.source.marks import MARK, mark, unmark

_SILENT = frozenset({"head", "script", "style", "template", "title", "noscript"})
_BLOCKS = frozenset(
    {
        *("address", "article", "aside", "blockquote", "center", "div", "dl", "dt", "dd", "fieldset", "footer", "form"),
        *("header", "main", "nav", "ol", "pre", "section", "table", "tr", "ul"),
    }
)
_SPACED = frozenset({"h1", "h2", "h3", "h4", "h5", "h6", "p"})
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)
_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n{3,}")
_ALONE = re.compile(r"^(?:qzk[0-9]{5}z ?)+$", re.MULTILINE)
"""Lines of constructs alone. Where all are tags they take the empty lines before them away, else a loop would repeat them."""


def from_html(source: str) -> str:
    """A source of plain text with the constructs of an HTML source, in their order. Raises SourceFault."""
    marked = mark(source)
    reader = _Reader()
    reader.feed(marked.text)
    reader.close()
    text = reader.text()
    alone: set[int] = set()
    for line in _ALONE.findall(text):
        numbers = {int(number) for number in MARK.findall(line)}
        if all(marked.constructs[number].startswith("{%") for number in numbers):
            alone |= numbers
    return unmark(text, marked, trimmed=alone)


class _Reader(HTMLParser):
    """Words, line breaks, and where links lead."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._silent: list[str] = []
        """Open elements from the first silent one on."""
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in _VOID:
            if not self._silent:
                self._void(tag, values)
            return
        if self._silent or tag in _SILENT or _HIDDEN.search(values.get("style") or ""):
            self._silent.append(tag)
            return
        self._space(tag)
        if tag == "li":
            self._pieces.append("\n- ")
        elif tag in ("td", "th"):
            self._pieces.append(" ")
        elif tag == "a":
            self._links.append((values.get("href") or "", len(self._pieces)))

    def handle_endtag(self, tag: str) -> None:
        if self._silent:
            if tag in self._silent:
                while self._silent.pop() != tag:
                    pass
            return
        if tag == "a" and self._links:
            target, since = self._links.pop()
            if target and not target.startswith(("#", "mailto:")) and "".join(self._pieces[since:]).strip() != target:
                self._pieces.append(f" ({target})")
        self._space(tag)

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._pieces.append(re.sub(r"\s+", " ", data))

    def _space(self, tag: str) -> None:
        if tag in _SPACED:
            self._pieces.append("\n\n")
        elif tag in _BLOCKS:
            self._pieces.append("\n")

    def _void(self, tag: str, values: dict[str, str | None]) -> None:
        if tag == "br":
            self._pieces.append("\n")
        elif tag == "hr":
            self._pieces.append("\n---\n")
        elif tag == "img" and values.get("alt"):
            self._pieces.append(f" {values['alt']} ")

    def text(self) -> str:
        """Blanks joined, at most one empty line between two others."""
        lines = [_BLANKS.sub(" ", line).strip() for line in "".join(self._pieces).split("\n")]
        return _LINES.sub("\n\n", "\n".join(lines)).strip() + "\n"
