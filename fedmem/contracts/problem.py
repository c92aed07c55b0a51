"""Errors as RFC 9457 describes them (application/problem+json)."""

from pydantic import Field

from fedmem.contracts.contract import Contract


class Problem(Contract):
    """One error: what is wrong, with the offending value and the remedy."""

    type: str = Field("about:blank", description="A URI for the kind of problem; about:blank where the status says it.")
    title: str = Field(description="The status in words.", examples=["Unprocessable Content"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(
        description="What is wrong, with the value and the remedy.",
        examples=["category = 'Comdy': no item has this genre (did you mean 'Comedy'?)"],
    )
    request_id: str | None = Field(
        None, description="As in the log and in the X-Request-ID header.", examples=["5f3a2b1c9d8e7f60"]
    )
