import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.conversion.sensitivity import MAX_TRIES, Measured, least_left_out
from export.errors import ConversionError

pytestmark = pytest.mark.export


class Damages:
    """A network that is its list of changed nodes; what each costs is known."""

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs, self.measured = costs, 0

    def build(self, left_out: frozenset[str]) -> bytes:
        return " ".join(name for name in self.costs if name not in left_out).encode()

    def cost(self, model: bytes) -> float:
        return sum(self.costs[name] for name in model.decode().split())

    def measure(self, model: bytes) -> Measured:
        self.measured += 1
        return Measured({"dice_change": self.cost(model)}, {"dice_change": 1.0})

    def search(self, **more):
        return least_left_out(list(self.costs), self.build, self.cost, self.measure, **more)


def test_nothing_is_left_out_where_all_may_change():
    damages = Damages({"a": 0.1, "b": 0.2})
    found = damages.search()
    assert (found.left_out, found.changed, damages.measured) == ((), 2, 1)
    assert found.damage == {}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 0.7), min_size=2, max_size=64))
def test_the_fewest_of_the_worst_are_left_out(costs):
    damages = Damages({f"n{i}": cost for i, cost in enumerate(costs)})
    found = damages.search(margin=0.8)
    assert found.measured.worst <= 0.8
    assert damages.measured <= MAX_TRIES
    assert found.changed + len(found.left_out) == len(costs)
    ordered = sorted(costs, reverse=True)
    fewest = next(k for k in range(len(costs) + 1) if sum(ordered[k:]) <= 0.8 + 1e-9)
    assert len(found.left_out) <= fewest + 1  # sums round
    if found.left_out:
        kept = [cost for name, cost in damages.costs.items() if name not in found.left_out]
        assert max(kept) <= min(damages.costs[name] for name in found.left_out)


def test_limits_that_no_network_keeps_are_an_error():
    with pytest.raises(ConversionError, match="leave this precision out"):
        Damages({"a": 5.0, "b": 6.0, "c": 7.0}).search()
    with pytest.raises(ConversionError, match="no node"):
        Damages({}).search()


def test_large_networks_are_tried_in_groups():
    damages = Damages({f"n{i}": 0.02 if i == 77 else 0.0 for i in range(300)} | {"bad": 3.0})
    found = damages.search()
    assert "bad" in found.left_out
    assert len(found.left_out) <= 5
    assert len(found.damage) <= 64


def test_firm_limits_have_no_margin_and_what_is_no_number_is_beyond_them():
    measured = Measured({"dice_change": 0.9, "golden_hair_count": 1.0}, {"dice_change": 1.0}, {"golden_hair_count": 1.0})
    assert measured.kept()
    assert not measured.kept(0.8)
    assert Measured({"dice_change": 0.5, "golden_hair_count": 1.0}, {"dice_change": 1.0}, {"golden_hair_count": 1.0}).kept(0.8)
    assert not Measured({"dice_change": float("nan")}, {"dice_change": 1.0}).kept()
    assert not Measured({"dice_change": 1e-9}, {"dice_change": 0.0}).kept()
