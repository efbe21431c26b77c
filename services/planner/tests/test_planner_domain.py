"""The rules of planning, case by case."""

from collections.abc import Mapping

import pytest

from clarion_kit.vocabulary import Channel, Gate, Reason
from clarion_planner.domain import (
    AddressRef,
    Candidate,
    ChannelFacts,
    Closed,
    Content,
    Recipient,
    Suppressed,
    Wanted,
    channels_to_render,
    decide,
    keep_first_channel,
)

IOS, SMS, MAIL = Channel.IOS, Channel.SMS, Channel.EMAIL
ONE = AddressRef(b"1" * 16, b"sealed")
TWO = AddressRef(b"2" * 16, b"sealed")
OPEN = ChannelFacts(None, (ONE,))
OPEN_TWICE = ChannelFacts(None, (ONE, TWO))
OFF = ChannelFacts(Closed(Gate.WISHES, Reason.CHANNEL_OFF, "turned off"))
BLOCKED = ChannelFacts(Closed(Gate.SUPPRESSION_LIST, Reason.SUPPRESSION_LIST))
NO_DEVICE = ChannelFacts(Closed(Gate.ADDRESS, Reason.ADDRESS_DEAD, "all disabled"))
TEXT = Content(b"text")
BROKEN = Content(failure="MISSING_VARIABLE: name")
NO_ADDRESS = Closed(Gate.ADDRESS, Reason.NO_ADDRESS)
NO_CONTENT = Closed(Gate.RENDER, Reason.NO_CONTENT)
FAILED = Closed(Gate.RENDER, Reason.RENDER_FAILED, "MISSING_VARIABLE: name")
UNKNOWN = Closed(Gate.ADDRESS, Reason.RECIPIENT_UNKNOWN)

Facts = Mapping[Channel, ChannelFacts]
Contents = Mapping[Channel, Content | None]
Goes = list[tuple[Channel, AddressRef]]
Stays = list[tuple[Channel, Closed | None]]


def named(*channels: Channel) -> Wanted:
    return Wanted(channels, explicit=True, first_only=False)


def meant(*channels: Channel) -> Wanted:
    return Wanted(channels, explicit=False, first_only=False)


def known(facts: Facts) -> Recipient:
    return Recipient(b"r" * 16, found=True, channels=facts)


