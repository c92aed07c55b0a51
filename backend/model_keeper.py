"""Keeps the model in service up to date with the database: new versions, new interactions, new items, who is to be forgotten."""

import logging
import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from backend.new_interactions import NewInteractions
from backend.served_model import ServedModel, ServedModels
from backend.telemetry import ModelMetrics
from fedmem.errors import CheckpointError, ConflictError, FedMemError, StorageError
from fedmem.serving import Question, Recommender, described_item
from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from fedmem.storage.jobs import JobStore
from fedmem.storage.models import ModelRow, ModelStore

LOG = logging.getLogger(__name__)
NOBODY = "\x00"  # no user has this id
