"""BudgetService."""

import re
from datetime import datetime

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from clarion.budget.v1 import budget_service_pb2 as pb
from clarion.budget.v1.budget_service_pb2_grpc import BudgetServiceServicer
from clarion_gateway import places
from clarion_gateway.rpc.fields import app_id_of
from clarion_kit.number_hint import MAX_PREFIX_DIGITS
from clarion_kit.validate import Faults
from clarion_ledger import admin, budgets
from clarion_ledger.budgets import Period, SmsBudget, SmsBudgetState
from clarion_ledger.db import Pool

MAX_SEGMENTS = 10**12
DEFAULT_TIME_ZONE = "UTC"
DEFAULT_NEAR_LIMIT_PERCENT = 80
_PREFIX = re.compile(rf"[1-9][0-9]{{0,{MAX_PREFIX_DIGITS - 1}}}")


class BudgetRpc(BudgetServiceServicer):
    """SMS budgets of apps."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def PutSmsBudget(
        self,
        request: pb.PutSmsBudgetRequest,
        context: grpc.aio.ServicerContext[pb.PutSmsBudgetRequest, pb.PutSmsBudgetResponse],
    ) -> pb.PutSmsBudgetResponse:
        faults = Faults()
        faults.name("app", request.app)
        with faults.within("budget."):
            _check(request.budget, faults)
        faults.raise_if_any()
        app_id = await admin.app_id_of(self._pool, request.app)
        return pb.PutSmsBudgetResponse(state=_state(await budgets.put(self._pool, app_id, _budget(request.budget))))

    async def ListSmsBudgets(
        self,
        request: pb.ListSmsBudgetsRequest,
        context: grpc.aio.ServicerContext[pb.ListSmsBudgetsRequest, pb.ListSmsBudgetsResponse],
    ) -> pb.ListSmsBudgetsResponse:
        app_id = await app_id_of(self._pool, request.app)
        return pb.ListSmsBudgetsResponse(budgets=[_state(one) for one in await budgets.of_app(self._pool, app_id)])

    async def DeleteSmsBudget(
        self,
        request: pb.DeleteSmsBudgetRequest,
        context: grpc.aio.ServicerContext[pb.DeleteSmsBudgetRequest, pb.DeleteSmsBudgetResponse],
    ) -> pb.DeleteSmsBudgetResponse:
        faults = Faults()
        faults.name("app", request.app)
        _check_place(request.country, request.prefix, faults)
        faults.raise_if_any()
        app_id = await admin.app_id_of(self._pool, request.app)
        deleted = await budgets.delete(self._pool, app_id, request.country, request.prefix)
        return pb.DeleteSmsBudgetResponse(deleted=deleted)


def _check(budget: pb.SmsBudget, faults: Faults) -> None:
    _check_place(budget.country, budget.prefix, faults)
    faults.require("segments", budget.segments <= MAX_SEGMENTS, f"at most {MAX_SEGMENTS:,}")
    faults.require("period", budget.period in (pb.BUDGET_PERIOD_DAY, pb.BUDGET_PERIOD_MONTH), "DAY or MONTH")
    known = budget.time_zone in places.time_zones() | {""}
    faults.require("time_zone", known, 'must be an IANA time zone, e.g. "Asia/Seoul"')
    faults.require("near_limit_percent", budget.near_limit_percent <= 100, "at most 100")


def _check_place(country: str, prefix: str, faults: Faults) -> None:
    known = country in places.countries() | {""}
    faults.require("country", known, 'must be an ISO 3166-1 alpha-2 code, e.g. "KR"')
    digits = not prefix or _PREFIX.fullmatch(prefix) is not None
    faults.require("prefix", digits, f"must be 1-{MAX_PREFIX_DIGITS} leading digits of an E.164 number")
    faults.require("prefix", not (country and prefix), "not together with a country")


def _budget(budget: pb.SmsBudget) -> SmsBudget:
    return SmsBudget(
        segments=budget.segments,
        period=Period(budget.period),
        time_zone=budget.time_zone or DEFAULT_TIME_ZONE,
        country=budget.country,
        prefix=budget.prefix,
        shadow=budget.shadow,
        stops_critical=budget.stops_critical,
        near_limit_percent=budget.near_limit_percent or DEFAULT_NEAR_LIMIT_PERCENT,
    )


def _state(state: SmsBudgetState) -> pb.SmsBudgetState:
    budget = state.budget
    return pb.SmsBudgetState(
        budget=pb.SmsBudget(
            country=budget.country,
            prefix=budget.prefix,
            segments=budget.segments,
            period=pb.BudgetPeriod.ValueType(budget.period),
            time_zone=budget.time_zone,
            shadow=budget.shadow,
            stops_critical=budget.stops_critical,
            near_limit_percent=budget.near_limit_percent,
        ),
        used=state.used,
        remaining=state.remaining,
        period_start=_timestamp(state.period_start),
        period_end=_timestamp(state.period_end),
        near_limit=state.near_limit,
    )


def _timestamp(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
