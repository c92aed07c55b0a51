"""Long work in short transactions."""

from sqlalchemy import event, insert

from fedmem.storage import turns
from fedmem.storage.schema import datasets


def test_a_transaction_ends_with_its_time_and_others_have_their_turn(engine, monkeypatch):
    """The clock goes on by a second with each look at it, so that a transaction of two seconds takes two pieces."""
    seconds, slept, transactions = iter(range(1000)), list[float](), list[list[str]]()
    monkeypatch.setattr(turns, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(turns, "sleep", slept.append)
    monkeypatch.setattr(turns, "HOLD", 2)
    event.listen(engine, "begin", lambda connection: transactions.append([]))

    def write(connection, name):
        connection.execute(insert(datasets).values(name=name, source="x", imported_at=1.0))
        transactions[-1].append(name)

    turns.in_turns(engine, iter("abcde"), write)
    assert transactions == [["a", "b"], ["c", "d"], ["e"]]
    assert slept == [turns.PAUSE] * 3
    with engine.connect() as connection:
        assert sorted(row.name for row in connection.execute(datasets.select())) == list("abcde")


def test_nothing_to_write_is_no_transaction(engine):
    begun = []
    event.listen(engine, "begin", begun.append)
    turns.in_turns(engine, [], lambda connection, piece: None)
    assert begun == []


def test_rows_are_split_into_pieces(monkeypatch):
    monkeypatch.setattr(turns, "PIECE", 2)
    assert list(turns.split("abcde")) == [["a", "b"], ["c", "d"], ["e"]]
