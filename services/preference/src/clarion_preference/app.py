"""Wires the preference daemon: the only module that names concrete adapters."""

from functools import partial

from clarion.internal.preference.v1 import preference_service_pb2_grpc as internal_grpc
from clarion.preference.v1 import preference_service_pb2_grpc as preference_grpc
from clarion.recipient.v1 import recipient_service_pb2_grpc as recipient_grpc
from clarion.suppression.v1 import suppression_service_pb2
from clarion.topic.v1 import topic_service_pb2
from clarion_kit.daemon import Daemon
from clarion_kit.rpc.unbuilt import Unbuilt
from clarion_kit.settings import from_file
from clarion_ledger import db
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_preference.adapters.address_book import PostgresAddressBook
from clarion_preference.adapters.directory import PostgresDirectory
from clarion_preference.rpc.internal import InternalPreferenceRpc
from clarion_preference.rpc.recipient import RecipientRpc
from clarion_preference.rpc.wishes import PreferenceRpc
from clarion_preference.settings import Settings


async def build(d: Daemon, s: Settings) -> None:
    """Open Postgres, serve; ready while the database answers and holds this daemon's schema. Raises FaultySettings."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    directory = PostgresDirectory(pool, KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file)))
    d.ready_when(postgres=partial(db.ping, pool, "preference.address"))
    d.serve(
        partial(recipient_grpc.add_RecipientServiceServicer_to_server, RecipientRpc(directory)),
        partial(preference_grpc.add_PreferenceServiceServicer_to_server, PreferenceRpc(directory)),
        partial(
            internal_grpc.add_PreferenceServiceServicer_to_server, InternalPreferenceRpc(PostgresAddressBook(pool))
        ),
        Unbuilt(
            topic_service_pb2.DESCRIPTOR.services_by_name["TopicService"],
            suppression_service_pb2.DESCRIPTOR.services_by_name["SuppressionService"],
        ).add_to,
    )
