"""How much of everything a run takes."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts, unless the name says seconds or rates (notifications a second)."""

    recipients: int
    warm_up: int
    e2e: int
    e2e_delayed: int
    window: int
    """Notifications that may be on their way at once while throughput is measured."""
    rates: tuple[int, ...]
    rate_seconds: float
    flood_seconds: float
    stage_batch: int
    stage_unary: int
    stage_stream: int
    edge_calls: int
    pixels: int
    reads: int
    read_seconds: float
    scrapes: int
    scrape_seconds: float
    broadcast: int
    paced: int
    scheduled: int
    future: int
    growth: int
    growth_rounds: int
    ledger_rows: int
    in_flight: int
    scale: int
    scale_pairs: int
    tracing: int
    tracing_rounds: int
    bare: int
    profile: int


FULL = Sizes(
    recipients=10_000,
    warm_up=5_000,
    e2e=300_000,
    e2e_delayed=30_000,
    window=20_000,
    rates=(185, 925, 1_850),
    rate_seconds=30.0,
    flood_seconds=30.0,
    stage_batch=40_000,
    stage_unary=15_000,
    stage_stream=20_000,
    edge_calls=200,
    pixels=5_000,
    reads=3_000,
    read_seconds=30.0,
    scrapes=100,
    scrape_seconds=30.0,
    broadcast=100_000,
    paced=500,
    scheduled=3_000,
    future=1_000_000,
    growth=10_000,
    growth_rounds=3,
    ledger_rows=10_000_000,
    in_flight=1_000_000,
    scale=10_000,
    scale_pairs=2,
    tracing=8_000,
    tracing_rounds=2,
    bare=20_000,
    profile=20_000,
)
QUICK = Sizes(
    recipients=4_000,
    warm_up=2_000,
    e2e=40_000,
    e2e_delayed=15_000,
    window=15_000,
    rates=(185, 925, 1_850),
    rate_seconds=15.0,
    flood_seconds=10.0,
    stage_batch=10_000,
    stage_unary=3_000,
    stage_stream=5_000,
    edge_calls=60,
    pixels=1_000,
    reads=2_000,
    read_seconds=15.0,
    scrapes=30,
    scrape_seconds=10.0,
    broadcast=20_000,
    paced=500,
    scheduled=500,
    future=100_000,
    growth=8_000,
    growth_rounds=2,
    ledger_rows=500_000,
    in_flight=50_000,
    scale=6_000,
    scale_pairs=2,
    tracing=4_000,
    tracing_rounds=1,
    bare=5_000,
    profile=15_000,
)
SMOKE = Sizes(
    recipients=100,
    warm_up=50,
    e2e=640,
    e2e_delayed=160,
    window=400,
    rates=(1_850,),
    rate_seconds=1.0,
    flood_seconds=2.0,
    stage_batch=160,
    stage_unary=32,
    stage_stream=32,
    edge_calls=3,
    pixels=10,
    reads=20,
    read_seconds=1.0,
    scrapes=2,
    scrape_seconds=1.0,
    broadcast=200,
    paced=20,
    scheduled=20,
    future=1_000,
    growth=160,
    growth_rounds=1,
    ledger_rows=3_200,
    in_flight=320,
    scale=80,
    scale_pairs=1,
    tracing=160,
    tracing_rounds=1,
    bare=100,
    profile=160,
)
SIZES: Mapping[str, Sizes] = {"full": FULL, "quick": QUICK, "smoke": SMOKE}
"""By the name a run is called: ``make bench``, ``--quick``, and what ``make bench-smoke`` runs."""
