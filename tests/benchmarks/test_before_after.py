"""The comparison of two checkouts: who is asked for what, and what becomes of the seconds."""

from benchmarks.before_after import compared


class Pretended:
    """A checkout whose things take so many seconds each."""

    def __init__(self, order: list["Pretended"], **seconds: float) -> None:
        self.order, self.took = order, seconds

    def names(self) -> list[str]:
        return list(self.took)

    def seconds(self, name: str) -> float:
        self.order.append(self)
        return self.took[name]


def test_what_both_can_do_is_compared_and_what_transitions_cost_is_told_apart():
    order: list[Pretended] = []
    before = Pretended(order, round=2.0, gone=1.0)
    after = Pretended(order, round=3.0, round_with_transitions=3.3)
    assert compared(before, after, 4) == {"round": [1.5] * 3, "round_with_transitions": [1.1] * 3}
    assert order[:2] == [after, before], "they take turns"
    assert order[4:6] == [before, after], "now this one first, now the other"
