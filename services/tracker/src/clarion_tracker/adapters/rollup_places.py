"""What rollups and the statistics that read them must agree on."""

FIRST_KEY = 1_000_000_001
"""From here on a rollup's `template_version` is a key of `ledger.template_key`; below, a version whose template is not known."""
WEEKS_PLACE = "concat_ws(' ', xid, seq, activity_xid, activity_seq, extract(epoch FROM as_of))"
"""Where the cursor stands, as `weeks_place` says it while the weeks follow the days."""
