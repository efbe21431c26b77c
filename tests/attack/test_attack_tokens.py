"""Tokens that no door may take, in the short form; and the figures of the timing attack."""

from itertools import islice
from random import Random

import pytest

from . import timing, tokens
from .finding import Size
from .forging import Mint, honest_token
from .mutations import mutations
from .stage import Stage


@pytest.mark.asyncio(loop_scope="session")
async def test_no_altered_or_forged_token_is_taken(stage: Stage) -> None:
    found = await tokens.attack(stage, Size.SHORT)

    assert "\n".join(found.escapes) == ""
    assert found.tries == tokens.TRIES[Size.SHORT] + tokens.UNSENDABLE[Size.SHORT]


@pytest.mark.asyncio(loop_scope="session")
async def test_same_seed_damages_a_token_in_the_same_ways(stage: Stage) -> None:
    good = await honest_token(stage, stage.attacker.app_key, stage.attacker.app_secret)
    signed_anew = {"stranger's key", "key brought along", "another algorithm", "signed by a stranger"}

    def drawn() -> list[tuple[str, str]]:
        made = islice(mutations(good, good, Mint.of(stage), Random(7)), 600)
        return [
            one
            for one in made
            if one[0] not in signed_anew and one[0] not in ("mistaken", "public key as a secret", "key id")
        ]

    assert drawn() == drawn()


@pytest.mark.asyncio(loop_scope="session")
async def test_unknown_key_wrong_secret_and_revoked_key_get_one_answer(stage: Stage) -> None:
    found = await timing.attack(stage, Size.SHORT)

    assert "\n".join(found.escapes) == ""
    assert found.tries == 3 * timing.SAMPLES[Size.SHORT]


@pytest.mark.parametrize(
    ("these", "those", "auc"),
    [
        ([1, 2, 3], [4, 5, 6], 1.0),
        ([4, 5, 6], [1, 2, 3], 0.0),
        ([1, 2], [1, 2], 0.5),
        ([1], [1], 0.5),
        ([1, 3], [2], 0.5),
    ],
)
def test_area_is_the_share_of_pairs_in_which_the_second_is_larger(
    these: list[float], those: list[float], auc: float
) -> None:
    assert timing.area(these, those) == auc
