"""Readers: MovieLens-1M, -100K and csv, SASRec text, and csv, parquet, JSON and Excel tables with named columns.

``loading`` puts it all together: ``detection`` finds the files and their format, ``tables`` gives their rows in
batches, and ``interactions`` and ``items`` make of these what ``reading`` asks for, column by column with ``columns``.
"""

from fedmem.data.formats.detection import FORMATS, Source, detect_format, locate
from fedmem.data.formats.interactions import read_interactions
from fedmem.data.formats.items import read_items
from fedmem.data.formats.loading import load_dataset, read_dataset
from fedmem.data.formats.reading import Reading

__all__ = [
    "FORMATS",
    "Reading",
    "Source",
    "detect_format",
    "load_dataset",
    "locate",
    "read_dataset",
    "read_interactions",
    "read_items",
]
