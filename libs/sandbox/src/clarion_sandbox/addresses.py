"""``python -m clarion_sandbox.addresses``: the table of magic addresses, ADDRESSES.md, from the answers themselves."""

import sys

from .answers import PROVIDERS, Row, Special, load

_NAMES = {
    "apns": "APNs: device tokens",
    "fcm": "FCM: registration tokens",
    "google_token": "Google's token server: by fault script only",
    "webpush": "Web Push: seeds of subscriptions",
    "smpp": "SMPP: phone numbers",
    "smtp": "SMTP: mailboxes",
    "huawei": "Huawei Push Kit: tokens",
    "huawei_token": "Huawei's token server: by fault script only",
    "twilio": "Twilio-style API: phone numbers",
    "ses": "Amazon SES: mailboxes",
    "sendgrid": "SendGrid: mailboxes",
}
_BY_SCRIPT_ONLY = frozenset(("google_token", "huawei_token"))
_NUMBERS = frozenset(("smpp", "twilio"))
_MAILBOXES = frozenset(("smtp", "ses", "sendgrid"))
_TOKEN_SPECIALS = {Special.HANG: "0000", Special.CUT: "0001", Special.LOST: "0002", Special.LOST_CUT: "0003"}
_NUMBER_SPECIALS = {Special.HANG: "900", Special.CUT: "901", Special.LOST: "902", Special.LOST_CUT: "903"}
_MEANING = {
    Special.HANG: "not taken, never answered",
    Special.CUT: "not taken, connection cut",
    Special.LOST: "**taken**, never answered",
    Special.LOST_CUT: "**taken**, connection cut",
}
_HEAD = """\
# Every answer, and the address that asks for it

Made from `src/clarion_sandbox/data` by `python -m clarion_sandbox.addresses`; a test compares. The forms of addresses, how
often they fail and what may stand around them: [README.md](README.md), "Magic addresses". In a fault script the code is
`answer`.
"""


def address(provider: str, code: str) -> str:
    """An address of ``provider`` that always gets the answer ``code``; empty where addresses cannot ask."""
    if provider in _BY_SCRIPT_ONLY:
        return ""
    if provider in _NUMBERS:
        return f"+49170999{code}0"
    if provider in _MAILBOXES:
        return f"bounce+{code}@example.org"
    return f"dead{code}00…"


def table() -> str:
    """The text of ADDRESSES.md."""
    return _HEAD + "".join(_section(provider) for provider in PROVIDERS)


def _section(provider: str) -> str:
    lines = ["", f"## {_NAMES[provider]}", "| code | address | answer |", "|---|---|---|"]
    for row in load(provider):
        lines.append(_line(provider, row.code, _answer(row)))
    for special, meaning in _MEANING.items():
        code = special.value
        if provider in _NUMBERS:
            code = _NUMBER_SPECIALS[special]
        elif provider not in _MAILBOXES | _BY_SCRIPT_ONLY:
            code = _TOKEN_SPECIALS[special]
        lines.append(_line(provider, code, f"{special.value}: {meaning}"))
    return "\n".join(lines) + "\n"


def _line(provider: str, code: str, answer: str) -> str:
    shown = address(provider, code)
    return f"| `{code}` | {f'`{shown}`' if shown else ''} | {answer} |"


def _answer(row: Row) -> str:
    said = f"taken; later: {row.reason}" if row.is_report else row.label
    more = ", ".join(f"{name}: {_shown(value)}" for name, value in row.detail.items() if name not in ("reason", "stat"))
    return f"{said} ({more})" if more else said


def _shown(value: object) -> str:
    text = " + ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text.replace("|", "\\|") or "none"


if __name__ == "__main__":
    sys.stdout.write(table())
