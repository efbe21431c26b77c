"""Composition of the gateway."""

from datetime import timedelta
from functools import partial

from clarion.app.v1.app_service_pb2_grpc import add_AppServiceServicer_to_server
from clarion.auditlog.v1.audit_log_service_pb2_grpc import add_AuditLogServiceServicer_to_server
from clarion.auth.v1.auth_service_pb2_grpc import add_AuthServiceServicer_to_server
from clarion.budget.v1.budget_service_pb2_grpc import add_BudgetServiceServicer_to_server
from clarion.category.v1.category_service_pb2_grpc import add_CategoryServiceServicer_to_server
from clarion.deadletter.v1.dead_letter_service_pb2_grpc import add_DeadLetterServiceServicer_to_server
from clarion.notification.v1.notification_service_pb2_grpc import add_NotificationServiceServicer_to_server
from clarion.provider.v1.provider_service_pb2_grpc import add_ProviderServiceServicer_to_server
from clarion.routing.v1.routing_service_pb2_grpc import add_RoutingServiceServicer_to_server
from clarion.webhook.v1.webhook_service_pb2_grpc import add_WebhookServiceServicer_to_server
from clarion_gateway.acceptor import Acceptor
from clarion_gateway.admission import Admission
from clarion_gateway.door import Door
from clarion_gateway.explainer import Explainer
from clarion_gateway.forward import Forwarder
from clarion_gateway.intake import Intake
from clarion_gateway.open_streams import MAX_SENDING_PER_KEY, OpenStreams
from clarion_gateway.plugins import ProviderKinds
from clarion_gateway.quotas import Quotas, RateLimiter
from clarion_gateway.rpc.apps import AppRpc
from clarion_gateway.rpc.audit_log import AuditLogRpc
from clarion_gateway.rpc.auth import AuthRpc
from clarion_gateway.rpc.bounded import Bounded
from clarion_gateway.rpc.budgets import BudgetRpc
from clarion_gateway.rpc.categories import CategoryRpc
from clarion_gateway.rpc.dead_letters import DeadLetterRpc
from clarion_gateway.rpc.notification import NotificationRpc
from clarion_gateway.rpc.providers import ProviderRpc, RoutingRpc
from clarion_gateway.rpc.webhooks import WebhookRpc
from clarion_gateway.settings import Settings
from clarion_gateway.standing import KeyStandings, KeyUses
from clarion_gateway.templates import Templates
from clarion_gateway.token_key_log import note_token_keys
from clarion_gateway.tokens import TokenIssuer, TokenKeyFile
from clarion_kit import mesh
from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret, load_token_keys
from clarion_kit.rpc import client
from clarion_kit.settings import from_file
from clarion_kit.subjects import plan_lanes
from clarion_ledger import config, db, durable, runway
from clarion_ledger.app_labels import AppLabels
from clarion_ledger.keys import KeyRing, load_wrapper

STANDINGS_EVERY = timedelta(seconds=2)
KEY_FILE_EVERY = timedelta(seconds=5)
USES_EVERY = timedelta(seconds=30)


async def build(d: Daemon, s: Settings) -> None:
    """Open the ledger, the bus and the peers, serve; ready while the ledger answers. Raises FaultySettings."""
    pepper = from_file("CLARION_PEPPER_FILE", load_secret, s.pepper_file)
    wrapper = from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file)
    issuer = TokenIssuer(
        from_file("CLARION_TOKEN_KEYS_FILE", load_token_keys, s.token_keys_file), timedelta(minutes=s.token_minutes)
    )
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    forwarded = {method.served_by for method in mesh.public_methods().values()} - {mesh.GATEWAY}
    peers = {daemon: await d.open(client.connect(daemon, s, d.telemetry, retry=False)) for daemon in sorted(forwarded)}
    keys = KeyRing(pool, wrapper)
    cache = config.ConfigCache(pool, with_lanes=False)
    lanes = runway.Runway(pool, bus, plan_lanes())
    labels = AppLabels(cache)
    acceptor = Acceptor(pool, bus, lanes, d.telemetry, batch=s.accept_batch, queue=s.accept_queue, app_label=labels.of)
    standings, uses = KeyStandings(pool), KeyUses(pool)
    door = Door(issuer, standings, uses)
    limiter = RateLimiter(await d.open(client.connect("rate_limiter", s, d.telemetry, retry=False)))
    admission = Admission(standings, Quotas(limiter), s.trusted_proxies)
    sending = OpenStreams(door, admission, most=MAX_SENDING_PER_KEY)
    token_keys = TokenKeyFile(s.token_keys_file, issuer, partial(note_token_keys, pool))
    templates = Templates(await d.open(client.connect("template", s, d.telemetry)))
    explainer = Explainer(await d.open(client.connect("planner", s, d.telemetry)))
    intake = Intake(cache, keys, templates, acceptor, admission)

    # Not NATS: what is accepted without it rests in the ledger until it is back.
    d.ready_when(
        postgres=durable.Ready(pool, "ledger.notification_seen", production=s.production), keys=standings.known
    )
    d.every("config", config.POLL, cache.refresh)
    d.every("runway", runway.REFRESH, lanes.refresh)
    d.every("key standings", STANDINGS_EVERY, standings.refresh)
    d.every("token keys", KEY_FILE_EVERY, token_keys.look)
    d.every("key uses", USES_EVERY, uses.store)
    await d.open(acceptor.running())
    d.serve(
        Bounded(
            admission,
            sending,
            partial(add_NotificationServiceServicer_to_server, NotificationRpc(intake, explainer, pool, cache, door)),
            partial(add_AuthServiceServicer_to_server, AuthRpc(pool, pepper, issuer, admission)),
            partial(add_AppServiceServicer_to_server, AppRpc(pool, wrapper, pepper)),
            partial(add_AuditLogServiceServicer_to_server, AuditLogRpc(pool)),
            partial(add_CategoryServiceServicer_to_server, CategoryRpc(pool)),
            partial(add_ProviderServiceServicer_to_server, ProviderRpc(pool, keys, ProviderKinds())),
            partial(add_RoutingServiceServicer_to_server, RoutingRpc(pool)),
            partial(add_BudgetServiceServicer_to_server, BudgetRpc(pool)),
            partial(add_DeadLetterServiceServicer_to_server, DeadLetterRpc(pool, keys, cache)),
            partial(
                add_WebhookServiceServicer_to_server, WebhookRpc(pool, keys, private_hosts=s.webhook_private_hosts)
            ),
        ).add_to,
        Forwarder(peers, admission, OpenStreams(door, admission), sending).add_to,
        authenticator=door,
    )
