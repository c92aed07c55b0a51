"""What the API has of data sets: items, users, and files that are uploaded to be imported."""

from http import HTTPStatus
from urllib.parse import quote

import httpx

from dashboard.transport import HttpClient, refused
from fedmem.contracts import (
    AvailabilityChange,
    DatasetList,
    ImportUpload,
    ItemAvailability,
    ItemPage,
    ItemResponse,
    ItemUpdate,
    ReadUpload,
    Upload,
    UserHistory,
    UserPage,
)

SENDING = httpx.Timeout(120.0, connect=2.0)  # of a file


class DataApi(HttpClient):
    """The calls about data."""

    def datasets(self) -> DatasetList:
        """List the imported data sets."""
        return self._get(DatasetList, "/datasets")

    def items(
        self,
        query: str = "",
        limit: int = 20,
        dataset: str | None = None,
        *,
        available: bool | None = None,
        offset: int = 0,
    ) -> ItemPage:
        """List items whose title contains the query; only those that are hidden, or not, where that is asked for."""
        wanted = None if available is None else str(available).lower()
        return self._get(
            ItemPage, "/items", q=query, limit=limit, dataset=dataset, available=wanted, offset=offset or None
        )

    def users(self, query: str = "", limit: int = 50, dataset: str | None = None) -> UserPage:
        """List users whose id contains the query."""
        return self._get(UserPage, "/users", q=query, limit=limit, dataset=dataset)

    def history(self, user_id: str, dataset: str | None = None) -> UserHistory:
        """List a user's interactions, oldest first."""
        return self._get(UserHistory, f"/users/{quote(user_id, safe='')}/history", dataset=dataset)

    def item(self, item_id: str, dataset: str | None = None) -> ItemResponse:
        """Get one item of the catalogue."""
        return self._get(ItemResponse, f"/items/{quote(item_id, safe='')}", dataset=dataset)

    def picture(self, item_id: str, dataset: str | None = None) -> bytes | None:
        """Get an item's picture, None where it has none."""
        query = {} if dataset is None else {"dataset": dataset}
        response = self._send(self._http.build_request("GET", f"/items/{quote(item_id, safe='')}/image", params=query))
        if response.status_code == HTTPStatus.NOT_FOUND:
            return None
        if response.is_error:
            raise refused(response)
        return response.content

    def put_item(self, item_id: str, update: ItemUpdate, dataset: str) -> ItemResponse:
        """Describe an item anew."""
        path = f"/items/{quote(item_id, safe='')}?dataset={quote(dataset, safe='')}"
        return self._post(ItemResponse, path, update, method="PUT")

    def change_availability(self, change: ItemAvailability, dataset: str) -> AvailabilityChange:
        """Hide items, and show others again."""
        return self._post(AvailabilityChange, f"/items/availability?dataset={quote(dataset, safe='')}", change)

    def delete_user(self, user_id: str, dataset: str) -> None:
        """Delete all that is stored of a user."""
        self._delete(f"/users/{quote(user_id, safe='')}", dataset=dataset)

    def upload_file(self, filename: str, content: bytes) -> Upload:
        """Upload a file that is to be imported."""
        request = self._http.build_request(
            "POST", "/uploads", params={"filename": filename}, content=content, timeout=SENDING
        )
        return self._ask(Upload, request)

    def get_upload(self, upload_id: str) -> Upload:
        """Ask how far an upload is."""
        return self._get(Upload, f"/uploads/{upload_id}")

    def preview_upload(self, upload_id: str, order: ReadUpload) -> Upload:
        """Let an upload be read, without storing anything."""
        return self._post(Upload, f"/uploads/{upload_id}/preview", order)

    def import_upload(self, upload_id: str, order: ImportUpload) -> Upload:
        """Let an upload be imported."""
        return self._post(Upload, f"/uploads/{upload_id}/import", order)

    def delete_upload(self, upload_id: str) -> None:
        """Remove an upload."""
        self._delete(f"/uploads/{upload_id}")
