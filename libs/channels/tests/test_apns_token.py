import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from clarion_channels.providers.apns.token import ProviderToken
from clarion_channels.providers.es256 import load_p256_pem

from .h2_peer import pem_of

GRID = 3000
START = 1_700_001_000.0  # on the grid: 566667 * 3000


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def token_at(key: ec.EllipticCurvePrivateKey, clock: Clock) -> ProviderToken:
    return ProviderToken(key, "ABCDEFGHIJ", "TEAM123456", clock)


def issued_at(header: str, key: ec.EllipticCurvePrivateKey) -> int:
    claims = jwt.decode(header.removeprefix("bearer "), key.public_key(), algorithms=["ES256"])
    assert set(claims) == {"iss", "iat"}
    return int(claims["iat"])


def test_token_is_what_apple_documents(key: ec.EllipticCurvePrivateKey) -> None:
    header = token_at(key, Clock(START + 10)).get_header()
    token = header.removeprefix("bearer ")
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "ABCDEFGHIJ"}
    assert jwt.decode(token, key.public_key(), algorithms=["ES256"]) == {"iss": "TEAM123456", "iat": int(START)}


def test_every_process_makes_the_same_token_at_any_moment_of_the_fifty_minutes(key: ec.EllipticCurvePrivateKey) -> None:
    headers = {token_at(key, Clock(START + seconds)).get_header() for seconds in (0, 1, 1500, 2999)}
    assert len(headers) == 1


def test_token_is_renewed_after_fifty_minutes_and_never_reaches_sixty(key: ec.EllipticCurvePrivateKey) -> None:
    clock = Clock(START + 2999)
    token = token_at(key, clock)
    first = token.get_header()
    clock.now = START + 3000
    second = token.get_header()
    assert issued_at(second, key) - issued_at(first, key) == GRID


def test_refused_token_older_than_twenty_minutes_is_replaced_once(key: ec.EllipticCurvePrivateKey) -> None:
    clock = Clock(START + 1200)
    token = token_at(key, clock)
    refused = token.get_header()
    assert token.renew_refused(refused)
    renewed = token.get_header()
    assert issued_at(renewed, key) == START + 1200
    assert token.renew_refused(refused), "others that carried the old token are told to try again"
    assert token.get_header() == renewed


def test_refused_token_younger_than_twenty_minutes_is_kept(key: ec.EllipticCurvePrivateKey) -> None:
    token = token_at(key, Clock(START + 1199))
    refused = token.get_header()
    assert not token.renew_refused(refused)
    assert token.get_header() == refused


def test_clock_that_steps_back_does_not_keep_a_token_from_the_future(key: ec.EllipticCurvePrivateKey) -> None:
    clock = Clock(START + 6000)
    token = token_at(key, clock)
    token.get_header()
    clock.now = START
    assert issued_at(token.get_header(), key) == START


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        pem_of(ec.generate_private_key(ec.SECP384R1())),
    ],
    ids=["empty", "broken", "other curve"],
)
def test_key_that_cannot_sign_es256_is_refused(pem: str) -> None:
    with pytest.raises(ValueError, match=r"not an unencrypted PEM|not a P-256"):
        load_p256_pem(pem.encode())
