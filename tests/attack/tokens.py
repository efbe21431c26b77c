"""Altered, forged and mistaken tokens, each brought to the public port: all are refused, in one text."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import grpc

from clarion_gateway.tokens import TokenIssuer
from clarion_kit.errors import DomainError, ErrorReason

from .calls import ask, bearer
from .finding import Finding, Size
from .forging import Mint, honest_token
from .mutations import Mutation, look_alikes, mutations
from .stage import Stage

NAME = "token_mutations"
LIST_CATEGORIES = "/clarion.category.v1.CategoryService/ListCategories"
"""Any token will do for it: what is refused here is refused for the token alone."""
TRIES = {Size.SHORT: 800, Size.FULL: 10_500}
UNSENDABLE = {Size.SHORT: 100, Size.FULL: 500}
"""With characters that no header carries."""
WIDTH = 16


async def attack(stage: Stage, size: Size) -> Finding:
    """Distinct texts only; before and after, the token that they were made from is good. Raises PermissionError where it is
    not."""
    random = stage.random(NAME)
    good = await honest_token(stage, stage.attacker.app_key, stage.attacker.app_secret)
    another = await honest_token(stage, stage.victim.app_key, stage.victim.app_secret)
    mint = Mint.of(stage)
    escapes: list[str] = []
    kinds: Counter[str] = Counter()
    made = _distinct(mutations(good, another, mint, random), TRIES[size], {good, another})
    async with stage.gateway_channel() as channel:
        await _require_good(channel, good)
        waiting = iter(made)

        async def work() -> None:
            for kind, text in waiting:
                kinds[kind] += 1
                answer = await ask(channel, LIST_CATEGORIES, b"", bearer(text))
                told = (answer.code, answer.text, dict(answer.metadata))
                if told != (grpc.StatusCode.UNAUTHENTICATED, "not authenticated", {}) or answer.responses:
                    escapes.append(f"token: {kind}: answered {answer.code.name} {answer.text!r}: {text[:400]}")

        async with asyncio.TaskGroup() as group:
            for _ in range(WIDTH):
                group.create_task(work())
        await _require_good(channel, good)
    unsendable = _distinct(look_alikes(good, random), UNSENDABLE[size], {good})
    issuer = TokenIssuer(mint.keys, timedelta(minutes=15))
    escapes += [f"token: {kind}: verified" for kind, text in unsendable if not _refused(issuer, text)]
    kinds.update(kind for kind, _ in unsendable)
    return Finding(
        NAME, len(made) + len(unsendable), escapes, {kind.replace(" ", "_"): count for kind, count in kinds.items()}
    )


def _distinct(source: Iterator[Mutation], count: int, not_these: set[str]) -> list[Mutation]:
    seen = set(not_these)

    def fresh() -> Iterator[Mutation]:
        for kind, text in source:
            if text not in seen and text == text.strip():
                seen.add(text)
                yield kind, text

    return list(islice(fresh(), count))


def _refused(issuer: TokenIssuer, text: str) -> bool:
    try:
        issuer.verify(text)
    except DomainError as refused:
        return refused.reason is ErrorReason.UNAUTHENTICATED
    return False


async def _require_good(channel: grpc.aio.Channel, token: str) -> None:
    answer = await ask(channel, LIST_CATEGORIES, b"", bearer(token))
    if answer.code is not grpc.StatusCode.OK:
        raise PermissionError(f"the unchanged token is no good: {answer.code.name} {answer.text}")
