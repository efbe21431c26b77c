"""Messages for the inbox page, written to a ledger as the doors write them: what a shop sends, and what an attacker would."""

import json
import struct
import zlib
from collections.abc import Mapping
from email.message import EmailMessage

from clarion_sandbox.ledger import Ledger

PHONE = "a1b2c3d4" * 8
OTHER_PHONE = "0f9e8d7c" * 8
ANDROID = "fGh3kT9wQ0e:APA91b" + "Zx4" * 40
HUAWEI = "IQAAAACy0kYhAADm" + "x7" * 50
BROWSER = "anna-laptop." + "k" * 22
NUMBER = "491701234567"
KOREAN_NUMBER = "821012345678"
MAILBOX = "anna@example.org"
SHOP = "com.example.shop"
BANK = "com.example.bank"

SCRIPT = "<script>window.hacked = 1</script>"
IMAGE = "<img src=x onerror='window.hacked = 2'>"
HOSTILE = f"{SCRIPT}{IMAGE}\"'><svg onload=window.hacked=3>"


def take(
    ledger: Ledger, provider: str, destination: str, content: bytes, attributes: Mapping[str, str] | None = None
) -> int:
    """Record a message; gives its number."""
    return ledger.accept(
        provider,
        answer="200",
        message_id="m",
        destination=destination,
        digest="d",
        content=content,
        attributes=dict(attributes or {}),
    )


def apns(
    ledger: Ledger,
    aps: Mapping[str, object],
    *,
    to: str = PHONE,
    topic: str = SHOP,
    collapse_id: str = "",
    **data: object,
) -> int:
    """A push for an iPhone."""
    payload = json.dumps({"aps": aps, **data}).encode()
    return take(ledger, "apns", to, payload, {"topic": topic, "collapse_id": collapse_id})


def fcm(ledger: Ledger, message: Mapping[str, object], *, to: str = ANDROID) -> int:
    """A push for an Android phone."""
    document = {"message": {"token": to, **message}}
    return take(ledger, "fcm", to, json.dumps(document).encode(), {"project": "clarion-shop"})


def huawei(ledger: Ledger, message: Mapping[str, object]) -> int:
    """A push for a Huawei phone."""
    return take(ledger, "huawei", HUAWEI, json.dumps(message).encode())


def webpush(ledger: Ledger, payload: object, *, to: str = BROWSER) -> int:
    """A push for a browser."""
    return take(ledger, "webpush", to, json.dumps(payload).encode(), {"subject": "mailto:push@shop.example"})


def sms(ledger: Ledger, text: str, *, to: str = NUMBER, source: str = "Shop", **attributes: str) -> int:
    """A text that came in one segment, or as ``segment_units`` says."""
    coding = "0" if text.isascii() else "8"
    return take(ledger, "smpp", to, text.encode(), {"source": source, "data_coding": coding, **attributes})


def twilio(ledger: Ledger, text: str, *, to: str = "+491701234567") -> int:
    """A text handed to a gateway whole."""
    return take(ledger, "twilio", to, text.encode(), {"source": "+4915735984321"})


def mail_bytes(subject: str, text: str, html: str = "", *, attachment: bytes = b"") -> bytes:
    """A mail as it travels."""
    message = EmailMessage()
    message["From"] = "Example Shop <orders@shop.example>"
    message["To"] = MAILBOX
    message["Subject"] = subject
    message["Message-ID"] = "<1@shop.example>"
    message["List-Unsubscribe"] = "<https://shop.example/unsubscribe?u=1>"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    if attachment:
        message.add_attachment(attachment, maintype="application", subtype="pdf", filename="invoice-2041.pdf")
    return message.as_bytes().replace(b"\n", b"\r\n")


