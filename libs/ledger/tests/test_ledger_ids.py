"""Delivery ids: derived from what makes a delivery unique, sorted by their parent's time."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from clarion_kit.vocabulary import Channel
from clarion_ledger.ids import delivery_id, floor_of, timestamp_ms
from clarion_testkit.plugin import Database

ids = st.uuids(version=4)
parents = st.builds(
    lambda ms, noise: UUID(int=(ms << 80) | (7 << 76) | (noise & ((1 << 76) - 1))),
    st.integers(0, (1 << 48) - 1),
    st.integers(0, (1 << 76) - 1),
)
channels = st.sampled_from(Channel)
HASH_BITS = ((1 << 12) - 1) << 64 | ((1 << 62) - 1)


@given(parents, ids, channels, st.none() | ids, st.integers(0, 255), st.integers(0, 255))
def test_delivery_id_is_a_version_7_uuid_of_its_parents_time(
    parent: UUID, recipient: UUID, channel: Channel, address: UUID | None, step: int, epoch: int
) -> None:
    id_ = delivery_id(parent, recipient, channel, address, step, epoch)

    assert timestamp_ms(id_) == timestamp_ms(parent)
    assert (id_.version, id_.variant) == (7, "specified in RFC 4122")
    assert id_ == delivery_id(parent, recipient, channel, address, step, epoch)


@given(parents, parents, ids, ids, ids)
def test_whatever_makes_a_delivery_unique_changes_its_id(
    parent: UUID, other_parent: UUID, recipient: UUID, address: UUID, other: UUID
) -> None:
    variants = [
        delivery_id(parent, recipient, Channel.IOS, address),
        delivery_id(parent, recipient, Channel.ANDROID, address),
        delivery_id(parent, recipient, Channel.IOS, None),
        delivery_id(parent, recipient, Channel.IOS, address, step=1),
        delivery_id(parent, recipient, Channel.IOS, address, epoch=1),
        delivery_id(parent, recipient, Channel.IOS, address, step=1, epoch=1),
    ]
    if other not in (recipient, address):
        variants += [
            delivery_id(parent, other, Channel.IOS, address),
            delivery_id(parent, recipient, Channel.IOS, other),
        ]
    if other_parent != parent:
        variants.append(delivery_id(other_parent, recipient, Channel.IOS, address))

    assert len(set(variants)) == len(variants)


def test_all_74_bits_of_the_digest_vary() -> None:
    parent, address = UUID(int=7 << 76), UUID(int=9)
    found = [delivery_id(parent, UUID(int=n), Channel.SMS, address).int for n in range(64)]

    ever_set = ever_clear = 0
    for id_ in found:
        ever_set |= id_
        ever_clear |= ~id_

    assert HASH_BITS.bit_count() == 74
    assert ever_set & ever_clear & ((1 << 128) - 1) == HASH_BITS


@given(st.integers(0, (1 << 48) - 1), parents)
def test_floor_sorts_before_every_id_of_its_moment(ms: int, parent: UUID) -> None:
    assert (floor_of(ms) <= parent) == (ms <= timestamp_ms(parent))


async def test_floor_is_the_databases_own(database: Database) -> None:
    moment = await database.pool.fetchval("SELECT date_trunc('milliseconds', now())")

    assert await database.pool.fetchval("SELECT ledger.uuid_floor($1)", moment) == floor_of(
        round(moment.timestamp() * 1000)
    )
