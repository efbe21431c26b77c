"""CategoryService."""

from datetime import timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from clarion.category.v1 import category_service_pb2 as pb
from clarion.category.v1.category_service_pb2_grpc import CategoryServiceServicer
from clarion_gateway.limits import check_retry
from clarion_kit.rpc.caller import current_caller
from clarion_kit.validate import Faults
from clarion_kit.vocabulary import Channel
from clarion_ledger import admin
from clarion_ledger.config import DEFAULT_MAX_ATTEMPTS, DEFAULT_TIME_TO_LIVE
from clarion_ledger.db import Pool
from clarion_ledger.scheduling import read_window

MAX_TIME_TO_LIVE = timedelta(days=30)
MAX_CAP_WINDOW = timedelta(days=31)
MAX_GATHERING = timedelta(days=7)


class CategoryRpc(CategoryServiceServicer):
    """The categories of the caller's app."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def PutCategory(
        self,
        request: pb.PutCategoryRequest,
        context: grpc.aio.ServicerContext[pb.PutCategoryRequest, pb.PutCategoryResponse],
    ) -> pb.PutCategoryResponse:
        category = request.category
        faults = Faults()
        with faults.within("category."):
            _check(category, faults)
        faults.raise_if_any()
        if not category.HasField("time_to_live"):
            category.time_to_live.FromTimedelta(DEFAULT_TIME_TO_LIVE)
        category.max_attempts = category.max_attempts or DEFAULT_MAX_ATTEMPTS
        await admin.put_category(self._pool, current_caller().app_id, category)
        return pb.PutCategoryResponse(category=category)

    async def ListCategories(
        self,
        request: pb.ListCategoriesRequest,
        context: grpc.aio.ServicerContext[pb.ListCategoriesRequest, pb.ListCategoriesResponse],
    ) -> pb.ListCategoriesResponse:
        return pb.ListCategoriesResponse(categories=await admin.categories(self._pool, current_caller().app_id))


def _check(category: pb.Category, faults: Faults) -> None:
    known = {channel.value for channel in Channel}
    faults.name("name", category.name)
    faults.require("guarantee", category.guarantee in pb.Guarantee.values(), "unknown")
    faults.require("channels", set(category.channels) <= known, "unknown channel")
    faults.require("max_attempts", category.max_attempts <= 50, "at most 50")
    if category.HasField("time_to_live"):
        _duration(faults, "time_to_live", category.time_to_live, MAX_TIME_TO_LIVE, "1 second to 30 days")
    faults.require("cap_action", category.cap_action in pb.GateAction.values(), "unknown")
    faults.require("quiet_hours_action", category.quiet_hours_action in pb.GateAction.values(), "unknown")
    if category.HasField("digest_window"):
        _duration(faults, "digest_window", category.digest_window, MAX_GATHERING, "1 second to 7 days")
    if category.HasField("dedupe_window"):
        _duration(faults, "dedupe_window", category.dedupe_window, MAX_GATHERING, "1 second to 7 days")
    if category.HasField("send_window"):
        faults.require("send_window", not category.critical, "not for critical categories")
        read_window(faults, category.send_window)
    with faults.within("retry."):
        check_retry(category.retry, faults)
    faults.require("caps", len(category.caps) <= 8, "at most 8")
    for position, cap in enumerate(category.caps):
        with faults.within(f"caps[{position}]."):
            faults.require("channel", cap.channel in known | {0}, "unknown channel")
            faults.require("limit", 1 <= cap.limit <= 10_000, "1 to 10,000")
            faults.require("scope", cap.scope in pb.CapScope.values(), "unknown")
            faults.require("period", cap.period in pb.CapPeriod.values(), "unknown")
            if not cap.period:
                _duration(faults, "window", cap.window, MAX_CAP_WINDOW, "1 second to 31 days")
            else:
                faults.require("window", not cap.HasField("window"), "a window or a period, not both")


def _duration(faults: Faults, field: str, given: Duration, most: timedelta, allowed: str) -> None:
    try:
        within = timedelta(seconds=1) <= given.ToTimedelta() <= most
    except (ValueError, OverflowError):
        within = False
    faults.require(field, within, allowed)
