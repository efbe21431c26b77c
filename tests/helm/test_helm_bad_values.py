"""Whoever gives bad values is told which and what would be right, before anything reaches a cluster."""

from collections import Counter

import pytest

from .bad_values import BAD, Bad
from .charts import Json, Refused, example_values, mapping, render

pytestmark = pytest.mark.helm


@pytest.mark.parametrize("bad", BAD, ids=[bad.case for bad in BAD])
def test_bad_values_are_refused_by_name(bad: Bad, counted: Counter[str]) -> None:
    values = _over(example_values(bad.on) if bad.on else {}, dict(bad.values))

    with pytest.raises(Refused) as refused:
        render(values)

    for words in bad.says:
        assert words in str(refused.value)
    counted["bad_values"] += 1


def _over(base: dict[str, Json], top: dict[str, Json]) -> dict[str, Json]:
    merged = dict(base)
    for name, value in top.items():
        merged[name] = _over(mapping(merged.get(name)), value) if isinstance(value, dict) else value
    return merged
