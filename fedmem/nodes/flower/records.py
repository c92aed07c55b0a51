"""Letters as Flower's records and back."""

import json

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedmem.nodes.letter import Letter, facts_of


def record_of(letter: Letter) -> RecordDict:
    """Put a letter as records: an array each, and the facts as JSON."""
    arrays = ArrayRecord({name: Array(value) for name, value in letter.arrays.items()})
    return RecordDict({"arrays": arrays, "facts": ConfigRecord({"json": json.dumps(letter.facts)})})


def letter_of(record: RecordDict) -> Letter:
    """Read what ``record_of`` made; ``ValueError`` if it is something else."""
    try:
        arrays = {name: value.numpy() for name, value in record.array_records["arrays"].items()}
        return Letter(facts_of(str(record.config_records["facts"]["json"])), arrays)
    except Exception as error:  # whatever a node sends, this process goes on with the others
        raise ValueError(f"it is no letter ({type(error).__name__}: {error})") from None
