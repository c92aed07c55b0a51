"""Deleted users whose memories are still to be erased from jobs' checkpoints."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "erasures",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_erasures_job_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "user_id", name="pk_erasures"),
    )


def downgrade() -> None:
    """Remove the table; what was still to be erased is forgotten."""
    op.drop_table("erasures")
