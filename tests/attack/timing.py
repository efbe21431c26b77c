"""Whether time tells an unknown key from a wrong secret, asked through the real token call.

Judged by the area under the ROC curve: the chance that a sample of one kind took longer than one of the other. 0.5: nothing
is told. With 3,000 samples of each kind chance alone strays from it by 0.0075 (one standard deviation); 0.03 is four of them.
"""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from random import Random

import grpc

from clarion.auth.v1 import auth_service_pb2 as auth

from .calls import ask
from .finding import Finding, Size
from .forging import ISSUE_TOKEN
from .stage import Stage

NAME = "timing"
SAMPLES = {Size.SHORT: 30, Size.FULL: 3_000}
LEAST_AUC, MOST_AUC = 0.47, 0.53
WARM_UP = 50


async def attack(stage: Stage, size: Size) -> Finding:
    """One call at a time, kinds in random order. The short form compares answers and judges no time."""
    random = stage.random(NAME)
    key = await stage.operator.apps.create_key(stage.victim.name, ["status:read"])
    await stage.operator.apps.revoke_key(key.key.app_key)
    kinds = {
        "unknown_key": lambda: auth.IssueTokenRequest(app_key=_key(random), app_secret=_secret(random)),
        "wrong_secret": lambda: auth.IssueTokenRequest(app_key=stage.victim.app_key, app_secret=_secret(random)),
        "revoked_key": lambda: auth.IssueTokenRequest(app_key=key.key.app_key, app_secret=key.app_secret),
    }
    order = [kind for kind in kinds for _ in range(SAMPLES[size])]
    random.shuffle(order)
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    told: set[tuple[grpc.StatusCode, str, str]] = set()
    async with stage.gateway_channel() as channel:
        for number, kind in enumerate((*order[:WARM_UP], *order)):
            request = kinds[kind]().SerializeToString()
            began = time.perf_counter()
            answer = await ask(channel, ISSUE_TOKEN, request)
            if number >= WARM_UP:
                seconds[kind].append(time.perf_counter() - began)
            told.add((answer.code, answer.text, str(answer.metadata)))
    areas = {kind: area(seconds["wrong_secret"], seconds[kind]) for kind in ("unknown_key", "revoked_key")}
    escapes = [f"timing: answers differ: {sorted(map(str, told))}"] if len(told) != 1 else []
    if size is Size.FULL:
        escapes += [
            f"timing: {kind} against wrong_secret: AUC {auc:.3f}"
            for kind, auc in areas.items()
            if not LEAST_AUC <= auc <= MOST_AUC
        ]
    notes = {f"auc_{kind}": round(auc, 4) for kind, auc in areas.items()}
    notes |= {f"median_us_{kind}": round(sorted(taken)[len(taken) // 2] * 1e6) for kind, taken in seconds.items()}
    return Finding(NAME, len(order), escapes, notes)


def area(these: Sequence[float], those: Sequence[float]) -> float:
    """Area under the ROC curve: the share of pairs in which one of `those` is the larger, ties by halves."""
    ordered = sorted(those)
    larger = sum(len(ordered) - (bisect_left(ordered, one) + bisect_right(ordered, one)) / 2 for one in these)
    return larger / (len(these) * len(those))


def _key(random: Random) -> str:
    return f"ck_{random.randbytes(10).hex()}"


def _secret(random: Random) -> str:
    return f"cs_{random.randbytes(32).hex()[:43]}"
