"""The preference page in HTML: no script, readable on a phone, every switch a labelled checkbox in a named group."""

from collections.abc import Sequence
from html import escape

from clarion_kit.vocabulary import Channel
from clarion_tracker.wish_page import NOTHING, WishPage, name

ON, SHOWN = "on", "shown"
_CHANNELS = {
    Channel.IOS: "iPhone and iPad",
    Channel.ANDROID: "Android",
    Channel.WEB: "Browser",
    Channel.SMS: "Text message",
    Channel.EMAIL: "Mail",
}
_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root{{color-scheme:light dark;--ground:#f6f7f9;--card:#fff;--ink:#1a2230;--line:#cdd4de;--accent:#1f5fd0;--on:#fff;--good:#1a7f4b}}
@media(prefers-color-scheme:dark){{:root{{--ground:#11151b;--card:#1a2029;--ink:#e6eaf0;--line:#3a4553;--accent:#7fb0ff;--on:#0d1420;--good:#4cc38a}}}}
body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere;background:var(--ground);
color:var(--ink)}}
h1{{font-size:1.5rem;line-height:1.3}}
fieldset{{margin:0 0 1rem;padding:.5rem 1rem;border:1px solid var(--line);border-radius:.5rem;min-width:0;background:var(--card)}}
legend{{font-weight:600;padding:0 .375rem;margin-left:-.375rem}}
label{{display:block;padding:.5rem 0;cursor:pointer}}
input{{width:1.25rem;height:1.25rem;margin:0 .5rem 0 0;vertical-align:middle;accent-color:var(--accent)}}
button{{font:inherit;font-weight:600;padding:.75rem 1.5rem;border:0;border-radius:.375rem;background:var(--accent);
color:var(--on);cursor:pointer}}
[role=status]{{border-left:4px solid var(--good);padding:.375rem .75rem;background:var(--card)}}
:focus-visible{{outline:3px solid;outline-offset:2px}}
</style></head><body><main><h1>{title}</h1>{content}</main></body></html>
"""


def show(page: WishPage, *, saved: bool) -> str:
    """The whole page. `saved`: say that the last change is kept."""
    parts = ['<p role="status">Saved.</p>'] if saved else []
    parts.append('<form method="post">')
    parts += [f'<input type="hidden" name="{SHOWN}" value="{escape(one)}">' for one in page.on]
    if page.channels:
        parts.append(_group("Where", [(c.slug, _CHANNELS[c], on) for c, on in page.channels.items()]))
    for group in page.groups:
        switches = [(name(group.category, channel), _CHANNELS[channel], on) for channel, on in group.switches.items()]
        parts.append(_group(_readable(group.category), switches))
    if page.always:
        named = ", ".join(escape(_readable(category)) for category in page.always)
        parts.append(f"<p>Always sent on the channels that are on: {named}.</p>")
    parts.append(_group("Everything", [(NOTHING, "Send me nothing at all", page.opted_out)]))
    parts.append('<button type="submit">Save</button></form>')
    return _FRAME.format(title="What you want to hear of", content="".join(parts))


def try_again() -> str:
    """Nothing was kept."""
    return _FRAME.format(title="Not yet", content="<p>That did not work just now. Please try again in a minute.</p>")


def _group(legend: str, switches: Sequence[tuple[str, str, bool]]) -> str:
    labels = "".join(
        f'<label><input type="checkbox" name="{ON}" value="{escape(value)}"{" checked" if on else ""}>'
        f"{escape(label)}</label>"
        for value, label, on in switches
    )
    return f"<fieldset><legend>{escape(legend)}</legend>{labels}</fieldset>"


def _readable(category: str) -> str:
    return category.replace("-", " ").replace("_", " ").capitalize()
