"""A run's document, its last line, its page, and the tables in the READMEs."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from clarion_local.bench import page, svg, tables
from clarion_local.bench.results import Results
from clarion_local.bench.run import NAMES, BenchOptions
from clarion_local.bench.sections.profile import top

KEYS = [
    "e2e_per_s",
    "accept_batch_per_s",
    "accept_unary_per_s",
    "p99_ms_at_1850",
    "send_p99_ms_at_1850",
    "urgent_p99_ms_in_flood",
    "cpu_us_per_notification",
    "growth_ratio_10m",
    "max_pss_mb",
    "ready_seconds",
    "unaccounted",
]
ROOT = Path(__file__).parents[2]


def _results() -> Results:
    spread = {"p50_ms": 1.0, "p99_ms": 12.5, "p999_ms": 20.0, "curve": [[0.0, 0.5], [50.0, 1.0], [99.0, 12.5]]}
    stretch = {
        "sent_per_s": 4_500.0,
        "sent_by_second": [10, 20],
        "cost": {"cpu_us_total": 440.0, "cpu_us": {"planner": 100.0}, "written_bytes": {"postgres_wal": 2_000.0}},
        "pss_mb": {"planner": [90.0, 99.5], "gateway": [88.0]},
        "ledger_bytes_each": 1_500.0,
    }
    return Results(
        "full",
        datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        {"cpu": "<fast>", "cores": 2, "memory_gb": 8.0},
        sections={
            "start": {"ready_seconds": 9.5},
            "throughput": {"at_once": stretch},
            "latency": {"at_once": {"1850": {"send": spread, "to_provider": spread}}},
            "stages": {"accept": {"batch": {"per_s": 16_000.0}, "unary": {"per_s": 2_100.0}}, "dispatch": {}},
            "yardstick": {"limit_per_s": 9_000.0},
            "growth": {"ratio": 1.05},
        },
        proofs={"e2e": {"unaccounted": 0, "provider_mismatch": 0}},
    )


def test_last_line_has_every_key_in_order() -> None:
    summary = _results().summary()

    assert list(summary) == KEYS
    assert summary["e2e_per_s"] == 4_500.0
    assert summary["p99_ms_at_1850"] == 12.5
    assert summary["max_pss_mb"] == 99.5
    assert summary["unaccounted"] == 0


def test_sections_that_did_not_run_give_null() -> None:
    assert _results().summary()["urgent_p99_ms_in_flood"] is None


def test_low_figures_are_no_fault_and_what_is_unaccounted_for_is() -> None:
    good, bad = _results(), _results()
    bad.proofs["latency"] = {"unaccounted": 2, "provider_mismatch": 1}
    bad.broken["growth"] = "OSError()"

    assert not list(good.faults())
    assert len(list(bad.faults())) == 3


def test_a_whole_run_has_every_figure() -> None:
    results = _results()
    results.whole = True

    assert list(results.faults()) == ["no figure for urgent_p99_ms_in_flood"]


def test_rates_are_told_as_shares_of_what_the_machine_allows() -> None:
    results = _results()

    assert results.ratios() == {"end to end": 0.5}
    assert "| end to end | 4,500 | all of it together | 50% |" in tables.yardstick(results.document())


def test_page_shows_plots_and_lets_nothing_be_taken_for_markup() -> None:
    text = page.page(json.loads(json.dumps(_results().document())))

    assert text.count("<svg") == 5
    assert "&lt;fast&gt;" in text
    assert "<fast>" not in text


def test_plots_of_nothing_are_nothing() -> None:
    assert svg.lines({}, "x", "y") == svg.bars({}, "µs") == ""


def test_logarithmic_plot_takes_zeros_and_a_flat_line() -> None:
    assert svg.lines({"a": [(0.0, 0.0), (1.0, 5.0)], "b": [(0.0, 5.0)]}, "x", "y", log_y=True).startswith("<svg")


def test_blocks_are_written_anew_and_nothing_else_is_touched() -> None:
    text = "before\n<!-- bench: performance -->\nold\n<!-- /bench -->\nafter\n"

    filled = tables.filled(text, _results().document())

    assert filled.startswith("before\n<!-- bench: performance -->\n2026-01-02")
    assert filled.endswith("<!-- /bench -->\nafter\n")
    assert "| sent end to end, mixed | ≥ 4,444/s | 4,500 |" in filled
    assert "old" not in filled
    assert tables.filled(filled, _results().document()) == filled


def test_a_second_run_stands_beside_the_first_with_how_far_apart_they_are() -> None:
    again = _results()
    again.sections["growth"] = {"ratio": 1.1}

    filled = tables.filled("<!-- bench: performance -->\n<!-- /bench -->", _results().document(), again.document())

    assert "| CPU a delivery, 10 million rows against none | ≤ 1.10 | 1.05 | 1.1 | 5% |" in filled
    assert "| urgent to provider beside a flood, p99 | ≤ 100 ms | - | - | - |" in filled


def test_two_runs_agree_within_their_share_and_not_where_one_lacks_a_figure() -> None:
    first, near, far = _results(), _results(), _results()
    near.sections["growth"] = {"ratio": 1.05 * 0.86}
    far.sections["growth"] = {"ratio": 1.05 * 0.84}
    del far.sections["stages"]

    assert tables.disagreements(first.document(), near.document()) == {}
    apart = tables.disagreements(first.document(), far.document())
    assert apart == {"accept_batch_per_s": None, "accept_unary_per_s": None, "growth_ratio_10m": pytest.approx(0.16)}


@pytest.mark.parametrize("name", list(tables.BLOCKS))
def test_every_block_can_be_written_of_a_whole_run_and_of_an_empty_one(name: str) -> None:
    empty = Results("smoke", datetime(2026, 1, 2, tzinfo=UTC), {})
    for results in (_results(), empty):
        table = tables.BLOCKS[name](results.document()).splitlines()
        for above, below in pairwise(table):
            if above.startswith("|") and below.startswith("|"):
                assert above.count(" |") == below.count(" |")
        assert any(line.startswith("| ---") for line in table)


def test_a_block_of_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no block is called wrong"):
        tables.filled("<!-- bench: wrong -->\n<!-- /bench -->", _results().document())


def test_readmes_have_blocks_that_can_be_written() -> None:
    for name in tables.FILES:
        tables.filled((ROOT / name).read_text(), _results().document())
    assert "<!-- bench: performance -->" in (ROOT / "tests/load/README.md").read_text()


def test_profiles_are_run_only_when_asked_for(tmp_path: Path) -> None:
    assert "profile" not in BenchOptions(tmp_path).wanted()
    assert set(BenchOptions(tmp_path, profiles=True).wanted()) == set(NAMES)
    assert BenchOptions(tmp_path, only=("growth", "latency")).wanted() == ("latency", "growth")


def test_unknown_sections_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such section: nonsense"):
        BenchOptions(tmp_path, only=("nonsense",)).wanted()


def test_top_list_tells_own_time_from_that_of_callees() -> None:
    found = top("main;loop;parse 30\nmain;loop 10\nmain;parse;loop 60\nnot a line\n")

    assert found[0] == {"function": "loop", "own": 0.7, "total": 1.0}
    assert found[1] == {"function": "parse", "own": 0.3, "total": 0.9}


def test_top_list_of_nothing_is_empty() -> None:
    assert top("") == []
