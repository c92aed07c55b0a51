"""What all settings from the environment have in common: one clear error for a wrong one, and what they are called."""

from typing import Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedmem.environment import read_environment
from fedmem.errors import ConfigError


class ServiceSettings(BaseSettings):
    """Settings from the environment or the file ``.env``; ``.env.example`` lists those of all services.

    A field that may hold a secret is declared with ``repr=False``: its value is in no message.
    """

    model_config = SettingsConfigDict(
        env_prefix="FEDMEM_",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        validate_by_name=True,
        validate_by_alias=True,
    )

    @classmethod
    def load(cls, **given: object) -> Self:
        """Load the settings from the environment; what is given (and is not None) overrides it.

        Raises:
            ConfigError: naming the variable and, where it is no secret, its value.
        """
        read_environment()
        try:
            return cls(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
        except ValidationError as error:
            raise ConfigError(cls._first_problem(error)) from None

    @classmethod
    def variable(cls, name: str) -> str:
        """Return the environment variable of a setting."""
        alias = cls.model_fields[name].validation_alias
        return str(alias) if alias else f"{cls.model_config['env_prefix']}{name.upper()}"

    @classmethod
    def _first_problem(cls, error: ValidationError) -> str:
        problem = error.errors()[0]
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            return message
        where = str(problem["loc"][0])
        name = next((name for name in cls.model_fields if where in (name, cls.variable(name))), None)
        if name is None:
            return f"{where}: {message}"
        value = f" = {problem['input']!r}" if cls.model_fields[name].repr else ""
        return f"{cls.variable(name)}{value}: {message}. .env.example says what each setting means."
