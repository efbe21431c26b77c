"""Wires the preference daemon: the only module that names concrete adapters."""

from datetime import timedelta
from functools import partial

from clarion.internal.preference.v1 import preference_service_pb2_grpc as internal_grpc
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.suppression.v1 import suppression_service_pb2_grpc as suppression_grpc
from clarion.topic.v1 import topic_service_pb2
from clarion_kit.daemon import Daemon
from clarion_kit.rpc.unbuilt import Unbuilt
from clarion_kit.settings import from_file
from clarion_ledger import db, durable
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.adapters.suppression_list import PostgresSuppressionList
from clarion_preference.rpc.internal import InternalPreferenceRpc
from clarion_preference.rpc.recipient import RecipientRpc
from clarion_preference.rpc.suppression import SuppressionRpc
from clarion_preference.rpc.wishes import PreferenceRpc
from clarion_preference.settings import Settings

PRUNE_EVERY = timedelta(minutes=1)


async def build(d: Daemon, s: Settings) -> None:
    """Open Postgres, serve; ready while the database answers and holds this daemon's schema. Raises FaultySettings."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    directory = PostgresDirectory(pool, keys)
    suppressions = PostgresSuppressionList(pool, keys)
    d.every("bounces", PRUNE_EVERY, suppressions.prune)
    d.ready_when(postgres=durable.Ready(pool, "preference.suppression", production=s.production))
    d.serve(
        partial(recipient_grpc.add_RecipientServiceServicer_to_server, RecipientRpc(directory)),
        partial(preference_grpc.add_PreferenceServiceServicer_to_server, PreferenceRpc(directory)),
        partial(suppression_grpc.add_SuppressionServiceServicer_to_server, SuppressionRpc(suppressions)),
        partial(
            internal_grpc.add_PreferenceServiceServicer_to_server,
            InternalPreferenceRpc(PostgresAddressBook(pool), suppressions, directory),
        ),
        Unbuilt(topic_service_pb2.DESCRIPTOR.services_by_name["TopicService"]).add_to,
    )
