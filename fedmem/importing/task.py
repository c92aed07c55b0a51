"""What is done about an upload: its file is read and, if wished, imported; what is wrong is told in its state."""

import logging
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedmem.contracts.uploads import ImportOutcome, ImportUpload, ReadUpload, Remark, Upload
from fedmem.data.formats import Reading, locate, read_dataset
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import FedMemError
from fedmem.importing.preview import preview_of
from fedmem.importing.unmatched import without_interactions, without_title
from fedmem.importing.uploads import FILE, ORDER, STATE, write_state
from fedmem.importing.writing import import_dataset, left_out
from fedmem.storage.catalogue import CatalogueStore, check_name
from fedmem.storage.engine import connect

MOST_REMARKS, LONGEST_REMARK = 30, 1000
_OPTION = re.compile(r"--([a-z]+(?:-[a-z]+)+)")
SECONDS = 0.2  # between two notes on how far it is


class RemarkHandler(logging.Handler):
    """Keeps what the readers say."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.remarks: list[Remark] = []

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Keep what a logger and those below it say until the block ends."""
        logger = logging.getLogger(name)
        before = logger.level
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self)
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(before)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        if len(self.remarks) < MOST_REMARKS:
            self.remarks.append(Remark(warning=record.levelno >= logging.WARNING, text=record.getMessage()))


class Task:
    """What is to be done about one upload."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._url = database_url
        self._folder, self._told, self._noted = folder, RemarkHandler(), 0.0
        self._upload = Upload.model_validate_json((folder / STATE).read_bytes())
        self._path = folder / FILE / self._upload.filename
        text = (folder / ORDER).read_text(encoding="utf-8")
        kind = ImportUpload if self._upload.state == "writing" else ReadUpload
        self._order: ReadUpload = kind.model_validate_json(text)

    def run(self) -> None:
        """Do it; what is wrong is told in the upload's state."""
        try:
            with self._told.of("fedmem.data"):
                self._do()
        except FedMemError as error:
            self._note(state="failed", error=self._in_short(str(error)))
        except MemoryError:
            self._note(state="failed", error="the machine's memory does not suffice; import the file in parts")
        except BaseException:
            self._note(state="failed", error="something went wrong here; the API's log says what. Nothing was stored")
            raise

    def _do(self) -> None:
        told: dict[str, Any] = dict(self._order.options)
        items = self._items()
        interactions, catalogue = read_dataset(self._path, items=items, **told)
        interactions, catalogue = interactions.without_duplicates(), list(map(_without_picture, catalogue))
        if isinstance(self._order, ImportUpload):
            outcome = self._import(self._order, interactions, catalogue)
            self._note(state="imported", imported=outcome, stage="")
            self._path.unlink(missing_ok=True)
            if items is not None:
                shutil.rmtree(items.parent.parent, ignore_errors=True)
            return
        found = locate(self._path, Reading(**told)).format
        self._note(state="previewed", preview=preview_of(found, interactions, catalogue), stage="")

    def _items(self) -> Path | None:
        upload_id = self._order.items
        return None if upload_id is None else next((self._folder.parent / upload_id / FILE).glob("*"))

    def _import(self, order: ImportUpload, interactions: Interactions, catalogue: list[Item]) -> ImportOutcome:
        check_name(order.dataset)
        engine = connect(self._url)
        store = CatalogueStore(engine)
        imported = import_dataset(
            store,
            order.dataset,
            f"{self._upload.filename}, uploaded",
            interactions,
            catalogue,
            self._progress,
            overwrite_edits=order.overwrite_edits,
            repeats=order.repeats,
        )
        untitled = store.untitled_items(order.dataset)
        engine.dispose()
        counts = {name: getattr(imported, name) for name in ImportOutcome.model_fields if hasattr(imported, name)}
        out = left_out(interactions, imported.deleted_interactions)
        return ImportOutcome(
            dataset=order.dataset,
            left_out=out,
            without_title=without_title(interactions, untitled),
            without_interactions=without_interactions(interactions, catalogue),
            **counts,
        )

    def _progress(self, stage: str, done: int, total: int) -> None:
        if stage != self._upload.stage or done == total or time.monotonic() - self._noted > SECONDS:
            self._noted = time.monotonic()
            self._note(stage=stage, done=done, total=total)

    def _note(self, **news: object) -> None:
        remarks = [Remark(warning=one.warning, text=self._in_short(one.text)) for one in self._told.remarks]
        self._upload = self._upload.model_copy(
            update={**news, "remarks": tuple(remarks), "changed_at": datetime.now(UTC)}
        )
        write_state(self._folder, self._upload)

    def _in_short(self, text: str) -> str:
        """Name files as the uploader knows them; what a file holds may be as long as the file."""
        named = re.sub(rf"{re.escape(str(self._folder.parent))}/[0-9a-f]+/{FILE}/", "", text)
        named = _OPTION.sub(lambda option: option[1].replace("-", "_"), named)  # as a request has them
        return named if len(named) <= LONGEST_REMARK else f"{named[:LONGEST_REMARK]} .."


def _without_picture(item: Item) -> Item:
    """Leave pictures as they are: the files that the upload may name are not there."""
    return replace(item, image_path=None, described=item.described - {"image_path"})
