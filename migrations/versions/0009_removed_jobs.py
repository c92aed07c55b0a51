"""Removed jobs: their numbers, which no other job may bear."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table; no job was removed before."""
    op.create_table(
        "removed_jobs",
        sa.Column("job_id", Id, nullable=False, autoincrement=False),
        sa.Column("removed_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_removed_jobs")),
    )


def downgrade() -> None:
    """Remove it; on SQLite the number of a removed job may come again."""
    op.drop_table("removed_jobs")
