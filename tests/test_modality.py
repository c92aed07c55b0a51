"""Modality: the names that stand in checkpoints and answers, which may not change."""

import pickle

from fedmem.modality import FROZEN, Modality


def test_the_names_on_disk_and_over_http_are_those_of_always() -> None:
    assert [(m.value, m.stored, m.label) for m in Modality] == [
        ("sequential", "id", "Sequence"),
        ("text", "text", "Text"),
        ("visual", "image", "Image"),
    ]
    assert FROZEN == (Modality.TEXT, Modality.VISUAL)


def test_a_modality_is_found_by_its_value_and_survives_another_process() -> None:
    for modality in Modality:
        assert Modality(modality.value) is pickle.loads(pickle.dumps(modality)) is modality
        assert {modality: 1}[modality.value] == 1
