"""Who is no person: requests that say so, and links that are followed as no person follows them. Pure.

An open or a click by somebody is a hint, never a proof: the proxies of Apple Mail Privacy fetch pixels whether a person
opens or not, and cannot be told apart. Those of Gmail and Yahoo fetch when a person opens, and count.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from clarion_kit.links import ClickLink
from clarion_tracker.ports import Request

TOO_SOON = timedelta(seconds=1)
"""A mail that was handed over more recently cannot have been read."""
BURST = timedelta(seconds=1)
"""Nobody follows two links of one message within this time."""

_AGENT_CHARACTERS = 512
_AGENT = re.compile(
    r"(?<!cu)bot\b|crawl|spider|scanner|preview|headless|phantomjs|curl/|wget/|python|go-http-client|libwww|okhttp|java/|"
    r"apache-httpclient|node-fetch|axios/|facebookexternalhit|whatsapp/|urlscan|barracuda|mimecast|proofpoint|fortiguard|"
    r"trendmicro|zscaler",
    re.IGNORECASE,
)
_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_AHEAD = ("prefetch", "preview", "prerender")


def says_so(request: Request) -> bool:
    """Whether a request says that no person made it: by its method, its agent, or as one that is ahead of a person."""
    if request.method == "HEAD" or _AGENT.search(request.user_agent, 0, _AGENT_CHARACTERS):
        return True
    for name in _PURPOSES:
        purpose = request.headers.get(name)
        if purpose is not None and any(word in purpose[:_AGENT_CHARACTERS].lower() for word in _AHEAD):
            return True
    return False


@dataclass(slots=True)
class Click:
    """Clicks on one link of a delivery that wait for their judgement; moments are monotonic seconds."""

    link: ClickLink
    first_at: float
    last_at: float
    times: int = 1
    machine: bool = False


def judge(click: Click, others: Iterable[Click]) -> None:
    """Flag a click and those on other links of its delivery where they came in a burst."""
    for other in others:
        if other.link != click.link and abs(click.last_at - other.last_at) <= BURST.total_seconds():
            other.machine = click.machine = True
