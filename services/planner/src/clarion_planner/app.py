"""Composition of the planner."""

from functools import partial
from random import Random

from clarion.internal.planner.v1.planner_service_pb2_grpc import add_PlannerServiceServicer_to_server
from clarion_channels.caps import LimiterCaps
from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret
from clarion_kit.rpc import client
from clarion_kit.settings import from_file
from clarion_kit.subjects import Stream, all_lanes, plan_lanes
from clarion_kit.vocabulary import Priority
from clarion_ledger import config, db, durable, runway
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_planner.adapters.audience import AudienceClient
from clarion_planner.adapters.preference import PreferenceClient
from clarion_planner.adapters.template import TemplateClient
from clarion_planner.broadcast_turns import BROADCASTS_EVERY, BroadcastTurns
from clarion_planner.budget import REFRESH, SmsBudgets
from clarion_planner.burst import BurstWatch
from clarion_planner.consumer import PlanConsumer
from clarion_planner.content import Links
from clarion_planner.digesting import POLL, Digests
from clarion_planner.explaining import Explaining
from clarion_planner.planning import Planning
from clarion_planner.rpc import PlannerRpc
from clarion_planner.settings import Settings


async def build(d: Daemon, s: Settings) -> None:
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    preference = await d.open(client.connect("preference", s, d.telemetry))
    template = await d.open(client.connect("template", s, d.telemetry))
    limiter = await d.open(client.connect("rate_limiter", s, d.telemetry))
    cache = config.ConfigCache(pool, with_lanes=True)
    lanes = runway.Runway(pool, bus, [lane for lane in all_lanes() if lane.stream is Stream.DISPATCH])
    links = None
    if s.link_key_file is not None and s.link_base_url is not None:
        links = Links(s.link_base_url.rstrip("/"), from_file("CLARION_LINK_KEY_FILE", load_secret, s.link_key_file))
    keys = KeyRing(pool, from_file("CLARION_KEK_FILE", load_wrapper, s.kek_file))
    watch = BurstWatch(s.sms_burst_numbers, s.sms_burst_percent / 100)
    budgets = SmsBudgets(pool, keys, watch, d.telemetry.metrics, d.clock)
    await d.open(budgets.running())
    rules = Planning(
        pool,
        keys,
        cache,
        PreferenceClient(preference),
        TemplateClient(template),
        LimiterCaps(limiter),
        budgets,
        links,
        metrics=d.telemetry.metrics,
    )
    digests = Digests(pool, keys, cache, TemplateClient(template), links)
    consumer = PlanConsumer(pool, bus, lanes, rules, d.telemetry)
    turns = BroadcastTurns(pool, keys, lanes, rules, consumer, AudienceClient(preference), d.telemetry)

    d.ready_when(nats=bus.ping, postgres=durable.Ready(pool, "ledger.template_key", production=s.production))
    d.every("config", config.POLL, cache.refresh)
    d.every("stopped lanes", config.POLL, rules.look_at_stops)
    d.every("budgets", REFRESH, budgets.refresh)
    d.every("digests", POLL, digests.close_due)
    d.every("runway", runway.REFRESH, lanes.refresh)
    d.every("broadcasts", BROADCASTS_EVERY, turns.round)
    for lane in plan_lanes():
        # Urgent messages mostly hold one id each, others many: about as much work in one batch either way.
        urgent = lane.priority is Priority.URGENT
        d.consume(
            bus,
            lane,
            consumer.handler(lane.priority),
            width=s.width + 1 if urgent else s.width,
            max_messages=100 if urgent else 16,
        )
    explaining = Explaining(pool, keys, cache, rules, Random())
    d.serve(partial(add_PlannerServiceServicer_to_server, PlannerRpc(explaining)))
