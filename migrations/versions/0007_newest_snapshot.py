"""Which data a job that continues another trains on: the newest, or the snapshot of the other."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; jobs that were queued before go on with the snapshot that they were queued for."""
    op.add_column("jobs", sa.Column("snapshot", sa.String(), nullable=True))
    op.execute("UPDATE jobs SET snapshot = 'same' WHERE start_from IS NOT NULL")


def downgrade() -> None:
    """Remove it; jobs that wait to go on with the newest data go on with the old snapshot."""
    op.drop_column("jobs", "snapshot")
