"""What each backend has let through of late, by which several keep one rate limit together."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "spendings",
        sa.Column("backend", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("written_at", sa.Double(), nullable=False),
        sa.Column("spent", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("backend", "number", name=op.f("pk_spendings")),
    )
    op.create_index(op.f("ix_spendings_written_at"), "spendings", ["written_at"])


def downgrade() -> None:
    """Remove it; nothing of it is missed."""
    op.drop_table("spendings")
