"""The backend's settings, from the environment or a file ``.env``; ``.env.example`` lists them all."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedmem.errors import ConfigError
from fedmem.storage.engine import DEFAULT_URL


class Settings(BaseSettings):
    """Where the backend listens, what it reads, and what it puts up with."""

    model_config = SettingsConfigDict(
        env_prefix="FEDMEM_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",  # .env holds the other services' settings too
        validate_by_name=True,
        validate_by_alias=True,
    )

    database_url: str = Field(
        DEFAULT_URL,
        validation_alias="DATABASE_URL",
        repr=False,  # it may hold a password
        description="The database of all services: sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    )
    data_dir: Path = Field(Path("runs/service"), description="The folder that trainers write checkpoints to.")
    host: str = Field("127.0.0.1", description="The address to listen on; beyond loopback only with FEDMEM_API_KEY.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="The port to listen on; 0 takes a free one.")
    api_key: SecretStr | None = Field(
        None, description="What the header X-API-Key of a request that writes must be; unset, everybody may write."
    )
    max_body_bytes: PositiveInt = Field(1_048_576, description="The longest request body, in bytes.")
    rate_limit: PositiveInt | None = Field(
        None, description="Requests per minute of one client address; unset, as many as they like."
    )
    max_k: PositiveInt = Field(1000, description="The most items of one answer.")
    max_batch: PositiveInt = Field(256, description="The most users of one POST /recommend/batch.")
    refresh_seconds: PositiveFloat = Field(
        1.0, description="Seconds between looks into the database for news: models, feedback, a job's rounds."
    )

    @model_validator(mode="after")
    def _closed_or_locked(self) -> Self:
        if self.api_key is None and not _is_loopback(self.host):
            raise ValueError(
                f"FEDMEM_HOST = {self.host!r} can be reached from other machines, and no key protects what writes: "
                "set FEDMEM_API_KEY, or listen on 127.0.0.1"
            )
        return self


def load_settings(**given: object) -> Settings:
    """The settings of the environment, with what was given instead.

    Raises:
        ConfigError: naming the variable and its value, which is hidden where it is secret.
    """
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigError(_first_problem(error)) from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return str(alias) if alias else f"{Settings.model_config['env_prefix']}{name.upper()}"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    name = str(problem["loc"][0])
    name = variable(name) if name in Settings.model_fields else name
    value = "" if name in ("FEDMEM_API_KEY", "DATABASE_URL") else f" = {problem['input']!r}"
    return f"{name}{value}: {message}. .env.example says what each setting means."


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
