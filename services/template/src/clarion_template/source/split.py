"""Splits a source into what never varies and what does: literals, and the constructs that fill slots.

Concatenated, the literals and the rendered slots are what the source renders to. A version's literals are encoded
once (mail frames), a render only makes the slots.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from clarion_template.source.lexer import Kind, Segment, SourceFault, line_of

Part = str | int
"""A literal, or the index of a slot."""

MAX_SLOTS = 1_000
"""Varying parts of one source; cutting and compiling as many takes 13 ms."""

_OPENERS = {"if": "endif", "for": "endfor", "with": "endwith"}


@dataclass(frozen=True, slots=True)
class Split:
    """`parts` in order; `slots[i]` is the source that gives slot i, `assigns` says that some set a name."""

    parts: tuple[Part, ...]
    slots: tuple[str, ...]
    assigns: bool


def split(source: str, found: Sequence[Segment]) -> Split:
    """The parts of a source whose segments are `found`. Raises SourceFault for unbalanced blocks and too many slots."""
    parts: list[Part] = []
    slots: list[str] = []
    assigned = ""
    assigns = False
    open_blocks: list[str] = []
    block_start = 0
    for segment in found:
        tag = segment.tokens[0].text if segment.kind is Kind.TAG and segment.tokens else ""
        if open_blocks:
            if tag in _OPENERS:
                open_blocks.append(_OPENERS[tag])
            elif tag == open_blocks[-1]:
                open_blocks.pop()
                if not open_blocks:
                    slots.append(assigned + source[block_start : segment.end])
                    parts.append(len(slots) - 1)
                    assigned = ""
            elif tag.startswith("end"):
                raise SourceFault(line_of(source, segment.start), f"unexpected {tag}")
        elif segment.kind is Kind.TEXT:
            if parts and isinstance(parts[-1], str):
                parts[-1] += segment.text
            else:
                parts.append(segment.text)
        elif segment.kind is Kind.OUTPUT:
            slots.append(assigned + segment.text)
            parts.append(len(slots) - 1)
            assigned = ""
        elif tag == "set":
            assigned += segment.text
            assigns = True
        elif tag in _OPENERS:
            open_blocks.append(_OPENERS[tag])
            block_start = segment.start
        else:
            raise SourceFault(line_of(source, segment.start), f"unexpected {tag}")
    if open_blocks:
        raise SourceFault(line_of(source, block_start), f"{open_blocks[0]} is missing")
    if len(slots) > MAX_SLOTS:
        raise SourceFault(0, f"more than {MAX_SLOTS} varying parts")
    return Split(tuple(parts), tuple(slots), assigns)
