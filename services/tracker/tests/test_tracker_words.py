"""Words of people, as carriers bring them."""

import unicodedata

import pytest

from clarion_channels.providers.smpp.codec import Address, ShortMessage, Tag
from clarion_channels.text import gsm7
from clarion_tracker.adapters.smpp import text_of
from clarion_tracker.words import Command

from .tracker_samples import WORDS


def message(octets: bytes, data_coding: int = 0, *, esm_class: int = 0, payload: bytes = b"") -> ShortMessage:
    tlvs = {int(Tag.MESSAGE_PAYLOAD): payload} if payload else {}
    someone = Address(1, 1, "821012345678")
    return ShortMessage(someone, someone, octets, esm_class=esm_class, data_coding=data_coding, tlvs=tlvs)


@pytest.mark.parametrize(
    "word",
    ["STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT", "ARRET", "ARRÊT", "수신거부", "TD"],
)
def test_word_of_any_language_stops(word: str) -> None:
    for text in (word, word.lower(), f" {word}\r\n", unicodedata.normalize("NFD", word)):
        assert WORDS.command(text) is Command.STOP


@pytest.mark.parametrize("word", ["START", "YES", "UNSTOP", "yes", "\uff33\uff34\uff21\uff32\uff34"])
def test_word_starts_again(word: str) -> None:
    assert WORDS.command(word) is Command.START


@pytest.mark.parametrize("word", ["HELP", "info", "Hilfe"])
def test_word_asks_for_help(word: str) -> None:
    assert WORDS.command(word) is Command.HELP


@pytest.mark.parametrize(
    "text", ["", "Please stop", "STOP it", "STOPPED", "don't stop", "STOP\0", "S T O P", "x" * 10_000]
)
def test_anything_else_asks_for_nothing(text: str) -> None:
    assert WORDS.command(text) is None


@pytest.mark.parametrize(
    ("short_message", "text"),
    [
        (message(b"STOP"), "STOP"),
        (message(gsm7.encode("{é}")), "{é}"),
        (message(b"STOP", 0x10), "STOP"),
        (message(b"STOP", 0xF1), "STOP"),
        (message(b"STOP", 0x01), "STOP"),
        (message("ARRÊT".encode("latin-1"), 0x03), "ARRÊT"),
        (message("수신거부".encode("utf-16-be"), 0x08), "수신거부"),
        (message("STOP".encode("utf-16-be"), 0x18), "STOP"),
        (message(b"", payload=b"STOP"), "STOP"),
        (message(b"", 0x08, payload="ARRÊT".encode("utf-16-be")), "ARRÊT"),
        (message(b"\x05\x00\x03\x01\x01\x01STOP", esm_class=0x40), "STOP"),
        (message(b"STOP", 0x04), ""),
        (message(b"\xff\xff"), ""),
        (message(b"\xd8\x00", 0x08), ""),
        (message(b"S\x00T", 0x08), ""),
        (message(b"\xff", 0x01), ""),
        (message(b"", esm_class=0x40), ""),
        (message(b"\xff", esm_class=0x40), ""),
        (message(b"", payload=b"S" * 60_000), ""),
    ],
)
def test_text_is_read_in_the_alphabet_it_came_in(short_message: ShortMessage, text: str) -> None:
    assert text_of(short_message) == text
