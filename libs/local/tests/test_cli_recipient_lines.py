import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clarion_client import addresses
from clarion_local.cli.recipient_lines import (
    MAX_LINE_BYTES,
    MAX_REASON,
    BadHeader,
    Record,
    from_csv,
    from_ndjson,
    lines,
)


def ndjson(content: bytes) -> list[Record]:
    return list(from_ndjson(lines(io.BytesIO(content))))


def table(content: bytes) -> list[Record]:
    return list(from_csv(lines(io.BytesIO(content))))


def ids(records: list[Record]) -> list[str]:
    return [record.recipient.recipient_id for record in records if record.recipient is not None]


def test_ndjson_line_is_protobufs_json_form() -> None:
    (record,) = ndjson(
        b'{"recipient_id": "u1", "timeZone": "Asia/Seoul", "addresses": [{"sms": {"e164": "+821012345678"}}]}'
    )

    assert record.recipient is not None
    assert record.recipient.time_zone == "Asia/Seoul"
    assert record.recipient.addresses == [addresses.phone("+821012345678")]


def test_bad_lines_keep_their_number_and_text_and_stop_nothing() -> None:
    records = ndjson(b'{"recipient_id": "u1"}\n\n{"recipient_id": \n{"recipientId": "u2"}\n{"locale": "en"}\n')

    assert ids(records) == ["u1", "u2"]
    assert [(record.line, record.text) for record in records if record.recipient is None] == [
        (3, '{"recipient_id": \n'),
        (5, '{"locale": "en"}\n'),
    ]
    assert records[3].reason == "recipient_id is empty"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"recipient_id": "u\xff"}', "not UTF-8"),
        (b'{"recipient_id": "u\x00"}', "holds a NUL"),
        (b'{"recipient_id": "u", "nick": "x"}', "nick"),
        (b"[1, 2]", ""),
    ],
)
def test_unusable_ndjson_line_is_bad(line: bytes, reason: str) -> None:
    (record,) = ndjson(line)

    assert record.recipient is None
    assert reason in record.reason
    assert 0 < len(record.reason) <= MAX_REASON


def test_line_over_the_limit_is_skipped_without_its_text() -> None:
    records = ndjson(b'{"recipient_id": "' + b"x" * (2 * MAX_LINE_BYTES) + b'"}\n{"recipient_id": "u2"}\n')

    assert ids(records) == ["u2"]
    assert (records[0].line, records[0].text, records[1].line) == (1, "", 2)
    assert str(MAX_LINE_BYTES) in records[0].reason


def test_byte_order_mark_is_no_content() -> None:
    assert ids(ndjson(b'\xef\xbb\xbf{"recipient_id": "u1"}')) == ["u1"]
    assert ids(table(b"\xef\xbb\xbfrecipient_id\nu1\n")) == ["u1"]


def test_csv_columns_may_be_some_and_in_any_order() -> None:
    (record,) = table(
        b"mail,recipient_id,country,phone,ios_token,android_token\r\na@example.com, u1 ,KR,+821012345678,abab,tok\r\n"
    )

    assert record.recipient is not None
    assert (record.recipient.recipient_id, record.recipient.country) == ("u1", "KR")
    assert list(record.recipient.addresses) == [
        addresses.phone("+821012345678"),
        addresses.mail("a@example.com"),
        addresses.ios("abab"),
        addresses.android("tok"),
    ]


def test_empty_csv_cells_make_no_address() -> None:
    (record,) = table(b"recipient_id,phone,mail\nu1,,\n")

    assert record.recipient is not None
    assert not record.recipient.addresses


def test_bad_csv_rows_keep_their_first_line_and_all_their_text() -> None:
    records = table(b'recipient_id,locale\nu1,"en\nUS"\nu2\n,en\nu3,"a"b\n\nu4,de\n')

    assert ids(records) == ["u1", "u4"]
    bad = [record for record in records if record.recipient is None]
    assert [(record.line, record.text) for record in bad] == [(4, "u2\n"), (5, ",en\n"), (6, 'u3,"a"b\n')]
    assert bad[0].reason == "1 columns, the header has 2"


def test_unclosed_quote_swallows_a_bounded_piece() -> None:
    rows = b"".join(b"u%d\n" % number for number in range(60_000))

    records = table(b'recipient_id\n"open\n' + rows)

    assert "field larger than" in records[0].reason
    assert len(records[0].text) < 200_000
    assert ids(records)[-1] == "u59999"


@pytest.mark.parametrize(
    "header", [b"", b"locale,phone", b"recipient_id,nick", b"recipient_id,mail,mail", b'"recipient_id']
)
def test_header_without_the_columns_of_recipients_is_refused(header: bytes) -> None:
    with pytest.raises(BadHeader):
        table(header + b"\nu1\n")


def test_records_are_read_as_they_are_asked_for() -> None:
    taken = 0

    class Endless(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            nonlocal taken
            taken += 1
            return b'{"recipient_id": "u%d"}\n' % taken

    records: Iterator[Record] = from_ndjson(lines(Endless()))
    next(records)
    next(records)

    assert taken == 2


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(content: bytes) -> None:
    for record in ndjson(content) + _csv_with_header(content):
        assert (record.recipient is None) is bool(record.reason)


def _csv_with_header(content: bytes) -> list[Record]:
    return table(b"recipient_id,mail\n" + content)
