"""What features read from the environment: where they are kept, and which language model writes preference texts."""

from pathlib import Path

from pydantic import Field, SecretStr

from fedmem.service_settings import ServiceSettings


class FeatureSettings(ServiceSettings):
    """Settings of every process that encodes features: the command line's and the trainer's."""

    cache_dir: Path | None = Field(
        None, description="The folder that encoded texts and images are kept in; unset, the user's cache folder."
    )
    llm_base_url: str | None = Field(
        None, description="The OpenAI-compatible endpoint that writes preference texts, if they come from one."
    )
    llm_model: str | None = Field(None, description="The language model that the endpoint is asked for.")
    llm_api_key: SecretStr | None = Field(None, repr=False, description="The endpoint's key, if it needs one.")
