"""A program: read the data set at the path of its argument, and say as JSON what was read."""

import json
import sys
from pathlib import Path

from fedmem.data.formats import load_dataset, locate
from fedmem.errors import DataError

if __name__ == "__main__":
    path = Path(sys.argv[1])
    try:
        dataset = load_dataset(path)
        found = {"format": locate(path).format, "digest": dataset.digest, "titles": [i.title for i in dataset.items]}
    except DataError as error:
        found = {"refused": str(error)}
    sys.stdout.write(json.dumps(found))
