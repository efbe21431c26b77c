"""The receipt job on fakes: what each row becomes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Counter

from clarion_channels.engine.outcomes import receipt_keys
from clarion_channels.outcome import Outcome
from clarion_channels.outcome import Result as SendResult
from clarion_channels.receipt import News, ProviderReceipt
from clarion_kit.vocabulary import DeliveryState, Receipt
from clarion_tracker.adapters import smpp
from clarion_tracker.inbound import (
    GIVE_UP_AFTER,
    LEAST_TRIES,
    OTHER_FORMS_AFTER,
    InboundRow,
    Reading,
    Result,
    keys,
    postpone,
)
from clarion_tracker.receipts import ReceiptJob

from .tracker_samples import (
    APP,
    READ_SMPP,
    FakeAddresses,
    FakeDeliveries,
    FakeInbound,
    FakeSegments,
    a_persons_message,
    address_of,
    count,
    deliver_sm,
    tracked,
)

LANE = 7
NOW = datetime(2026, 3, 1, tzinfo=UTC)
DELIVERY = UUID(int=1)
OTHER = UUID(int=2)


def row(body: bytes, *, id_: int = 1, tries: int = 1, age: timedelta = timedelta(0)) -> InboundRow:
    return InboundRow(id_, APP, LANE, smpp.KIND, body, NOW, tries, age)


def sent(id_: str = "a1", state: DeliveryState = DeliveryState.SENT) -> FakeDeliveries:
    deliveries = FakeDeliveries()
    deliveries.add(DELIVERY, f"{LANE}:{id_}", state)
    return deliveries


def _job(
    inbound: FakeInbound,
    deliveries: FakeDeliveries,
    counter: Counter,
    segments: FakeSegments | None = None,
    addresses: FakeAddresses | None = None,
) -> ReceiptJob:
    return ReceiptJob(
        inbound, deliveries, segments or FakeSegments(), addresses or FakeAddresses(), {smpp.KIND: READ_SMPP}, counter
    )


def only_reports(reading: Reading) -> tuple[ProviderReceipt, ...]:
    assert isinstance(reading, tuple)
    return reading


async def results(
    deliveries: FakeDeliveries,
    *rows: InboundRow,
    segments: FakeSegments | None = None,
    addresses: FakeAddresses | None = None,
) -> list[Result | None]:
    inbound = FakeInbound(*rows)
    counter, _ = tracked()
    await _job(inbound, deliveries, counter, segments, addresses).apply_batch()
    by_row = {one.inbound_id: one.result for one in inbound.settled}
    return [by_row[one.inbound_id] for one in rows]


@pytest.mark.parametrize(
    ("stat", "receipt"),
    [
        ("DELIVRD", Receipt.DELIVERED),
        ("UNDELIV", Receipt.UNDELIVERED),
        ("EXPIRED", Receipt.UNDELIVERED),
        ("DELETED", Receipt.UNDELIVERED),
        ("REJECTD", Receipt.UNDELIVERED),
    ],
)
async def test_final_receipt_is_applied(stat: str, receipt: Receipt) -> None:
    deliveries = sent()

    assert await results(deliveries, row(deliver_sm("A1", stat))) == [Result.APPLIED]
    assert deliveries.receipt == {DELIVERY: receipt}


@pytest.mark.parametrize("stat", ["ENROUTE", "ACCEPTD", "UNKNOWN"])
async def test_intermediate_receipt_changes_nothing(stat: str) -> None:
    deliveries = sent()

    assert await results(deliveries, row(deliver_sm("a1", stat))) == [Result.INTERMEDIATE]
    assert deliveries.receipt == {}


async def test_repeated_receipt_is_unchanged() -> None:
    deliveries = sent()
    await results(deliveries, row(deliver_sm("a1")))

    assert await results(deliveries, row(deliver_sm("a1"))) == [Result.UNCHANGED]


@pytest.mark.parametrize("order", [("UNDELIV", "DELIVRD"), ("DELIVRD", "UNDELIV")])
async def test_delivered_outranks_undelivered_in_either_order(order: tuple[str, str]) -> None:
    deliveries = sent()
    for stat in order:
        await results(deliveries, row(deliver_sm("a1", stat)))

    assert deliveries.receipt == {DELIVERY: Receipt.DELIVERED}


async def test_both_receipts_in_one_batch_leave_the_higher() -> None:
    deliveries = sent()

    await results(deliveries, row(deliver_sm("a1"), id_=1), row(deliver_sm("a1", "UNDELIV"), id_=2))

    assert deliveries.receipt == {DELIVERY: Receipt.DELIVERED}


async def test_receipt_before_the_record_of_its_send_is_tried_again() -> None:
    deliveries = FakeDeliveries()
    assert await results(deliveries, row(deliver_sm("a1"))) == [None]

    deliveries.add(DELIVERY, f"{LANE}:a1")
    assert await results(deliveries, row(deliver_sm("a1"), tries=2)) == [Result.APPLIED]


@pytest.mark.parametrize("state", [DeliveryState.LEASED, DeliveryState.RETRY_WAIT])
async def test_receipt_of_a_delivery_in_flight_is_tried_again(state: DeliveryState) -> None:
    assert await results(sent(state=state), row(deliver_sm("a1"))) == [None]


async def test_receipt_of_a_delivery_that_ended_otherwise_is_over() -> None:
    assert await results(sent(state=DeliveryState.CANCELLED), row(deliver_sm("a1"))) == [Result.NOT_SENT]


async def test_receipt_that_finds_nothing_for_fifteen_minutes_is_unknown() -> None:
    late = row(deliver_sm("a1"), tries=LEAST_TRIES, age=GIVE_UP_AFTER)

    assert await results(FakeDeliveries(), late) == [Result.UNKNOWN]


async def test_receipt_that_waited_out_an_outage_still_gets_its_tries() -> None:
    assert await results(FakeDeliveries(), row(deliver_sm("a1"), tries=1, age=timedelta(hours=3))) == [None]


def test_tries_are_spread_over_the_quarter_of_an_hour() -> None:
    delays = [postpone(row(b"", tries=tries)).delay.total_seconds() for tries in range(1, 15)]

    assert delays[:4] == [1, 2, 4, 8]
    assert max(delays) == 120
    assert delays == sorted(delays)


async def test_id_in_decimal_finds_the_message_kept_in_hexadecimal() -> None:
    deliveries = sent("1a")

    assert await results(deliveries, row(deliver_sm("26"), age=OTHER_FORMS_AFTER)) == [Result.APPLIED]


async def test_exact_id_wins_over_another_messages_id_in_another_form() -> None:
    deliveries = sent("26")
    deliveries.add(OTHER, f"{LANE}:1a")

    await results(deliveries, row(deliver_sm("26"), age=OTHER_FORMS_AFTER))

    assert deliveries.receipt == {DELIVERY: Receipt.DELIVERED}


async def test_receipt_that_overtook_its_record_is_not_given_to_another_message() -> None:
    deliveries = FakeDeliveries()
    deliveries.add(OTHER, f"{LANE}:1a")
    assert await results(deliveries, row(deliver_sm("26"))) == [None]

    deliveries.add(DELIVERY, f"{LANE}:26")
    await results(deliveries, row(deliver_sm("26"), tries=2, age=timedelta(seconds=1)))

    assert deliveries.receipt == {DELIVERY: Receipt.DELIVERED}


async def test_same_id_on_another_lane_is_another_message() -> None:
    deliveries = FakeDeliveries()
    deliveries.add(OTHER, f"{LANE + 1}:a1")

    assert await results(deliveries, row(deliver_sm("a1"))) == [None]


async def test_a_persons_message_and_garbage_end_at_once() -> None:
    found = await results(FakeDeliveries(), row(a_persons_message(), id_=1), row(b"\0\0\0\x11garbage", id_=2))

    assert found == [Result.MESSAGE, Result.MALFORMED]


async def test_what_the_database_cannot_store_stops_at_the_edge() -> None:
    assert READ_SMPP(deliver_sm("a\0b")) is Result.MALFORMED


async def test_every_end_is_counted_and_a_postponed_row_is_not() -> None:
    deliveries = sent()
    counter, metrics = tracked()
    rows = [row(deliver_sm("a1"), id_=1), row(deliver_sm("b2"), id_=2), row(b"x", id_=3)]

    await _job(FakeInbound(*rows), deliveries, counter).apply_batch()

    assert [count(metrics, "receipt", result) for result in Result] == [
        1.0 if result in (Result.APPLIED, Result.MALFORMED) else 0.0 for result in Result
    ]


async def test_job_takes_batch_after_batch_until_it_is_stopped() -> None:
    def rows(first: int) -> list[InboundRow]:
        return [row(a_persons_message(), id_=first + number) for number in range(700)]

    counter, _ = tracked()
    inbound = FakeInbound(*rows(0))
    await _job(inbound, FakeDeliveries(), counter).run(lambda: False)
    assert len(inbound.settled) == 700

    inbound = FakeInbound(*rows(0))
    await _job(inbound, FakeDeliveries(), counter).run(lambda: True)
    assert len(inbound.settled) == 500


@pytest.mark.parametrize(
    ("submitted", "receipted"),
    [("1A", "26"), ("26", "1a"), ("0000001A", "26"), ("1A", "0000000026"), ("ABC-1", "abc-1"), ("0", "0000")],
)
def test_key_of_the_engine_is_among_the_keys_looked_for(submitted: str, receipted: str) -> None:
    kept, *_ = receipt_keys(LANE, SendResult(Outcome.ACCEPTED, receipt_ids=(submitted, "77", "78")))
    [read] = only_reports(READ_SMPP(deliver_sm(receipted)))

    assert kept in keys(LANE, read)


SEGMENTS = {DELIVERY: [f"{LANE}:s{n}" for n in range(3)]}


@given(st.permutations([("s0", "DELIVRD"), ("s1", "DELIVRD"), ("s2", "DELIVRD"), ("s0", "ENROUTE"), ("s1", "DELIVRD")]))
async def test_message_is_delivered_when_its_last_segment_is_in_whatever_order(order: list[tuple[str, str]]) -> None:
    deliveries, segments = sent("s0"), FakeSegments(SEGMENTS)
    missing = {id_ for id_, _ in order}

    for id_, stat in order:
        await results(deliveries, row(deliver_sm(id_, stat)), segments=segments)
        missing -= {id_} if stat == "DELIVRD" else set()
        assert (deliveries.receipt.get(DELIVERY) is Receipt.DELIVERED) == (not missing)


@given(st.permutations(["s0", "s1", "s2"]), st.sampled_from(["s0", "s1", "s2"]))
async def test_one_lost_segment_makes_the_message_undelivered(order: list[str], lost: str) -> None:
    deliveries, segments = sent("s0"), FakeSegments(SEGMENTS)

    for id_ in order:
        await results(deliveries, row(deliver_sm(id_, "UNDELIV" if id_ == lost else "DELIVRD")), segments=segments)

    assert deliveries.receipt == {DELIVERY: Receipt.UNDELIVERED}


async def test_segment_that_arrives_after_all_makes_the_message_delivered() -> None:
    deliveries, segments = sent("s0"), FakeSegments(SEGMENTS)

    for id_, stat in (("s0", "DELIVRD"), ("s1", "EXPIRED"), ("s2", "DELIVRD"), ("s1", "DELIVRD")):
        await results(deliveries, row(deliver_sm(id_, stat)), segments=segments)

    assert deliveries.receipt == {DELIVERY: Receipt.DELIVERED}


async def test_receipt_of_one_segment_is_noted_until_the_others_come() -> None:
    found = await results(sent("s0"), row(deliver_sm("s1")), segments=FakeSegments(SEGMENTS))

    assert found == [Result.SEGMENT]


@given(st.lists(st.sampled_from(["DELIVRD", "UNDELIV", "EXPIRED", "REJECTD", "ENROUTE", "ACCEPTD"]), max_size=8))
async def test_highest_receipt_stays_whatever_the_order_and_however_often(stats: list[str]) -> None:
    deliveries = sent()
    ranks = [2 if stat == "DELIVRD" else 1 for stat in stats if stat not in ("ENROUTE", "ACCEPTD")]

    for stat in stats:
        await results(deliveries, row(deliver_sm("a1", stat)))

    assert deliveries.receipt.get(DELIVERY, 0) == max(ranks, default=0)


@pytest.mark.parametrize(
    ("text", "result", "news"),
    [
        ("STOP", Result.STOPPED, News.STOPPED),
        (" stop\n", Result.STOPPED, News.STOPPED),
        ("Start", Result.STARTED, News.STARTED),
        ("help", Result.HELP, None),
        ("Please do not stop", Result.MESSAGE, None),
    ],
)
async def test_words_of_people_reach_their_number(text: str, result: Result, news: News | None) -> None:
    addresses = FakeAddresses()

    found = await results(FakeDeliveries(), row(a_persons_message(text)), addresses=addresses)

    assert found == [result]
    told = [(one.app_id, one.address, one.news, one.at) for one in addresses.told]
    assert told == ([(APP, "+821012345678", news, NOW)] if news is not None else [])


async def test_word_from_a_number_that_nobody_can_know_is_over() -> None:
    found = await results(FakeDeliveries(), row(a_persons_message("STOP")), addresses=FakeAddresses("+821012345678"))

    assert found == [Result.UNKNOWN]


async def test_words_wait_while_they_cannot_be_told_and_receipts_do_not() -> None:
    addresses = FakeAddresses()
    addresses.away = True
    late = row(a_persons_message("STOP"), id_=1, tries=LEAST_TRIES, age=GIVE_UP_AFTER)
    failed = row(deliver_sm("a1", "UNDELIV"), id_=2)

    assert await results(sent(), late, failed, addresses=addresses) == [None, Result.APPLIED]


@pytest.mark.parametrize(
    ("stat", "err", "news"),
    [
        ("DELIVRD", "000", News.ARRIVED),
        ("UNDELIV", "001", News.DEAD),
        ("UNDELIV", "027", News.SOFT_BOUNCE),
        ("EXPIRED", "000", None),
        ("REJECTD", "997", None),
    ],
)
async def test_carriers_word_about_a_number_reaches_it(stat: str, err: str, news: News | None) -> None:
    addresses = FakeAddresses()

    await results(sent(), row(deliver_sm("a1", stat, err)), addresses=addresses)

    assert [(one.address, one.news) for one in addresses.told] == ([(address_of(DELIVERY), news)] if news else [])
