"""What tracing costs, from its stretches."""

from clarion_local.bench.sections.tracing import added, lost


def test_cost_is_the_share_between_medians() -> None:
    assert lost([1_000.0, 990.0, 1_010.0], [950.0, 960.0, 940.0]) == 0.05
    assert added([400.0], [420.0]) == 0.05


def test_chance_that_speeds_up_is_no_cost() -> None:
    assert lost([1_000.0], [1_010.0]) == -0.01


def test_stretch_without_a_rate_costs_nothing() -> None:
    assert (lost([0.0], [5.0]), added([0.0], [5.0])) == (0.0, 0.0)
