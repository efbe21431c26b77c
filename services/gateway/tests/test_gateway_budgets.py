"""SMS budgets at the edge."""

from datetime import UTC, datetime
from typing import cast
from zoneinfo import ZoneInfo

import pytest

from clarion.budget.v1 import budget_service_pb2 as pb

from .gateway_samples import Client, Gateway, refusal

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY, MONTH = pb.BUDGET_PERIOD_DAY, pb.BUDGET_PERIOD_MONTH


async def put(client: Client, budget: pb.SmsBudget, app: str = "") -> pb.SmsBudgetState:
    request = pb.PutSmsBudgetRequest(app=app or client.app, budget=budget)
    answer: pb.PutSmsBudgetResponse = await client.budgets.PutSmsBudget(request, metadata=client.auth)
    return answer.state


async def listed(client: Client) -> list[pb.SmsBudgetState]:
    request = pb.ListSmsBudgetsRequest(app=client.app)
    answer: pb.ListSmsBudgetsResponse = await client.budgets.ListSmsBudgets(request, metadata=client.auth)
    return list(answer.budgets)


async def delete(client: Client, country: str) -> bool:
    request = pb.DeleteSmsBudgetRequest(app=client.app, country=country)
    answer: pb.DeleteSmsBudgetResponse = await client.budgets.DeleteSmsBudget(request, metadata=client.auth)
    return answer.deleted


async def test_budget_is_stored_with_its_defaults_and_its_period_in_its_zone(gateway: Gateway) -> None:
    operator = await gateway.app("admin")

    seoul = await put(operator, pb.SmsBudget(country="KR", segments=500, period=DAY, time_zone="Asia/Seoul"))
    others = await put(operator, pb.SmsBudget(segments=10, period=MONTH, stops_critical=True, near_limit_percent=50))

    assert (seoul.budget.near_limit_percent, others.budget.time_zone) == (80, "UTC")
    assert (seoul.used, seoul.remaining, seoul.near_limit) == (0, 500, False)
    ends = seoul.period_end.ToDatetime(UTC).astimezone(ZoneInfo("Asia/Seoul"))
    assert (ends.hour, ends.minute) == (0, 0)
    assert seoul.period_start.ToDatetime(UTC) <= datetime.now(UTC) < ends
    assert others.period_start.ToDatetime(UTC).day == others.period_end.ToDatetime(UTC).day == 1
    assert await listed(operator) == [others, seoul]


async def test_put_again_changes_the_limit_and_keeps_what_was_used(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    await put(operator, pb.SmsBudget(country="KR", segments=500, period=DAY))
    await gateway.pool.execute("UPDATE ledger.sms_budget SET used = 400 WHERE app_id = $1", operator.app_id)

    raised = await put(operator, pb.SmsBudget(country="KR", segments=1_000, period=DAY))
    lowered = await put(operator, pb.SmsBudget(country="KR", segments=300, period=DAY))
    monthly = await put(operator, pb.SmsBudget(country="KR", segments=300, period=MONTH))

    assert (raised.used, raised.remaining, raised.near_limit) == (400, 600, False)
    assert (lowered.used, lowered.remaining, lowered.near_limit) == (400, 0, True)
    assert (monthly.used, monthly.remaining) == (0, 300)


async def test_budget_is_deleted_once(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    await put(operator, pb.SmsBudget(country="KR", segments=1, period=DAY))

    assert await delete(operator, "KR") is True
    assert await delete(operator, "KR") is False
    assert await listed(operator) == []


@pytest.mark.parametrize(
    ("faulty", "fields"),
    [
        (pb.SmsBudget(country="kr", period=DAY), ["budget.country"]),
        (pb.SmsBudget(country="XX", period=DAY), ["budget.country"]),
        (pb.SmsBudget(prefix="+82", period=DAY), ["budget.prefix"]),
        (pb.SmsBudget(prefix="82101234", period=DAY), ["budget.prefix"]),
        (pb.SmsBudget(prefix="0", period=DAY), ["budget.prefix"]),
        (pb.SmsBudget(country="KR", prefix="82", period=DAY), ["budget.prefix"]),
        (pb.SmsBudget(segments=10**12 + 1, period=DAY), ["budget.segments"]),
        (pb.SmsBudget(), ["budget.period"]),
        (pb.SmsBudget(period=cast("pb.BudgetPeriod.ValueType", 9)), ["budget.period"]),
        (pb.SmsBudget(period=DAY, time_zone="KST-9"), ["budget.time_zone"]),
        (pb.SmsBudget(period=DAY, near_limit_percent=101), ["budget.near_limit_percent"]),
    ],
)
async def test_faulty_budget_is_refused(gateway: Gateway, faulty: pb.SmsBudget, fields: list[str]) -> None:
    operator = await gateway.app("admin")

    assert (await refusal(put(operator, faulty))).fields == fields


async def test_app_has_a_bounded_number_of_budgets(gateway: Gateway) -> None:
    operator = await gateway.app("admin")
    await gateway.pool.execute(
        """INSERT INTO ledger.sms_budget (period_start, period_end, segments, app_id, period, near_limit_percent, shadow,
                                          stops_critical, country, prefix, time_zone)
           SELECT now(), now() + interval '1 day', 1, $1, 1, 80, false, false, '', n::text, 'UTC'
           FROM generate_series(1, 300) n""",
        operator.app_id,
    )

    refused = await refusal(put(operator, pb.SmsBudget(country="KR", segments=1, period=DAY)))
    replaced = await put(operator, pb.SmsBudget(prefix="300", segments=7, period=DAY))

    assert refused.fields == ["budget"]
    assert replaced.budget.segments == 7
    assert len(await listed(operator)) == 300


async def test_budgets_need_the_scope_admin_and_a_known_app(gateway: Gateway) -> None:
    sender, operator = await gateway.app("send:sms", "status:read"), await gateway.app("admin")
    budget = pb.SmsBudget(country="KR", segments=1, period=DAY)

    assert (await refusal(put(sender, budget))).reason == "SCOPE_MISSING"
    assert (await refusal(listed(sender))).reason == "SCOPE_MISSING"
    assert (await refusal(delete(sender, "KR"))).reason == "SCOPE_MISSING"
    assert (await refusal(put(operator, budget, app="nobody"))).reason == "APP_NOT_FOUND"
