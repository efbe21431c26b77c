"""Wires the preference daemon: the only module that names concrete adapters."""

from datetime import timedelta
from functools import partial

from clarion.internal.preference.v1 import preference_service_pb2_grpc as internal_grpc
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.suppression.v1 import suppression_service_pb2_grpc as suppression_grpc
from clarion.topic.v1 import topic_service_pb2_grpc as topic_grpc
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret
from clarion_kit.settings import from_file
from clarion_ledger import db, durable
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.audience import PostgresAudiences, PostgresTopics
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.people import PostgresPeople
from clarion_preference.adapters.suppression_list import PostgresSuppressionList
from clarion_preference.adapters.wish_book import PostgresWishBook
from clarion_preference.page_links import PageLinks
from clarion_preference.rpc.internal import InternalPreferenceRpc
from clarion_preference.rpc.recipient import RecipientRpc
from clarion_preference.rpc.suppression import SuppressionRpc
from clarion_preference.rpc.topics import TopicRpc
from clarion_preference.rpc.wishes import PreferenceRpc
from clarion_preference.settings import Settings

PRUNE_EVERY = timedelta(minutes=1)
ERASE_EVERY = timedelta(seconds=5)


async def build(d: Daemon, s: Settings) -> None:
    """Open Postgres, serve; ready while the database answers and holds this daemon's schema. Raises FaultySettings."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    people = PostgresPeople(pool, keys)
    wishes = PostgresWishBook(pool)
    suppressions = PostgresSuppressionList(pool, keys)
    d.every("bounces", PRUNE_EVERY, suppressions.prune)
    d.every("erasures", ERASE_EVERY, people.finish_erasures)
    d.every("erased", PRUNE_EVERY, people.forget_erased)
    d.ready_when(postgres=durable.Ready(pool, "ledger.wall", production=s.production))
    d.serve(
        partial(
            recipient_grpc.add_RecipientServiceServicer_to_server,
            RecipientRpc(PostgresDirectory(pool, keys), people, private_hosts=s.push_private_hosts),
        ),
        partial(preference_grpc.add_PreferenceServiceServicer_to_server, PreferenceRpc(wishes, _pages(s), d.clock)),
        partial(suppression_grpc.add_SuppressionServiceServicer_to_server, SuppressionRpc(suppressions)),
        partial(
            internal_grpc.add_PreferenceServiceServicer_to_server,
            InternalPreferenceRpc(PostgresAddressBook(pool), suppressions, wishes, PostgresAudiences(pool), d.clock),
        ),
        partial(topic_grpc.add_TopicServiceServicer_to_server, TopicRpc(PostgresTopics(pool))),
    )


def _pages(s: Settings) -> PageLinks | None:
    if s.link_key_file is None or not s.link_base_url:
        return None
    return PageLinks(from_file("CLARION_LINK_KEY_FILE", load_secret, s.link_key_file), s.link_base_url)
