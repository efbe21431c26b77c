"""A cap: four offers to one person, three a day allowed."""

import asyncio
from collections import Counter

from clarion_client import Content, Mail, Notification
from clarion_local.demo.scenes import cast
from clarion_local.demo.scenes.scene import Stage, Told, ends
from clarion_local.demo.shop import MARKETING, OFFERS_A_DAY

NAME = "cap"
_OFFERS = OFFERS_A_DAY + 1


async def play(stage: Stage) -> Told:
    """Raises ClarionError, Late."""
    person = await stage.person("fan", [cast.mailbox("fan")])
    offers = [Content(mail=Mail(subject=f"Offer {n} of today", text="20 % off.")) for n in range(1, _OFFERS + 1)]
    ids = await asyncio.gather(
        *(
            stage.send(f"cap:{n}", Notification(recipients=[person], category=MARKETING, content=offer))
            for n, offer in enumerate(offers)
        )
    )
    ended = [await stage.ended(id_) for id_ in ids]
    found = Counter(ends(delivery) for one in ended for delivery in one.deliveries)
    sent, capped = found["sent"], found["suppressed: capped"]
    return Told(
        NAME,
        f"{_OFFERS} offers to one person on one day: {sent} went, {capped} stopped by the cap of {OFFERS_A_DAY} a day",
        _OFFERS,
        {"sent": sent, "capped": capped},
        "" if (sent, capped) == (OFFERS_A_DAY, 1) else f"{OFFERS_A_DAY} of {_OFFERS} should have gone: {dict(found)}",
    )