def picture() -> bytes:
    """A green square of 16 by 16, as PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x1d\x7a\x46" * 16) * 16
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def mail_with_picture(subject: str, html: str) -> bytes:
    """A mail whose HTML names a picture that it brings along, with a file beside it."""
    message = EmailMessage()
    message["From"] = "Example Shop <orders@shop.example>"
    message["To"] = MAILBOX
    message["Subject"] = subject
    message.set_content("Your table is ready.\n")
    message.add_alternative(html, subtype="html")
    shown = message.get_body(("html",))
    assert isinstance(shown, EmailMessage)
    shown.add_related(picture(), "image", "png", cid="<mark@shop.example>", filename="mark.png")
    message.add_attachment(b"BEGIN:VCALENDAR", maintype="text", subtype="calendar", filename="pick-up.ics")
    return message.as_bytes().replace(b"\n", b"\r\n")


def mail(ledger: Ledger, content: bytes, *, provider: str = "smtp") -> int:
    """A mail."""
    return take(ledger, provider, MAILBOX, content, {"sender": "bounce+1@shop.example"})


ORDER_HTML = """<!doctype html><html><body style="margin:0;background:#f3f1ec;font-family:Helvetica,Arial,sans-serif">
<table width="100%" cellpadding="0" cellspacing="0"><tr><td align="center" style="padding:32px 12px">
<table width="100%" style="max-width:520px;background:#fff;border-radius:14px" cellpadding="0" cellspacing="0">
<tr><td style="padding:28px 32px 8px;font-size:24px;font-weight:bold;color:#1d3b2a">Thank you, Anna.</td></tr>
<tr><td style="padding:8px 32px;color:#444;line-height:1.6">Your order <b>#2041</b> is on its way and should be with
you on Thursday between 9 and 12.</td></tr>
<tr><td style="padding:16px 32px 32px"><a href="https://shop.example/orders/2041" style="background:#1d7a46;color:#fff;
padding:12px 22px;border-radius:8px;text-decoration:none;display:inline-block">Track the parcel</a>
<img src="https://tracker.example/pixel.gif" width="1" height="1" alt=""></td></tr></table></td></tr></table></body></html>"""


def fill(ledger: Ledger) -> None:
    """A few days of an example shop's notifications, on every channel."""
    apns(
        ledger,
        {"alert": {"title": "Weekend sale", "body": "Up to 40 % off garden furniture until Sunday."}, "badge": 1},
    )
    for minutes in (40, 25, 10):
        apns(
            ledger,
            {
                "alert": {"title": "Out for delivery", "body": f"Your parcel arrives in about {minutes} minutes."},
                "interruption-level": "time-sensitive",
                "badge": 3,
                "sound": "default",
            },
            collapse_id="parcel-2041",
        )
    apns(
        ledger,
        {
            "alert": {
                "title": "Sign-in from a new device",
                "subtitle": "Safari on a Mac",
                "body": "Was this you? If not, change your password.",
            },
            "category": "sign-in",
        },
        topic=BANK,
        clarion_actions=[{"id": "yes", "title": "It was me"}, {"id": "no", "title": "Lock my account"}],
    )
    apns(
        ledger,
        {"alert": {"title": "배송이 시작되었습니다", "body": "주문하신 상품이 내일 도착합니다. 🎁"}},
        to=OTHER_PHONE,
    )
    apns(ledger, {"content-available": 1}, to=OTHER_PHONE)
    fcm(
        ledger,
        {
            "notification": {"title": "New for you", "body": "Six lamps that go with your sofa."},
            "android": {
                "notification": {
                    "channel_id": "Offers",
                    "image": "https://cdn.shop.example/lamps/autumn-collection.jpg",
                }
            },
        },
    )
    fcm(
        ledger,
        {
            "notification": {"title": "Order #2041 packed", "body": "We hand it to the carrier this evening."},
            "android": {"notification": {"channel_id": "Orders", "tag": "order-2041"}},
        },
    )
    fcm(
        ledger,
        {
            "notification": {
                "title": "Order #2041 shipped",
                "body": "It should be with you on Thursday between 9 and 12. You can still choose a neighbour or a parcel shop.",
            },
            "android": {"notification": {"channel_id": "Orders", "tag": "order-2041"}},
            "data": {
                "clarion_actions": json.dumps(
                    [{"id": "shop", "title": "Parcel shop"}, {"id": "next", "title": "Neighbour"}]
                )
            },
        },
    )
    fcm(ledger, {"data": {"sync": "basket"}})
    huawei(
        ledger,
        {
            "notification": {"title": "Votre colis est arrivé", "body": "Retirez-le avant samedi."},
            "android": {"notification": {"channel_id": "Livraison"}},
        },
    )
    webpush(
        ledger,
        {
            "title": "Back in stock",
            "options": {
                "body": "The oak side table you watched is available again.",
                "actions": [{"action": "buy", "title": "Buy now"}, {"action": "later", "title": "Later"}],
                "data": {"clarion_link": "https://shop.example/oak"},
            },
        },
    )
    webpush(
        ledger,
        {
            "title": "Price drop",
            "options": {
                "body": "Linen cushions are 15 % cheaper today.",
                "image": "https://cdn.shop.example/cushions.jpg",
                "requireInteraction": True,
                "data": {"clarion_link": "https://shop.example/cushions"},
            },
        },
    )
    sms(ledger, "Your code is 481 920. It is valid for ten minutes. We never ask for it on the phone.")
    long = (
        "Hello Anna, your parcel with order 2041 could not be delivered today because nobody was at home. It waits for you "
        "at the parcel shop in Hauptstrasse 12 until next Saturday. Please bring your ID card."
    )
    sms(ledger, long, segment_units=f"153,{len(long) - 153}")
    sms(
        ledger,
        "주문하신 상품이 내일 오전에 도착합니다. 부재 시 문 앞에 놓아 드립니다. 감사합니다. 🎁",
        to=KOREAN_NUMBER,
    )
    twilio(ledger, "Your table for four is booked: Friday, 19:30. Reply C to cancel.")
    mail(
        ledger,
        mail_with_picture(
            "Your table is ready",
            '<p style="font-family:sans-serif"><img src="cid:mark@shop.example" width="64" height="64" alt="Ready"> '
            "Your table is ready. Pick it up until Saturday.</p>",
        ),
    )
    mail(
        ledger,
        mail_bytes(
            "Your invoice",
            "Dear Anna,\n\nplease find the invoice for order 2041 attached.\n\nKind regards\nExample Shop\n",
            attachment=b"%PDF-1.7 " * 400,
        ),
    )
    mail(
        ledger,
        mail_bytes("Überraschung: 20 % für dich", "Hallo Anna,\n\nals Dankeschön gibt es 20 % auf alles.\n"),
        provider="sendgrid",
    )
    mail(
        ledger,
        mail_bytes(
            "Your order #2041 is on its way", "Thank you, Anna.\n\nYour order #2041 is on its way.\n", ORDER_HTML
        ),
        provider="ses",
    )


