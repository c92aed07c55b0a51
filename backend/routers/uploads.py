"""Files that are uploaded, looked at, and imported: by the readers of ``fedmem data import``."""

from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path as File
from typing import Annotated

import anyio
from fastapi import APIRouter, Path, Query, Request, Response

from backend.concurrency_limit import ConcurrencyLimit
from backend.dependencies import SEES_USERS, WRITES, CurrentLinks, CurrentUploads
from backend.middleware import client_of, content_length
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from fedmem.contracts import ImportUpload, ReadUpload, Upload, UploadList
from fedmem.contracts.contract import PRINTABLE
from fedmem.contracts.uploads import UploadId
from fedmem.errors import disk_error
from fedmem.importing.preview import checked_options

router = APIRouter(tags=["operations"], route_class=KnownQueryRoute)
ACCEPTED = HTTPStatus.ACCEPTED
BINARY = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}}
InPath = Annotated[UploadId, Path(description="The upload's id.", examples=["6f2c1b0e9d8a47c3b5f0e1d2c3b4a596"])]


@router.post(
    "/uploads",
    status_code=HTTPStatus.CREATED,
    dependencies=[SEES_USERS],
    openapi_extra=BINARY,
    responses={
        **problems(400, 409, 413, 503),
        201: {"headers": {"Location": {"description": "Where the upload is.", "schema": {"type": "string"}}}},
    },
)
async def upload_file(
    request: Request,
    uploads: CurrentUploads,
    links: CurrentLinks,
    response: Response,
    filename: Annotated[
        str,
        Query(min_length=1, max_length=255, pattern=PRINTABLE, description="Its name.", examples=["orders.csv"]),
    ],
) -> Upload:
    """Upload a file of interactions, or of items, as the body; at most FEDMEM_MAX_UPLOAD_MIB.

    It is kept until it is imported, or for an hour after it was last used; where there are eight, the one that was not
    used for longest gives way. Nothing is read of it yet.
    """
    places: ConcurrencyLimit = request.app.state.upload_places
    with places.slot(client_of(request.scope)), ExitStack() as stack:
        arriving = uploads.arriving(filename, content_length(request.scope))
        arrival = await anyio.to_thread.run_sync(stack.enter_context, arriving)
        await _store(request, arrival.path)
        upload = await anyio.to_thread.run_sync(uploads.end, arrival)
    response.headers["Location"] = links.path(f"/uploads/{upload.upload_id}")
    return upload


async def _store(request: Request, path: File) -> None:
    try:
        async with await anyio.open_file(path, "wb") as file:
            async for part in request.stream():
                await file.write(part)
    except OSError as error:
        raise disk_error(
            error, f"the file cannot be stored here ({error.strerror}); make room, or tell who can"
        ) from None


@router.get("/uploads", dependencies=[SEES_USERS], responses=problems(503))
def list_uploads(uploads: CurrentUploads) -> UploadList:
    """List the uploads that are there, the one that was used last first."""
    return UploadList(uploads=tuple(uploads.all()))


@router.get("/uploads/{upload_id}", dependencies=[SEES_USERS], responses=problems(404, 503))
def get_upload(upload_id: InPath, uploads: CurrentUploads) -> Upload:
    """Say how far an upload is: what would be read of it, what was imported, or what is wrong."""
    return uploads.get(upload_id)


@router.post(
    "/uploads/{upload_id}/preview",
    status_code=ACCEPTED,
    dependencies=[WRITES],
    responses=problems(400, 404, 409, 413, 503),
)
def preview_upload(upload_id: InPath, order: ReadUpload, uploads: CurrentUploads) -> Upload:
    """Read an upload without storing anything; `GET /uploads/{id}` says what would be read, once it is done.

    One is read at a time: while another is, this is a 409.
    """
    checked_options(order.options)
    return uploads.start(upload_id, order)


@router.post(
    "/uploads/{upload_id}/import",
    status_code=ACCEPTED,
    dependencies=[WRITES],
    responses=problems(400, 404, 409, 413, 503),
)
def import_upload(upload_id: InPath, order: ImportUpload, uploads: CurrentUploads) -> Upload:
    """Import an upload into a data set, all or nothing; `GET /uploads/{id}` says how far it is and what it has done.

    As `fedmem data import`, it adds what is new and updates what the files describe. Pictures are not uploaded.
    """
    checked_options(order.options)
    return uploads.start(upload_id, order)


@router.delete(
    "/uploads/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    dependencies=[WRITES],
    responses=problems(404, 409, 503),
)
def delete_upload(upload_id: InPath, uploads: CurrentUploads) -> None:
    """Remove an uploaded file. One that is being read is not read on; nothing of it is stored, if not all is already.

    Done twice, it is done. A 409 says that what reads it has not ended yet: it is removed once it has.
    """
    uploads.remove(upload_id)
