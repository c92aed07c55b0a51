"""Where Flower is: the SuperLink, and the environment in which its commands live."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from fedmem.service_settings import ServiceSettings
from fedmem.sockets import is_loopback


class FlowerSettings(ServiceSettings):
    """How a trainer reaches nodes, for jobs with engine = flower."""

    superlink: str = Field(
        "127.0.0.1:9092",
        pattern=r"^\S+:\d+$",
        description="HOST:PORT of the Flower SuperLink that jobs with engine = flower reach nodes by. It runs its "
        "app on the trainer's machine.",
    )
    superlink_certificates: Path | None = Field(
        None,
        description="The file with the certificate authority (PEM) that the SuperLink's certificate is checked by; "
        "without one the connection is not encrypted, which is refused beyond loopback.",
    )
    flower_env: Path = Field(
        Path(".venv-flower"), description="The virtual environment with Flower's commands; `make flower` makes it."
    )

    @model_validator(mode="after")
    def _encrypted_beyond_loopback(self) -> Self:
        if self.superlink_certificates is None and not is_loopback(self.superlink.rpartition(":")[0]):
            raise ValueError(
                f"FEDMEM_SUPERLINK = {self.superlink} is beyond loopback: set FEDMEM_SUPERLINK_CERTIFICATES, and start "
                "the SuperLink with --ssl-certfile, --ssl-keyfile and --ssl-ca-certfile"
            )
        return self
