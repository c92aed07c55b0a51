from fedmem.contracts.traffic import bytes_of_training, bytes_sent, parties

TRAINED = {
    "clients": 3.0,
    "bytes_down_weights": 10.0,
    "bytes_up_weights": 10.0,
    "bytes_down_prototypes": 2.0,
    "bytes_up_prototypes": 1.0,
    "bytes_up_transitions": 7.0,
}
VALIDATED = {"train": TRAINED | {"bytes_down_transitions": 100.0}, "validation": {"users": 5.0, "HR@10": 0.1}}


def test_the_table_of_transitions_goes_to_those_who_validate_and_all_else_to_those_who_train():
    assert bytes_sent(VALIDATED, "down", "transitions") == 5 * 100
    assert bytes_sent(VALIDATED, "up", "transitions") == 3 * 7
    assert (bytes_of_training(VALIDATED, "down"), bytes_of_training(VALIDATED, "up")) == (12, 18)


def test_where_no_table_was_sent_none_has_got_it():
    without = {"train": TRAINED, "validation": {"users": 5.0}}
    assert parties(without, "down", "transitions") == bytes_sent({}, "up", "weights") == 0
