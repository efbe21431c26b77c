"""Contact data nobody owns. Some of it is in trouble, which the sandbox reads from the address (its README: magic addresses).

Mailboxes: RFC 2606 domains. Phone numbers, all of them well-formed for their numbering plans:
- United States: 555-0100 to 555-0199 of an area code, kept for fiction (ATIS-0300048).
- Germany: 0171 39200xx and 0176 040690xx, kept for films (Bundesnetzagentur).
- Sweden: 070-174 06 05 to 06 99, kept for fiction (PTS).
- Korea: 010-1xxx-xxxx, never assigned; for numbers in trouble 011, 016-019, whose networks were switched off in 2021.
Other countries keep no such range, so their people have no phone here.
"""

from dataclasses import dataclass
from enum import Enum
from random import Random

BUNDLE_ID = "com.example.clarion"
_DOMAINS = ("example.com", "example.net", "example.org")
_BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_AREA_CODES = (202, 206, 212, 213, 303, 305, 312, 404, 415, 503, 512, 617, 646, 702, 713, 718, 808, 917)
_RETIRED_KOREAN = (11, 16, 17, 18, 19)


class Trouble(Enum):
    """What is wrong with an address."""

    NONE = "none"
    DEAD = "dead"
    BAD = "bad"
    FLAKY = "flaky"
    BROKEN = "broken"
    UNDELIVERED = "undelivered"


@dataclass(frozen=True, slots=True)
class Codes:
    """Codes of one provider of the sandbox, by trouble. `flaky` fails once or twice, `broken` always."""

    dead: tuple[str, ...]
    bad: tuple[str, ...]
    flaky: tuple[str, ...]
    broken: tuple[str, ...]
    undelivered: tuple[str, ...] = ()

    def of(self, trouble: Trouble) -> tuple[str, ...]:
        return {
            Trouble.NONE: (),
            Trouble.DEAD: self.dead,
            Trouble.BAD: self.bad,
            Trouble.FLAKY: self.flaky,
            Trouble.BROKEN: self.broken,
            Trouble.UNDELIVERED: self.undelivered,
        }[trouble]


# No code that refuses the sender (it would stop the whole lane), or that asks for a wait of minutes.
APNS = Codes(("4100", "4101", "4000"), ("4004",), ("5000", "5030"), ("5030",))
FCM = Codes(("4040", "4030", "4000"), ("4001",), ("5000", "5031"), ("5031",))
WEB = Codes(("4100", "4040"), ("4000",), ("5020", "5031"), ("5000",))
SMPP = Codes(("011",), ("101",), ("008", "069"), ("008",), tuple(f"65{row}" for row in range(9)))
SMTP = Codes(
    ("550-5.1.1", "550-5.2.1"), ("554-5.6.0", "data-554-5.6.0"), ("451-4.3.0", "452-4.3.1"), ("451-4.3.2",)
)  # fmt: skip


class Contacts:
    """Draws contact data, none of it twice."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._phones: set[str] = set()

    def ios_token(self, trouble: Trouble) -> str:
        return self._token(APNS, trouble, "0123456789abcdef", 64)

    def android_token(self, trouble: Trouble) -> str:
        return self._token(FCM, trouble, _BASE64URL, 72)

    def web_seed(self, trouble: Trouble) -> str:
        return self._token(WEB, trouble, _BASE64URL, 24)

    def mailbox(self, name: str, number: int, trouble: Trouble) -> str:
        """A mailbox that carries a person's name and number."""
        domain = self._random.choice(_DOMAINS)
        if trouble is Trouble.NONE:
            return f"{name}.{number}@{domain}"
        code = self._random.choice(SMTP.of(trouble))
        failures = f"-x{self._random.randint(1, 2)}" if trouble is Trouble.FLAKY else ""
        return f"bounce+{code}{failures}+{name}.{number}@{domain}"

    def phone(self, country: str, trouble: Trouble) -> str | None:
        """A number of the country in E.164, None where it has none (left). Trouble only befalls Korean numbers."""
        for _ in range(100):
            drawn = self._draw_phone(country, trouble)
            if drawn is None or drawn not in self._phones:
                if drawn is not None:
                    self._phones.add(drawn)
                return drawn
        return None

    def _draw_phone(self, country: str, trouble: Trouble) -> str | None:
        random = self._random
        match country:
            case "KR" if trouble is not Trouble.NONE:
                code = random.choice(SMPP.of(trouble))
                failures = random.randint(1, 2) if trouble is Trouble.FLAKY else 0
                return f"+82{random.choice(_RETIRED_KOREAN)}{random.randint(2, 9)}999{code}{failures}"
            case "KR":
                return f"+82101{random.randrange(10**7):07}"
            case "US":
                return f"+1{random.choice(_AREA_CODES)}55501{random.randrange(100):02}"
            case "DE":
                return f"+49{random.choice(('17139200', '176040690'))}{random.randrange(100):02}"
            case "SE":
                return f"+46701740{random.randint(605, 699)}"
        return None

    def _token(self, codes: Codes, trouble: Trouble, alphabet: str, length: int) -> str:
        prefix = ""
        if trouble is not Trouble.NONE:
            failures = self._random.randint(1, 2) if trouble is Trouble.FLAKY else 0
            prefix = f"dead{self._random.choice(codes.of(trouble))}{failures:02}"
        drawn = "".join(self._random.choices(alphabet, k=length - len(prefix)))
        # An ordinary token must not look like one in trouble.
        return prefix + drawn if prefix or not drawn.startswith("dead") else f"0{drawn[1:]}"
