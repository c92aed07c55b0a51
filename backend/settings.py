"""The backend's settings, from the environment or a file ``.env``; ``.env.example`` lists them all."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, FiniteFloat, PositiveFloat, PositiveInt, SecretStr, model_validator

from backend.encoders import SHIPPED
from backend.served_models import IN_MEMORY
from fedmem.sockets import is_loopback
from fedmem.storage.settings import StorageSettings
from web.prefix import checked_prefix
from web.settings import WebSettings


class Settings(StorageSettings, WebSettings):
    """Where the backend listens, what it reads, and what it puts up with."""

    host: str = Field(
        "127.0.0.1",
        description="The address to listen on; beyond loopback only with FEDMEM_API_KEY or FEDMEM_KEYS_FILE.",
    )
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8000,
        description="The port to listen on; 0 takes a free one. With another than 8000 set FEDMEM_API_URL too, by "
        "which the dashboard reaches it (fedmem up does so itself).",
    )
    root_path: Annotated[str, AfterValidator(checked_prefix)] = Field(
        "",
        description="The path by which a reverse proxy tells the API from other services of its host: /api. Links, "
        "`next` and the documentation begin with it; the proxy may hand it on or cut it off.",
    )
    api_key: SecretStr | None = Field(
        None,
        repr=False,
        description="What the header X-API-Key must be of a request that writes, or shows what is stored of a user; "
        "unset, every caller may. Whoever can open the dashboard then writes with it.",
    )
    read_key: SecretStr | None = Field(
        None,
        repr=False,
        description="What X-API-Key must be of every other request; FEDMEM_API_KEY will do as well. Unset, every "
        "caller may read items, jobs, models and recommendations.",
    )
    keys_file: Path | None = Field(
        None,
        description="A file of further keys by name and digest, which `fedmem keys` writes; a change counts at once.",
    )
    dataset: str | None = Field(
        None,
        max_length=255,
        description="The data set that is meant by requests that name none; unset, the only one that has a model in "
        "service, and where several have one such requests are refused.",
    )
    models_in_memory: PositiveInt = Field(
        IN_MEMORY,
        description="The most models in memory. Beyond them the one asked least recently leaves, first those that were "
        "replaced; one that is in service is loaded again once it is asked, which takes that request seconds.",
    )
    encoders: str = Field(
        SHIPPED,
        description="The encoders that the configuration of a job may name that is posted, besides those of "
        "FEDMEM_JOB_CONFIG and of the job that it continues; * for any, which trainers look for on their disk and the "
        "model hub.",
    )
    max_body_bytes: PositiveInt = Field(1_048_576, description="The longest request body, in bytes.")
    rate_limit: PositiveInt | None = Field(
        None,
        description="Requests per minute of one client address, where every 100 items or events of one count as a "
        "request, histories by their work, wrong bodies by their bytes and reads of a job's data by their "
        "time; unset, as many as they like.",
    )
    max_k: PositiveInt = Field(1000, description="The most items of one answer.")
    max_feedback_per_day: PositiveInt = Field(
        10_000, description="The most new events of one user that POST /feedback takes in a day (UTC); more are 429."
    )
    positive_rating: FiniteFloat = Field(
        4.0,
        description="From which rating on an event of kind `rating` becomes an interaction; a lower one only counts.",
    )
    impressions: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="The share of the answers to known users that are noted for the online evaluation; 0 notes none.",
    )
    attribution_hours: PositiveFloat = Field(
        24.0, description="Hours after an answer in which a click or an interaction counts for it."
    )
    impression_days: PositiveFloat = Field(30.0, description="Days after which noted answers are deleted.")
    max_impressions: PositiveInt = Field(
        500_000, description="The most items of noted answers that are kept; the oldest are deleted."
    )
    max_batch: PositiveInt = Field(256, description="The most users of one POST /recommend/batch.")
    max_batch_items: PositiveInt = Field(
        10_000,
        description="The most items of all answers to one POST /recommend/batch, those skipped included; a history "
        "that is replayed counts as 25 more for each model.max_seq_len of it, and 25 where its text is encoded.",
    )
    max_streams: PositiveInt = Field(
        100,
        description="The most open streams of GET /jobs/{id}/events, a quarter of them of one address; who comes "
        "beyond them gets 503.",
    )
    refresh_seconds: PositiveFloat = Field(
        1.0, description="Seconds between looks into the database for news: models, feedback, a job's rounds."
    )

    @model_validator(mode="after")
    def _closed_or_locked(self) -> Self:
        if self.api_key is not None or self.keys_file is not None:
            return self
        if not is_loopback(self.host):
            raise ValueError(
                f"FEDMEM_HOST = {self.host!r} can be reached from other machines, and no key protects what writes: "
                "set FEDMEM_API_KEY, or listen on 127.0.0.1"
            )
        if self.read_key is not None:
            raise ValueError("FEDMEM_READ_KEY is set, and no key protects what writes: set FEDMEM_API_KEY too")
        return self
