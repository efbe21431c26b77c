"""Our ledger against the sandbox's: whatever one side has and the other has not is found."""

from clarion_local.demo.matching import Mismatch, SentDelivery, TakenMessage, compare

DELIVERIES = [SentDelivery("d1", "apns", "A-1"), SentDelivery("d2", "smtp", "Ok: queued as 1F")]
MESSAGES = [TakenMessage(1, "apns", "a-1"), TakenMessage(2, "smtp", "1F")]


def test_equal_records_match() -> None:
    assert compare(DELIVERIES, MESSAGES).count == 0


def test_ids_match_in_the_form_either_side_writes_them() -> None:
    deliveries = [SentDelivery("d1", "webpush", "xyz"), SentDelivery("d2", "smpp", "00a1,00a2")]
    messages = [TakenMessage(1, "webpush", "https://127.0.0.1:1/wp-message/xyz"), TakenMessage(2, "smpp", "00A1,00A2")]
    assert compare(deliveries, messages).count == 0


def test_sent_delivery_without_a_message_is_missing() -> None:
    assert compare([*DELIVERIES, SentDelivery("d3", "fcm", "gone")], MESSAGES) == Mismatch(missing=("d3",))


def test_message_without_a_sent_delivery_is_foreign() -> None:
    assert compare(DELIVERIES, [*MESSAGES, TakenMessage(3, "fcm", "who")]) == Mismatch(foreign=(3,))


def test_same_id_of_another_provider_is_another_message() -> None:
    found = compare([SentDelivery("d1", "apns", "7")], [TakenMessage(1, "fcm", "7")])
    assert found == Mismatch(missing=("d1",), foreign=(1,))


def test_message_taken_twice_under_one_id_is_doubled() -> None:
    assert compare(DELIVERIES, [*MESSAGES, TakenMessage(3, "apns", "A-1")]) == Mismatch(doubled=(3,))


def test_duplicate_under_a_new_id_is_foreign() -> None:
    again = TakenMessage(3, "apns", "a-2", "token", "digest")
    assert compare(DELIVERIES, [*MESSAGES, again]) == Mismatch(foreign=(3,))


def test_two_deliveries_that_name_one_message_share_it() -> None:
    assert compare([*DELIVERIES, SentDelivery("d3", "apns", "A-1")], MESSAGES) == Mismatch(shared=("d3",))


def test_without_an_id_destination_and_content_are_counted() -> None:
    deliveries = [
        SentDelivery("d1", "smtp", "", "a@b.example", "x"),
        SentDelivery("d2", "smtp", "", "a@b.example", "x"),
    ]
    messages = [TakenMessage(n, "smtp", str(n), "a@b.example", "x") for n in (1, 2)]
    assert compare(deliveries, messages).count == 0


def test_without_an_id_one_message_too_few_or_too_many_is_found() -> None:
    deliveries = [
        SentDelivery("d1", "smtp", "", "a@b.example", "x"),
        SentDelivery("d2", "smtp", "", "a@b.example", "y"),
    ]
    messages = [TakenMessage(n, "smtp", str(n), "a@b.example", "x") for n in (1, 2)]
    assert compare(deliveries, messages) == Mismatch(missing=("d2",), foreign=(2,))


def test_message_matched_by_id_does_not_stand_in_for_another_delivery() -> None:
    deliveries = [SentDelivery("d1", "fcm", "m1"), SentDelivery("d2", "fcm", "", "token", "x")]
    assert compare(deliveries, [TakenMessage(1, "fcm", "m1", "token", "x")]) == Mismatch(missing=("d2",))


def test_count_is_the_sum_of_both_directions() -> None:
    assert Mismatch(("d1",), ("d2",), (3,), (4, 5)).count == 5
