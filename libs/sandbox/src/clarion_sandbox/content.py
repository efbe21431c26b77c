"""The digest of what a person would see, the same for every channel that shows the same words.

Push (APNs, FCM, Huawei, Web Push): SHA-256 of the canonical JSON ``{"body": …, "title": …}`` where the payload has either;
else of the whole payload's canonical JSON, or of its bytes if it is no JSON. SMS: SHA-256 of the text in UTF-8. Mail:
SHA-256 of the Subject field as sent, a NUL, and everything after the header. Canonical JSON: keys sorted, no spaces,
UTF-8.
"""

import hashlib
import json
import re

_SUBJECT = re.compile(rb"^subject:[ \t]*((?:[^\r\n]|\r\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


def of_visible(title: object, body: object, payload: object) -> str:
    """Digest of a push message: of its title and body, or of all of ``payload`` if it has neither."""
    if title is None and body is None:
        return _canonical(payload)
    return _canonical({"body": body, "title": title})


def of_apns(payload: dict[str, object]) -> str:
    """Digest of an APNs payload; a plain-string alert is a body without title."""
    aps = payload.get("aps")
    alert = aps.get("alert") if isinstance(aps, dict) else None
    if isinstance(alert, str):
        return of_visible(None, alert, payload)
    if isinstance(alert, dict):
        return of_visible(alert.get("title"), alert.get("body"), payload)
    return of_visible(None, None, payload)


def of_fcm(message: dict[str, object]) -> str:
    """Digest of an FCM message: `notification`, overridden by `android.notification`; else its `data`."""
    title = body = None
    android = message.get("android")
    for source in (message.get("notification"), android.get("notification") if isinstance(android, dict) else None):
        if isinstance(source, dict):
            title, body = source.get("title", title), source.get("body", body)
    data = message.get("data")
    if title is None and body is None and isinstance(data, dict):
        return of_visible(data.get("title"), data.get("body"), data)
    return of_visible(title, body, message)


def of_huawei(message: dict[str, object]) -> str:
    """Digest of a Push Kit message: as for FCM, with the ``data`` string read as JSON where it is some."""
    data = message.get("data")
    try:
        return of_fcm(message | {"data": json.loads(data)} if isinstance(data, str) else message)
    except ValueError:
        return of_fcm(message)


def of_web(plaintext: bytes) -> str:
    """Digest of a decrypted web push payload: title and body at the top or under `notification`."""
    try:
        payload = json.loads(plaintext)
    except ValueError:
        return hashlib.sha256(plaintext).hexdigest()
    if not isinstance(payload, dict):
        return _canonical(payload)
    inner = payload.get("notification")
    shown = inner if isinstance(inner, dict) else payload
    return of_visible(shown.get("title"), shown.get("body"), payload)


def of_text(text: str) -> str:
    """Digest of a short message."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def of_mail(message: bytes) -> str:
    """Digest of a mail without parsing it: the raw Subject value, a NUL, and the bytes after the header."""
    header, _, body = message.partition(b"\r\n\r\n")
    subject = _SUBJECT.search(header)
    digest = hashlib.sha256(subject.group(1).strip() if subject else b"")
    digest.update(b"\0")
    digest.update(body)
    return digest.hexdigest()


def _canonical(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
