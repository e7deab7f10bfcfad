"""A sweep's picture draws what differs."""

from __future__ import annotations

from mi_runner.sweeps.drawn_metrics import Panel, panels
from mi_runner.tables.intervals import Spread
from mi_runner.tables.ranges import SHARE


def found(**means: tuple[float, float]) -> list[tuple[dict[str, int], dict[str, Spread]]]:
    """Two swept values, and the mean of each number at them; `__` stands for `/`."""
    return [
        (
            {"width": width},
            {name.replace("__", "/"): Spread.of([mean[place], mean[place]], SHARE) for name, mean in means.items()},
        )
        for place, width in enumerate((2, 4))
    ]


def test_numbers_that_differ_come_first_and_constants_are_left_out() -> None:
    of = found(accuracy=(0.5, 0.5), n=(1.0, 1.0), loss=(0.2, 0.1), overlap=(0.3, 0.4), accuracy__relu=(0.1, 0.2))
    assert panels(of, ()) == [Panel("loss", {"": "loss"}), Panel("overlap", {"": "overlap"})]
    compared = panels(of, ("accuracy",))  # what the experiment compares is drawn in any case
    assert [panel.label for panel in compared] == ["accuracy", "loss", "overlap"]
    assert panels(of, (), "accuracy/relu")[0] != Panel("n", {"": "n"})
    assert "accuracy/relu" in [panel.label for panel in panels(of, (), "accuracy/relu")]


def test_a_measure_in_parts_has_a_line_for_each_method_under_the_first_ablation() -> None:
    of = found(
        accuracy=(0.5, 0.5), regret__eap__zero=(0.1, 0.2), regret__acdc__zero=(0.1, 0.1), regret__eap__mean=(0.4, 0.6)
    )
    assert panels(of, ("regret",)) == [
        Panel("regret, zero", {"eap": "regret/eap/zero", "acdc": "regret/acdc/zero"}),
    ]
    same = found(accuracy=(0.5, 0.5), regret__eap__zero=(0.1, 0.1))
    assert panels(same, ("regret",)) == [Panel("accuracy", {"": "accuracy"})]  # nothing differs
    assert panels([], ()) == []
