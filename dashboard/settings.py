"""The dashboard's settings, from the environment or a file ``.env``; ``.env.example`` lists them all."""

from typing import Annotated, Self

from pydantic import AfterValidator, AnyHttpUrl, Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from fedmem.sockets import is_loopback
from web.prefix import checked_prefix
from web.settings import WebSettings


class Settings(WebSettings):
    """Where the backend is, where the dashboard listens, and how often it asks for news."""

    model_config = SettingsConfigDict(env_prefix="FEDMEM_DASHBOARD_")

    api_url: AnyHttpUrl = Field(
        AnyHttpUrl("http://127.0.0.1:8000"), validation_alias="FEDMEM_API_URL", description="The backend's address."
    )
    api_key: SecretStr | None = Field(
        None,
        validation_alias="FEDMEM_API_KEY",
        repr=False,
        description="What the header X-API-Key must be of a request that writes, or shows what is stored of a user; "
        "unset, every caller may. Whoever can open the dashboard then writes with it.",
    )
    host: str = Field(
        "127.0.0.1",
        description="The address that the dashboard listens on; beyond loopback only with FEDMEM_DASHBOARD_PASSWORD.",
    )
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8501, description="The port that the dashboard listens on.")
    root_path: Annotated[str, AfterValidator(checked_prefix)] = Field(
        "",
        description="The path by which a reverse proxy tells the dashboard from other services of its host: /fedmem.",
    )
    password: SecretStr | None = Field(
        None, repr=False, description="The password that opens the dashboard; unset, none is asked for."
    )
    poll_seconds: Annotated[float, Field(ge=0.2)] = Field(
        2.0, description="Seconds between the dashboard's questions to the backend while a job is under way."
    )

    @model_validator(mode="after")
    def _closed_or_locked(self) -> Self:
        if self.password is None and not is_loopback(self.host):
            raise ValueError(
                f"FEDMEM_DASHBOARD_HOST = {self.host!r} can be reached from other machines, and whoever opens the "
                "dashboard sees and does everything: set FEDMEM_DASHBOARD_PASSWORD, or listen on 127.0.0.1"
            )
        return self

    @property
    def warning(self) -> str | None:
        """Say that a proxy brings others to a dashboard without a password; None where it does not, or has its own."""
        if self.password is not None or not self.trusted_proxies:
            return None
        return (
            "whoever the proxies of FEDMEM_TRUSTED_PROXIES bring to the dashboard sees and does everything: set "
            "FEDMEM_DASHBOARD_PASSWORD, unless the proxy asks for one itself"
        )

    @property
    def base_url(self) -> str:
        """Give the backend's address without a slash at its end."""
        return str(self.api_url).rstrip("/")
