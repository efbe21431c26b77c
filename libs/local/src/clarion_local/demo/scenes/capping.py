"""A cap: four offers to one person, three a day allowed."""

import asyncio
from collections import Counter

from clarion_client import Content, Mail, Notification
from clarion_kit.vocabulary import Gate, Verdict
from clarion_local.demo.scenes import cast
from clarion_local.demo.scenes.scene import Stage, Told, ends
from clarion_local.demo.shop import MARKETING, OFFERS_A_DAY

NAME = "cap"
_OFFERS = OFFERS_A_DAY + 1


async def play(stage: Stage) -> Told:
    """Played again, for somebody else, when the rate limiter was too slow to be asked: then caps are open, and the delivery's
    gate record says so. Raises ClarionError, Late."""
    handed_in = 0
    for person in ("fan", "second-fan", "third-fan"):
        ids = await _offers(stage, person)
        handed_in += len(ids)
        ended = [await stage.ended(id_) for id_ in ids]
        if not await _unchecked(stage, ids):
            break
    found = Counter(ends(delivery) for one in ended for delivery in one.deliveries)
    sent, capped = found["sent"], found["suppressed: capped"]
    return Told(
        NAME,
        f"{_OFFERS} offers to one person on one day: {sent} went, {capped} stopped by the cap of {OFFERS_A_DAY} a day",
        handed_in,
        {"sent": sent, "capped": capped},
        "" if (sent, capped) == (OFFERS_A_DAY, 1) else f"{OFFERS_A_DAY} of {_OFFERS} should have gone: {dict(found)}",
    )


async def _offers(stage: Stage, name: str) -> list[str]:
    person = await stage.person(name, [cast.mailbox(name)])
    offers = [Content(mail=Mail(subject=f"Offer {n} of today", text="20 % off.")) for n in range(1, _OFFERS + 1)]
    return await asyncio.gather(
        *(
            stage.send(f"cap:{name}:{n}", Notification(recipients=[person], category=MARKETING, content=offer))
            for n, offer in enumerate(offers)
        )
    )


async def _unchecked(stage: Stage, notification_ids: list[str]) -> bool:
    explained = [await stage.client.explain(notification_id=id_) for id_ in notification_ids]
    return any(
        (Gate(gate.gate), Verdict(gate.verdict)) == (Gate.CAPS, Verdict.PASS_UNCHECKED)
        for answer in explained
        for explanation in answer.explanations
        for gate in explanation.gates
    )