@pytest.mark.parametrize(
    ("wanted", "facts", "contents", "goes", "stays"),
    [
        pytest.param(named(IOS), {IOS: OPEN}, {IOS: TEXT}, [(IOS, ONE)], [], id="all open"),
        pytest.param(meant(IOS), {IOS: OPEN}, {IOS: TEXT}, [(IOS, ONE)], [], id="all open, not named"),
        pytest.param(named(IOS), {IOS: OPEN_TWICE}, {IOS: TEXT}, [(IOS, ONE), (IOS, TWO)], [], id="every address"),
        pytest.param(
            named(MAIL, IOS), {IOS: OPEN, MAIL: OPEN}, {IOS: TEXT, MAIL: TEXT}, [(MAIL, ONE), (IOS, ONE)], [],
            id="in the order asked for",
        ),
        pytest.param(named(IOS), {}, {IOS: TEXT}, [], [(IOS, NO_ADDRESS)], id="named, nothing known of the channel"),
        pytest.param(named(IOS), {IOS: NO_DEVICE}, {IOS: TEXT}, [], [(IOS, NO_DEVICE.closed)], id="named, address dead"),
        pytest.param(
            meant(IOS, SMS), {SMS: OPEN}, {IOS: TEXT, SMS: TEXT}, [(SMS, ONE)], [], id="not named, no address: not meant"
        ),
        pytest.param(
            meant(IOS, SMS), {}, {IOS: TEXT, SMS: TEXT}, [], [(IOS, NO_ADDRESS)], id="no address at all: one answer"
        ),
        pytest.param(named(IOS), {IOS: OPEN}, {}, [], [(IOS, NO_CONTENT)], id="named, no content"),
        pytest.param(named(IOS), {IOS: OPEN}, {IOS: None}, [], [(IOS, NO_CONTENT)], id="named, template has no body"),
        pytest.param(
            meant(IOS, SMS), {IOS: OPEN, SMS: OPEN}, {SMS: TEXT}, [(SMS, ONE)], [], id="not named, no content: not meant"
        ),
        pytest.param(meant(IOS), {IOS: OPEN}, {}, [], [(IOS, NO_CONTENT)], id="no content at all: one answer"),
        pytest.param(named(IOS), {IOS: OFF}, {IOS: TEXT}, [], [(IOS, OFF.closed)], id="wish against it"),
        pytest.param(meant(IOS), {IOS: OFF}, {IOS: TEXT}, [], [(IOS, OFF.closed)], id="not named, wish against it"),
        pytest.param(named(IOS), {IOS: OFF}, {}, [], [(IOS, NO_CONTENT)], id="wish against nothing to send"),
        pytest.param(meant(IOS, SMS), {IOS: OFF, SMS: OPEN}, {SMS: TEXT}, [(SMS, ONE)], [], id="not meant, so not closed"),
        pytest.param(
            meant(IOS, SMS), {IOS: OFF, SMS: OPEN}, {IOS: TEXT, SMS: TEXT}, [(SMS, ONE)], [(IOS, OFF.closed)],
            id="one closed, one goes",
        ),
        pytest.param(named(SMS), {SMS: BLOCKED}, {SMS: TEXT}, [], [(SMS, BLOCKED.closed)], id="suppression list"),
        pytest.param(named(IOS), {IOS: OPEN}, {IOS: BROKEN}, [], [(IOS, FAILED)], id="render failed"),
        pytest.param(meant(IOS), {IOS: OPEN}, {IOS: BROKEN}, [], [(IOS, FAILED)], id="not named, render failed"),
        pytest.param(named(IOS), {IOS: OFF}, {IOS: BROKEN}, [], [(IOS, OFF.closed)], id="wishes come before rendering"),
        pytest.param(
            meant(IOS, SMS), {IOS: OPEN, SMS: OPEN}, {IOS: BROKEN, SMS: TEXT}, [(SMS, ONE)], [(IOS, FAILED)],
            id="one body fails alone",
        ),
    ],
)  # fmt: skip
def test_which_channels_become_deliveries(
    wanted: Wanted, facts: Facts, contents: Contents, goes: Goes, stays: Stays
) -> None:
    candidates, suppressed = decide(wanted, known(facts), contents)

    assert [(candidate.channel, candidate.address) for candidate in candidates] == goes
    assert all(candidate.content is contents[candidate.channel] for candidate in candidates)
    assert [(one.channel, one.closed) for one in suppressed] == stays


@pytest.mark.parametrize(("wanted", "answered"), [(named(IOS, SMS), [IOS, SMS]), (meant(IOS, SMS), [IOS])])
def test_unknown_recipient_is_answered_for_each_channel_that_was_named(wanted: Wanted, answered: list[Channel]) -> None:
    nobody = Recipient(b"r" * 16, found=False)

    assert decide(wanted, nobody, {IOS: TEXT}) == ([], [Suppressed(channel, UNKNOWN) for channel in answered])


@pytest.mark.parametrize(
    ("facts", "rendered"),
    [
        ({IOS: OPEN, SMS: OPEN}, (IOS, SMS)),
        ({IOS: OFF, SMS: BLOCKED}, (IOS, SMS)),
        ({IOS: NO_DEVICE, SMS: OPEN}, (SMS,)),
        ({SMS: OPEN}, (SMS,)),
        ({}, ()),
    ],
)
def test_channels_without_an_address_are_not_rendered(facts: Facts, rendered: tuple[Channel, ...]) -> None:
    assert channels_to_render(named(IOS, SMS), known(facts)) == rendered


def test_first_available_keeps_all_addresses_of_the_first_channel() -> None:
    candidates = [
        Candidate(SMS, ONE, TEXT),
        Candidate(SMS, TWO, TEXT),
        Candidate(IOS, ONE, TEXT),
        Candidate(IOS, TWO, TEXT),
    ]

    kept, others = keep_first_channel(candidates)

    assert kept == candidates[:2]
    assert others == [Suppressed(IOS, Closed(Gate.ADDRESS, Reason.CHANNEL_NOT_CHOSEN, "sms serves"))]


def test_first_available_of_nothing_is_nothing() -> None:
    assert keep_first_channel([]) == ([], [])
