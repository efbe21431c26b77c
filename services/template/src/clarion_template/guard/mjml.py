"""MJML to HTML, through mrml. Only for the guarded child: deep nesting ends the process that compiles it."""

import mrml

from clarion_template.source.lexer import SourceFault
from clarion_template.source.marks import MARK, mark, unmark


def to_html(source: str) -> str:
    """HTML with the constructs of the MJML source. Files are never included (`mj-include`).

    Raises SourceFault for what is no MJML, and for a construct that it would drop, with its line.
    """
    marked = mark(source)
    options = mrml.ParserOptions(include_loader=mrml.noop_loader())
    try:
        html: str = mrml.to_html(marked.text, options).content
    except OSError as error:
        raise SourceFault(0, f"is no MJML: {str(error)[:200]}") from None
    kept = {int(found) for found in MARK.findall(html)}
    for number, construct in enumerate(marked.constructs):
        if number not in kept:
            raise SourceFault(
                marked.lines[number],
                f"MJML drops {construct[:64]!r}: between elements it stands in <mj-raw>, and no measure can vary",
            )
    return unmark(html, marked)
