"""The dashboard's settings, from the environment or a file ``.env``; ``.env.example`` lists them all."""

from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedmem.errors import ConfigError


class Settings(BaseSettings):
    """Where the backend is, where the dashboard listens, and how often it asks for news."""

    model_config = SettingsConfigDict(
        env_prefix="FEDMEM_DASHBOARD_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",  # .env holds the other services' settings too
        validate_by_name=True,
        validate_by_alias=True,
    )

    api_url: AnyHttpUrl = Field(
        AnyHttpUrl("http://127.0.0.1:8000"), validation_alias="FEDMEM_API_URL", description="The backend's address."
    )
    api_key: SecretStr | None = Field(
        None,
        validation_alias="FEDMEM_API_KEY",
        description="The backend's key; whoever can open the dashboard then writes with it.",
    )
    host: str = Field("127.0.0.1", description="The address to listen on.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(8501, description="The port to listen on.")
    poll_seconds: Annotated[float, Field(ge=0.2)] = Field(
        2.0, description="Seconds between questions to the backend while a job is under way."
    )

    @property
    def base_url(self) -> str:
        """The backend's address without a slash at its end."""
        return str(self.api_url).rstrip("/")


def load_settings() -> Settings:
    """The settings of the environment.

    Raises:
        ConfigError: naming the variable and its value, which is hidden where it is secret.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigError(_first_problem(error)) from None


def variable(name: str) -> str:
    """The environment variable of a setting."""
    alias = Settings.model_fields[name].validation_alias
    return str(alias) if alias else f"{Settings.model_config['env_prefix']}{name.upper()}"


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    name = str(problem["loc"][0])
    name = variable(name) if name in Settings.model_fields else name
    value = "" if name == "FEDMEM_API_KEY" else f" = {problem['input']!r}"
    return f"{name}{value}: {problem['msg']}. .env.example says what each setting means."
