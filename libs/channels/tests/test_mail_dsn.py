from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clarion_channels.errortable import load
from clarion_channels.mail.dsn import DEAD_STATUSES, MAX_BYTES, Action, NotANotification, parse
from clarion_channels.mail.receipt import Malformed
from clarion_channels.outcome import Outcome
from clarion_channels.receipt import News, Source
from clarion_kit.vocabulary import Receipt

DELIVERY = UUID("0192f0c1-7a3b-7cde-8f01-23456789abcd")

# Of the shape that Postfix writes.
NOTIFICATION = f"""\
Return-Path: <>
Date: Thu, 1 Jan 2026 00:00:05 +0000 (UTC)
From: MAILER-DAEMON@mx.example.net (Mail Delivery System)
To: b+{DELIVERY.hex}@bounce.example.com
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4F2A.1767225605/mx.example.net"
Message-Id: <20260101000005.77@mx.example.net>

This is a MIME-encapsulated message.

--4F2A.1767225605/mx.example.net
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.example.net.

--4F2A.1767225605/mx.example.net
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Original-Envelope-Id: {DELIVERY}
Arrival-Date: Thu,  1 Jan 2026 00:00:01 +0000 (UTC)

Final-Recipient: rfc822; anna@example.org
Original-Recipient: rfc822;Anna@example.org
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; 550 5.1.1 <anna@example.org>: Recipient address
    rejected: User unknown

--4F2A.1767225605/mx.example.net
Content-Description: Undelivered Message
Content-Type: message/rfc822

Message-ID: <{DELIVERY}@example.com>
From: shop@example.com
To: anna@example.org
Subject: Hi
Content-Type: multipart/alternative; boundary="inner"

--inner
Message-ID: <forged@evil.example>

--inner--
--4F2A.1767225605/mx.example.net--
""".replace("\n", "\r\n").encode()


def with_line(before: str, after: str) -> bytes:
    changed = NOTIFICATION.replace(before.encode(), after.encode())
    assert changed != NOTIFICATION
    return changed


def test_a_bounce_names_recipient_reason_and_the_mail_it_is_about() -> None:
    notification = parse(NOTIFICATION)
    [status] = notification.recipients
    assert (status.action, status.status, status.news) == (Action.FAILED, "5.1.1", News.HARD_BOUNCE)
    assert (status.final_recipient, status.original_recipient) == ("anna@example.org", "Anna@example.org")
    assert notification.message_id == f"{DELIVERY}@example.com"
    assert notification.envelope_id == str(DELIVERY)
    [receipt] = notification.receipts()
    assert (receipt.receipt, receipt.delivery_id, receipt.code) == (Receipt.UNDELIVERED, DELIVERY, "5.1.1")
    assert (receipt.at, receipt.source) == (datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC), Source.BOUNCE_MAIL)


def test_bare_line_feeds_read_the_same() -> None:
    assert parse(NOTIFICATION.replace(b"\r\n", b"\n")).receipts() == parse(NOTIFICATION).receipts()


def test_without_an_envelope_id_the_original_message_id_names_the_delivery() -> None:
    notification = parse(with_line(f"Original-Envelope-Id: {DELIVERY}\r\n", ""))
    assert notification.delivery_id == DELIVERY


