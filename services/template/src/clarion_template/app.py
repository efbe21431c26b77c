"""Wires the template service."""

from functools import partial

from clarion.internal.template.v1 import template_service_pb2_grpc as internal
from clarion.template.v1 import template_service_pb2_grpc as public
from clarion_kit.daemon import Daemon
from clarion_ledger import db, durable
from clarion_template.adapters.guard import GuardedChild
from clarion_template.adapters.postgres import PostgresStore
from clarion_template.authoring import Author
from clarion_template.catalog import Catalog
from clarion_template.render_rpc import RenderRpc
from clarion_template.rpc import TemplateRpc
from clarion_template.settings import Settings


async def build(d: Daemon, s: Settings) -> None:
    """Postgres and the guarded child behind the public and the internal service."""
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    store = PostgresStore(pool)
    guard = await d.open(GuardedChild.running())
    catalog = Catalog(store, d.clock, s.template_cache_mib << 20)
    d.ready_when(postgres=durable.Ready(pool, "ledger.test_send", production=s.production))
    d.serve(
        partial(public.add_TemplateServiceServicer_to_server, TemplateRpc(store, Author(store, guard), catalog)),
        partial(internal.add_TemplateServiceServicer_to_server, RenderRpc(catalog, d.telemetry.metrics)),
    )
