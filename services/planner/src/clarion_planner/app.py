"""Composition of the planner."""

from clarion.internal.planner.v1 import planner_service_pb2
from clarion_kit.bus import JetStreamBus
from clarion_kit.daemon import Daemon
from clarion_kit.keyfiles import load_secret
from clarion_kit.rpc import client
from clarion_kit.rpc.unbuilt import Unbuilt
from clarion_kit.settings import from_file
from clarion_kit.subjects import Stream, all_lanes, plan_lanes
from clarion_kit.vocabulary import Priority
from clarion_ledger import config, db, durable, runway
from clarion_ledger.keys import KeyRing, load_wrapper
from clarion_planner.adapters.limiter import LimiterClient
from clarion_planner.adapters.preference import PreferenceClient
from clarion_planner.adapters.template import TemplateClient
from clarion_planner.budget import REFRESH, SmsBudgets
from clarion_planner.burst import BurstWatch
from clarion_planner.consumer import PlanConsumer
from clarion_planner.content import OpenPixels
from clarion_planner.planning import Planning
from clarion_planner.settings import Settings


async def build(d: Daemon, s: Settings) -> None:
    pool = await d.open(db.pool(s.database_url.get_secret_value(), size=s.database_pool, application=d.name))
    bus = await d.open(JetStreamBus.for_daemon(d.name, s, d.telemetry))
    preference = await d.open(client.connect("preference", s, d.telemetry))
    template = await d.open(client.connect("template", s, d.telemetry))
    limiter = await d.open(client.connect("rate_limiter", s, d.telemetry))
    cache = config.ConfigCache(pool, with_lanes=True)
    lanes = runway.Runway(pool, bus, [lane for lane in all_lanes() if lane.stream is Stream.DISPATCH])
    pixels = None
    if s.link_key_file is not None and s.link_base_url is not None:
        pixels = OpenPixels(
            s.link_base_url.rstrip("/"), from_file("CLARION_LINK_KEY_FILE", load_secret, s.link_key_file)
        )
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
        LimiterClient(limiter),
        budgets,
        pixels,
    )
    consumer = PlanConsumer(pool, bus, lanes, rules, d.telemetry)

    d.ready_when(nats=bus.ping, postgres=durable.Ready(pool, "ledger.sms_budget", production=s.production))
    d.every("config", config.POLL, cache.refresh)
    d.every("stopped lanes", config.POLL, rules.look_at_stops)
    d.every("budgets", REFRESH, budgets.refresh)
    d.every("runway", runway.REFRESH, lanes.refresh)
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
    d.serve(Unbuilt(planner_service_pb2.DESCRIPTOR.services_by_name["PlannerService"]).add_to)
