"""The roll-up of receipts into the factors that routes go by, done by one tracker at a time."""

import logging

from clarion_tracker.ports import Qualities
from clarion_tracker.quality import BEST_FACTOR, WINDOW, judge_all

log = logging.getLogger(__name__)


async def roll(qualities: Qualities) -> None:
    """Judge every account by its receipts, where that is this tracker's job now. Whoever took it over meanwhile judges the
    same receipts, so a late write does no harm. Raises Unavailable."""
    if not await qualities.mine():
        return
    standings = await qualities.standings()
    judged = judge_all(standings, await qualities.tallies(WINDOW))
    if not judged:
        return
    await qualities.put(judged)
    former = {(standing.lane_id, standing.country): standing.factor for standing in standings}
    for one in judged:
        if former.get((one.lane_id, one.country), BEST_FACTOR) != one.factor:
            log.warning(
                "an account's share of SMS traffic changed by its receipts",
                extra={
                    "lane_id": one.lane_id,
                    "country": one.country,
                    "factor": one.factor,
                    "delivered": one.measured.delivered,
                    "undelivered": one.measured.undelivered,
                },
            )
