"""Errors as RFC 9457 describes them (application/problem+json)."""

from pydantic import Field

from fedmem.contracts.contract import Contract


class Problem(Contract):
    """One error: what is wrong, with the offending value and the remedy."""

    type: str = Field("about:blank", description="A URI for the kind of problem; about:blank where the status says it.")
    title: str
    status: int
    detail: str
    request_id: str | None = Field(None, description="As in the log and in the X-Request-ID header.")