@pytest.mark.parametrize(
    ("action", "status", "receipt", "news"),
    [
        *(("failed", code, Receipt.UNDELIVERED, News.HARD_BOUNCE) for code in ("5.1.2", "5.1.10", "5.2.1")),
        ("failed", "5.2.2 (mailbox full)", Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        ("failed", "4.4.7", Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        ("failed", "5.0.0", Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        ("failed", "no idea", Receipt.UNDELIVERED, News.SOFT_BOUNCE),
        *(
            ("failed", code, Receipt.UNDELIVERED, None)
            for code in ("5.3.4", "5.2.3", "5.6.1", "5.7.1", "5.7.26", "5.4.1", "5.5.2")
        ),
        ("delayed", "4.4.1", None, None),
        ("Delivered", "2.0.0", Receipt.DELIVERED, News.ARRIVED),
        ("relayed", "2.0.0", None, None),
        ("expanded", "2.0.0", None, None),
    ],
)
def test_actions_and_codes_have_their_meaning(
    action: str, status: str, receipt: Receipt | None, news: News | None
) -> None:
    mail = with_line("Action: failed\r\nStatus: 5.1.1", f"Action: {action}\r\nStatus: {status}")
    [found] = parse(mail).receipts()
    assert (found.receipt, found.news) == (receipt, news)


def test_codes_that_blame_the_mail_or_its_sender_condemn_no_address() -> None:
    table = load("smtp")
    for code in (f"5.{subject}.{detail}" for subject in range(1, 8) for detail in range(30)):
        verdict = table.lookup(0, code)
        if verdict.listed and verdict.outcome in (Outcome.BAD, Outcome.CRED):
            [found] = parse(NOTIFICATION.replace(b"Status: 5.1.1", f"Status: {code}".encode())).receipts()
            assert found.news is None, code


def test_codes_that_condemn_an_address_are_those_of_smtp() -> None:
    table = load("smtp")
    dead = {
        f"5.{subject}.{detail}"
        for subject in range(8)
        for detail in range(60)
        if table.lookup(550, f"5.{subject}.{detail}").outcome is Outcome.DEAD
    }
    assert dead == DEAD_STATUSES


def test_a_report_inside_a_forwarded_list_mail_is_found() -> None:
    wrapped = (
        b'Content-Type: multipart/mixed; boundary="outer"\r\n\r\n--outer\r\nContent-Type: text/plain\r\n\r\nfooter\r\n'
        b"--outer\r\n" + NOTIFICATION + b"\r\n--outer--\r\n"
    )
    assert parse(wrapped).delivery_id == DELIVERY


def test_headers_alone_may_be_returned() -> None:
    assert parse(with_line("message/rfc822", "text/rfc822-headers")).message_id == f"{DELIVERY}@example.com"


def test_several_recipients_have_a_receipt_each() -> None:
    block = "Final-Recipient: rfc822; bob@example.org\r\nAction: delayed\r\nStatus: 4.4.1\r\n\r\n"
    mail = with_line("Final-Recipient: rfc822; anna", block + "Final-Recipient: rfc822; anna")
    assert [receipt.receipt for receipt in parse(mail).receipts()] == [None, Receipt.UNDELIVERED]


@pytest.mark.parametrize(
    "mail",
    [
        b"",
        b"From: a@b.c\r\nSubject: Out of office\r\n\r\nI am away.",
        NOTIFICATION.replace(b"Action: failed\r\n", b""),
        NOTIFICATION.replace(b"message/delivery-status", b"text/plain"),
        NOTIFICATION + b" " * MAX_BYTES,
    ],
    ids=["empty", "absence note", "no action", "no status part", "too big"],
)
def test_what_is_no_notification_is_told_apart(mail: bytes) -> None:
    with pytest.raises(NotANotification):
        parse(mail)


def test_deep_nesting_ends_at_the_third_level() -> None:
    mail = NOTIFICATION
    for level in range(2_000):
        boundary = b"b%d" % level
        mail = b'Content-Type: multipart/mixed; boundary="%b"\r\n\r\n--%b\r\n%b' % (boundary, boundary, mail)
    with pytest.raises(NotANotification):
        parse(mail)


def test_parts_beyond_the_tenth_are_not_looked_at() -> None:
    part = b"--4F2A.1767225605/mx.example.net\r\n\r\n\r\n"
    head, separator, rest = NOTIFICATION.partition(b"--4F2A")
    with pytest.raises(NotANotification):
        parse(head + part * 10 + separator + rest)


@settings(max_examples=200)
@given(st.integers(0, len(NOTIFICATION)), st.integers(0, 40), st.binary(max_size=20))
def test_whatever_is_damaged_either_reads_or_is_malformed(start: int, length: int, noise: bytes) -> None:
    mail = NOTIFICATION[:start] + noise + NOTIFICATION[start + length :]
    try:
        receipts = parse(mail).receipts()
    except Malformed:
        return
    assert all(len(receipt.code) <= 16 for receipt in receipts)