def fill_with_hostile(ledger: Ledger) -> None:
    """The same attack by every door, and bytes that are no message at all."""
    apns(
        ledger,
        {"alert": {"title": HOSTILE, "subtitle": HOSTILE, "body": HOSTILE}},
        topic=HOSTILE,
        clarion_image_url="javascript:window.hacked=4",
        clarion_actions=[{"title": HOSTILE}, HOSTILE, {"title": {}}],
    )
    apns(ledger, {"alert": "\ud800 half a character"})
    fcm(
        ledger,
        {
            "notification": {
                "title": HOSTILE,
                "body": HOSTILE,
                "image": "data:text/html,<script>window.hacked=5</script>",
            },
            "android": {"notification": {"channel_id": HOSTILE}},
            "data": {"clarion_actions": "[" * 10_000},
        },
    )
    webpush(
        ledger,
        {
            "title": HOSTILE,
            "options": {
                "body": HOSTILE,
                "image": "data:image/svg+xml,<svg onload=window.hacked=6>",
                "data": {"clarion_link": f"https://{HOSTILE}"},
                "actions": [{"title": HOSTILE}],
            },
        },
    )
    sms(ledger, HOSTILE, source=HOSTILE, to=HOSTILE)
    html = (
        "<meta http-equiv=refresh content='0;url=/inbox/?refreshed'><a href='javascript:top.hacked=8'>link</a>"
        "<style>body{background:url(/inbox/?styled)}</style>"
        f"{HOSTILE}<form action=/inbox/?sent><input autofocus onfocus=window.top.hacked=7></form>"
    )
    mail(ledger, mail_bytes("=?utf-8?B?PHNjcmlwdD4=?=", HOSTILE, html))
    mail(
        ledger,
        b"From: \xff\xfe\r\nSubject: =?nonsense?B?!!!?=\r\nContent-Type: text/plain; charset=klingon\r\n\r\n\xff\xfe",
    )
    for provider in ("apns", "fcm", "huawei", "webpush", "smpp", "twilio", "smtp", "ses", "sendgrid", "pigeon"):
        take(ledger, provider, "x" * 300, b"\x00\xff[" * 500)
