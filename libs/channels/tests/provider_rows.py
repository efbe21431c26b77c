"""The error tables of the providers' documentation, row by row. Classes are typed from there, not from the data files.

A row holds the answers that make it up: the sandbox's code for one, and the class that the documentation gives it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from clarion_channels.outcome import Outcome

BAD, DEAD, CRED = Outcome.BAD, Outcome.DEAD, Outcome.CRED
RETRY, AFTER, THROTTLE = Outcome.RETRY, Outcome.AFTER, Outcome.THROTTLE
ACCEPTED = Outcome.ACCEPTED


@dataclass(frozen=True)
class Answer:
    """One answer and its class. `wait`: the floor that the provider names. `listed` False: the row is a range."""

    code: str
    outcome: Outcome
    wait: timedelta | None = None
    listed: bool = True


@dataclass(frozen=True)
class Row:
    """One row of a provider's table, under the words it has there."""

    provider: str
    name: str
    answers: Sequence[Answer]

    @property
    def id(self) -> str:
        return f"{self.provider}: {self.name}"


def _all(outcome: Outcome, *codes: str, listed: bool = True) -> list[Answer]:
    return [Answer(code, outcome, listed=listed) for code in codes]


def _seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


_ROWS: Mapping[str, Mapping[str, Sequence[Answer]]] = {
    "apns": {
        "200": _all(ACCEPTED, ""),
        "400 our request": _all(BAD, "4001", "4002", "4003", "4004", "4005", "4007", "4009", "400a", "400b", "400c"),
        "400 BadDeviceToken": _all(DEAD, "4000"),
        "400 DeviceTokenNotForTopic": _all(DEAD, "4006"),
        "400 TopicDisallowed": _all(CRED, "400d"),
        "400 IdleTimeout": _all(RETRY, "4008"),
        "403 ExpiredProviderToken": _all(RETRY, "4031"),
        "403 credentials": _all(CRED, "4030", "4032", "4033", "4034", "4035", "4036", "4037"),
        "404 BadPath, 405 MethodNotAllowed": _all(BAD, "4040", "4050"),
        "410 Unregistered, ExpiredToken": _all(DEAD, "4100", "4101", "4102"),
        "413 PayloadTooLarge": _all(BAD, "4130"),
        "429 TooManyRequests": _all(THROTTLE, "4290"),
        "429 TooManyProviderTokenUpdates": _all(THROTTLE, "4291"),
        "500 InternalServerError": _all(RETRY, "5000"),
        "503 ServiceUnavailable, Shutdown": _all(RETRY, "5030", "5031"),
    },
    "fcm": {
        "200": _all(ACCEPTED, ""),
        "400 INVALID_ARGUMENT with FcmError": [Answer("4000", DEAD), Answer("4001", BAD)],
        "400 BadRequest.fieldViolations": _all(BAD, "4002"),
        "404 UNREGISTERED": _all(DEAD, "4040"),
        "404 NOT_FOUND without FcmError": _all(CRED, "4041"),
        "403 SENDER_ID_MISMATCH": _all(DEAD, "4030"),
        "403 PERMISSION_DENIED": _all(CRED, "4031"),
        "401 UNAUTHENTICATED": _all(CRED, "4010"),
        "401 THIRD_PARTY_AUTH_ERROR": _all(CRED, "4011"),
        "429 QUOTA_EXCEEDED, RESOURCE_EXHAUSTED": [
            Answer("4290", THROTTLE, _seconds(2)),
            Answer("4291", THROTTLE, _seconds(60)),
            Answer("4292", THROTTLE, _seconds(60)),
        ],
        "500 INTERNAL": _all(RETRY, "5000"),
        "503 UNAVAILABLE": [Answer("5030", AFTER, _seconds(2)), Answer("5031", RETRY)],
        "UNSPECIFIED_ERROR": _all(RETRY, "5001"),
    },
    "huawei": {
        "80000000": _all(ACCEPTED, ""),
        "80100000 partly": [
            Answer("2000", DEAD),
            Answer("2001", CRED),
            Answer("2002", CRED),
            Answer("2003", DEAD),
        ],
        "80100001/03/04/13/16/17": _all(BAD, "4000", "4001", "4002", "4003", "4004", "4005"),
        "80200001": _all(CRED, "4010"),
        "80200003": _all(CRED, "4011"),
        "80300002": _all(CRED, "4006"),
        "80300007": _all(DEAD, "4007", "2004"),
        "80300008": _all(BAD, "4008"),
        "80300010": _all(BAD, "4009"),
        "80300011": _all(CRED, "400a"),
        "80600003": _all(RETRY, "5001"),
        "81000001": _all(RETRY, "5000"),
        "HTTP 404": _all(CRED, "4040"),
        "HTTP 502": _all(RETRY, "5020"),
        "HTTP 503 flow control": _all(THROTTLE, "5030"),
    },
    "webpush": {
        "200/201/202": _all(ACCEPTED, "", "2000", "2020"),
        "400": _all(BAD, "4000", "4001", "4002", "4003", "4004", "4005", "4006"),
        "401/403": [Answer("4010", CRED), Answer("4030", CRED), Answer("4031", DEAD)],
        "404, 410": _all(DEAD, "4040", "4100"),
        "413": _all(BAD, "4130"),
        "429": [Answer("4290", AFTER, _seconds(2)), Answer("4291", AFTER), Answer("4292", AFTER)],
        "301/307/308": _all(BAD, "3010", "3070", "3080"),
        "5xx": [
            Answer("5000", RETRY),
            Answer("5020", RETRY),
            Answer("5030", AFTER, _seconds(2)),
            Answer("5031", RETRY),
        ],
    },
    "smpp": {
        "0x00 ROK": _all(ACCEPTED, ""),
        "our request": _all(
            BAD,
            *("001", "002", "003", "006", "007", "012", "017", "019", "021", "051", "052", "064", "066", "067", "068"),
            *("072", "073", "080", "081", "083", "084", "085", "097", "098", "099", "192", "193", "194", "195", "196"),
        ),
        "0x0A INVSRCADR": _all(CRED, "010"),
        "0x0B INVDSTADR": _all(DEAD, "011"),
        "0x04 INVBNDSTS, 0x05 ALYBND": _all(RETRY, "004", "005"),
        "0x08, 0x45, 0xFF, 0xFE, 0x67": _all(RETRY, "008", "069", "255", "254", "103"),
        "0x0D, 0x0E, 0x0F": _all(CRED, "013", "014", "015"),
        "0x14 MSGQFUL, 0x58 THROTTLED": _all(THROTTLE, "020", "088"),
        "0x64, 0x65, 0x66": [Answer("100", RETRY), Answer("101", BAD), Answer("102", RETRY)],
        "0x400-0x4FF vendor": _all(RETRY, "400", "434", "499", listed=False),
    },
    "smtp": {
        "250": _all(ACCEPTED, ""),
        "421 4.3.2, 4.4.x, 450 4.2.0, 451 4.3.0/4.7.1, 452 4.2.2/4.3.1": [
            *_all(RETRY, "421-4.3.2", "451-4.4.1", "451-4.3.0", "452-4.2.2", "452-4.3.1"),
            Answer("450-4.2.0", RETRY, _seconds(300)),
            Answer("451-4.7.1", RETRY, _seconds(300)),
        ],
        "452 4.5.3": _all(RETRY, "452-4.5.3"),
        "421/450/451 4.7.0, 4.7.28": _all(
            THROTTLE, "421-4.7.0", "450-4.7.0", "451-4.7.0", "421-4.7.28", "450-4.7.28", "451-4.7.28"
        ),
        "454 4.7.0": _all(THROTTLE, "454-4.7.0"),
        "530 5.7.0, 534, 535 5.7.8, 538": _all(CRED, "530-5.7.0", "534-5.7.9", "535-5.7.8", "538-5.7.11"),
        "550/551/553 5.1.x, 5.2.1": _all(
            DEAD,
            *("550-5.1.1", "550-5.1.2", "550-5.1.3", "550-5.1.6", "550-5.1.10", "550-5.2.1", "551-5.1.1", "551-5.1.6"),
            *("553-5.1.1", "553-5.1.3", "556-5.1.10"),
        ),
        "552 5.2.2": _all(RETRY, "552-5.2.2"),
        "552/554 5.3.4, 5.6.x": _all(
            BAD, "552-5.3.4", "554-5.3.4", "data-552-5.3.4", "data-554-5.3.4", "554-5.6.0", "data-554-5.6.0"
        ),
        "550/554 5.7.1 policy, SPF, DKIM, DMARC, PTR": [
            *_all(CRED, "550-5.7.1", "550-5.7.20", "550-5.7.23", "550-5.7.25", "550-5.7.26", "550-5.7.27"),
            Answer("554-5.7.1", BAD),
        ],
        "550 5.4.1, 5.7.54": _all(CRED, "550-5.4.1", "550-5.7.54"),
        "500-504 5.5.x": _all(BAD, "500-5.5.2", "501-5.5.4", "502-5.5.1", "503-5.5.1", "504-5.5.4"),
    },
    "twilio": {
        "201": _all(ACCEPTED, ""),
        "account, sender, region": [
            *_all(CRED, "003", "005", "404", "106", "212", "159", "160", "161", "308"),
            *_all(CRED, "702", "732", "734", "718", "724", "740"),
        ],
        "20429, 14107, 21611, 30022, 30023": [
            Answer("429", THROTTLE),
            Answer("428", THROTTLE, _seconds(2)),
            *_all(THROTTLE, "014", "111", "722", "723"),
        ],
        "invalid To, 30005, 30006": _all(DEAD, "211", "314", "265", "135", "705", "706"),
        "21610": _all(DEAD, "110"),
        "no body or too long": _all(BAD, "102", "119", "117", "719", "738"),
        "not routable, blocked, filtered": _all(BAD, "112", "704", "707", "850", "853"),
        "30001, 30003, 30008, 30017, 30410": _all(RETRY, "701", "703", "708", "717", "810"),
        "30010, 30036": _all(BAD, "710", "736"),
    },
    "ses": {
        "200": _all(ACCEPTED, ""),
        "429 rate": _all(THROTTLE, "4290"),
        "429 daily quota": _all(CRED, "4291"),
        "400 LimitExceeded": _all(THROTTLE, "4003"),
        "400 MessageRejected": _all(BAD, "4001"),
        "MailFromDomainNotVerified, SendingPaused, AccountSuspended": _all(CRED, "4004", "4005", "4006"),
        "404 NotFound, 400 BadRequest": _all(BAD, "4040", "4000"),
        "403 signature": _all(CRED, "4030", "4031", "4032", "4033", "4034"),
        "5xx": _all(RETRY, "5000", "5030"),
    },
    "sendgrid": {
        "202": _all(ACCEPTED, ""),
        "400": _all(BAD, "4000", "4001"),
        "401/403": _all(CRED, "4010", "4030", "4031"),
        "404/405/415": _all(BAD, "4040", "4050", "4150"),
        "413": _all(BAD, "4130"),
        "429": _all(THROTTLE, "4290", "4291"),
        "500/503": _all(RETRY, "5000", "5030"),
    },
}

ROWS = [Row(provider, name, answers) for provider, table in _ROWS.items() for name, answers in table.items()]
