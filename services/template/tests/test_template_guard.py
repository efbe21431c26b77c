import asyncio
from pathlib import Path

import pytest

from clarion_template.adapters.guard import GuardedChild
from clarion_template.guard.protocol import Request
from clarion_template.source.sheet import Failure, RenderFault


async def test_a_draft_is_rendered_in_the_child(guard: GuardedChild) -> None:
    assert await guard.render(Request("Hi {{ name }} é", False, {"name": "<b>"}, True)) == "Hi <b> é"
    assert await guard.render(Request("{{ name }}", True, {"name": "<b>"}, False)) == "&lt;b&gt;"


async def test_a_fault_comes_back_with_its_line(guard: GuardedChild) -> None:
    with pytest.raises(RenderFault) as refused:
        await guard.render(Request("\n{{ a.b }}", False, {"a": {}}, False))

    assert (refused.value.failure, refused.value.variables, refused.value.line) == (
        Failure.MISSING_VARIABLE,
        ("a.b",),
        2,
    )


BOMBS = [
    "{{ ('a' * 90000000)" + "|upper|lower" * 8 + "|length }}",
    "{% set a = x %}" + "{% set a = a ~ a %}" * 20 + "{{ a|length }}",
    "{% set a = x %}" + "{% set a = a|upper ~ a|lower %}" * 40 + "{{ a|length }}",
]


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_ends_only_the_child(guard: GuardedChild, bomb: str) -> None:
    before = guard.pid

    with pytest.raises(RenderFault) as refused:
        await guard.render(Request(bomb, False, {"x": "a" * 16_000}, False))

    assert refused.value.failure is Failure.TOO_LARGE
    assert await guard.render(Request("{{ 1 }}", False, {}, False)) == "1"
    assert guard.pid != before


async def test_a_source_that_is_slow_with_the_largest_data_is_refused(guard: GuardedChild) -> None:
    slow = "{{ x|list|sort|unique|list|length }}" * 400

    with pytest.raises(RenderFault) as refused:
        await guard.render(Request(slow, False, {"x": "ab"}, True))

    assert refused.value.failure is Failure.TOO_LARGE


async def test_a_source_that_prints_too_much_of_the_largest_data_is_refused(guard: GuardedChild) -> None:
    large = "{% for i in range(1000) %}" + "{{ x }}" * 9 + "{% endfor %}"

    with pytest.raises(RenderFault) as refused:
        await guard.render(Request(large, False, {"x": "ab"}, True))

    assert refused.value.failure is Failure.TOO_LARGE


async def test_what_the_daemon_knows_does_not_reach_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLARION_DATABASE_URL", "postgresql://canary")

    async with GuardedChild.running() as other:
        environment = await asyncio.to_thread(Path(f"/proc/{other.pid}/environ").read_bytes)

    assert b"canary" not in environment
    assert b"LC_ALL" in environment
