"""A digest: several events of one kind become one notification."""

import asyncio
from collections import Counter

from clarion_client import Notification
from clarion_local.demo.scenes import cast
from clarion_local.demo.scenes.scene import Stage, Told, ends
from clarion_local.demo.shop import ACTIVITY, DIGEST_WINDOW

NAME = "digest"
_PEOPLE = ("Ana", "Bilal", "Chidi", "Dana", "Emil")


async def play(stage: Stage) -> Told:
    """Raises ClarionError, Late."""
    person = await stage.person("author", [cast.device("author")])

    def answered(who: str) -> Notification:
        return Notification(
            recipients=[person],
            category=ACTIVITY,
            template="answers",
            data={"who": who, "thread": "Which mug?"},
            digest_key="which-mug",
        )

    ids = await asyncio.gather(*(stage.send(f"digest:{n}", answered(who)) for n, who in enumerate(_PEOPLE)))
    ended = [await stage.ended(id_) for id_ in ids]
    found = Counter(ends(delivery) for one in ended for delivery in one.deliveries)
    sent, merged = found["sent"], found["suppressed: merged"]
    return Told(
        NAME,
        f"{len(_PEOPLE)} answers within {DIGEST_WINDOW.total_seconds():g} s became {sent} notification, {merged} were "
        "merged into it",
        len(_PEOPLE),
        {"sent": sent, "merged": merged},
        "" if (sent, merged) == (1, len(_PEOPLE) - 1) else f"one of them should have gone for all: {dict(found)}",
    )
