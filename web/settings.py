"""The settings of every service that answers over HTTP: from where it may be asked, and what it puts up with."""

from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt

from fedmem.service_settings import ServiceSettings


def parts(value: str) -> tuple[str, ...]:
    """Split a list as the environment writes it: by commas."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _origins(value: str) -> str:
    for origin in parts(value):
        found = urlsplit(origin)
        if found.scheme not in ("http", "https") or origin != f"{found.scheme}://{found.netloc}":
            raise ValueError(f"{origin!r} is no origin: write https://HOST or http://HOST:PORT, without a path")
    return value


def _networks(value: str) -> str:
    for network in parts(value):
        try:
            ip_network(network, strict=False)
        except ValueError:
            raise ValueError(f"{network!r} is neither an address nor a network such as 10.0.0.0/8") from None
    return value


class WebSettings(ServiceSettings):
    """Which hosts, origins and proxies are trusted, how long a caller may take, and how many there may be."""

    allowed_hosts: str = Field(
        "",
        validation_alias="FEDMEM_ALLOWED_HOSTS",
        description="Names by which API and dashboard may be addressed, besides localhost, this machine's name and "
        "addresses in numbers: shop.example.com,*.example.org",
    )
    allowed_origins: Annotated[str, AfterValidator(_origins)] = Field(
        "",
        validation_alias="FEDMEM_ALLOWED_ORIGINS",
        description="Other sites whose pages may call the API from a browser, and frame the dashboard: "
        "https://shop.example.com",
    )
    trusted_proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        validation_alias="FEDMEM_TRUSTED_PROXIES",
        description="Addresses of reverse proxies whose X-Forwarded-For says who asks, and X-Forwarded-Proto by what; "
        "unset, neither is read.",
    )
    head_seconds: PositiveFloat = Field(
        10.0, validation_alias="FEDMEM_HEAD_SECONDS", description="Seconds that a request's head may take to arrive."
    )
    body_seconds: PositiveFloat = Field(
        30.0,
        validation_alias="FEDMEM_BODY_SECONDS",
        description="Seconds that each MiB of a request's body may take to arrive, and an answer to be read.",
    )
    websocket_seconds: PositiveFloat = Field(
        3600.0,
        validation_alias="FEDMEM_WEBSOCKET_SECONDS",
        description="Seconds that an open page of the dashboard may neither ask nor be told anything, before its "
        "connection is closed; the page opens it again.",
    )
    max_connections: PositiveInt = Field(
        1000,
        validation_alias="FEDMEM_MAX_CONNECTIONS",
        description="The most open connections of a service; beyond them the one that has kept it waiting longest is "
        "closed or, where none has, a page's of the address that has most pages open.",
    )
    max_upload_mib: Annotated[int, Field(ge=1, le=100_000)] = Field(
        200,
        validation_alias="FEDMEM_MAX_UPLOAD_MIB",
        description="The largest file that may be uploaded to be imported, in MiB; `fedmem data import` has no limit.",
    )

    @property
    def max_upload_bytes(self) -> int:
        """The same in bytes."""
        return self.max_upload_mib * 2**20
