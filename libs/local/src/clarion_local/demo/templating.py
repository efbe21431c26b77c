"""The shop's templates, as they ship under `templates/`.

A JSON file holds one template: `bodies` by locale in the JSON form of `clarion.types.v1.Content`. Mails that look the
same in every language share a layout: an HTML file whose `[[words]]` are filled from the `words` of each body.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

from google.protobuf import json_format

from clarion.types.v1.content_pb2 import Content
from clarion_client import JsonValue

NAMES = ("one-time-code", "order-update", "promotion", "answers")
_MARK = re.compile(r"\[\[([a-z_]+)\]\]")


@dataclass(frozen=True, slots=True)
class ShopTemplate:
    """A template as `client.templates.put` takes it."""

    name: str
    default_locale: str
    bodies: Mapping[str, Content]
    sample_data: Mapping[str, JsonValue]


def shop_templates() -> list[ShopTemplate]:
    """All templates of the shop."""
    return [_read(name) for name in NAMES]


def filled(layout: str, words: Mapping[str, str]) -> str:
    """A layout with its words. Raises ValueError for a mark without a word, and for a word without a mark."""
    marks = set(_MARK.findall(layout))
    if odd := sorted(marks ^ words.keys()):
        raise ValueError(f"marks and words differ: {', '.join(odd)}")
    return _MARK.sub(lambda mark: words[mark[1]], layout)


def _read(name: str) -> ShopTemplate:
    folder = files(__package__).joinpath("templates")
    document = json.loads(folder.joinpath(f"{name}.json").read_text())
    layout = folder.joinpath(document["layout"]).read_text() if "layout" in document else None
    bodies: dict[str, Content] = {}
    for locale, body in document["bodies"].items():
        words = body.pop("words", {})
        content = bodies[locale] = json_format.ParseDict(body, Content())
        if layout is not None:
            content.mail.html = filled(layout, words)
    return ShopTemplate(document["name"], document["default_locale"], bodies, document["sample_data"])
