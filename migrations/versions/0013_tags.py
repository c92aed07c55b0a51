"""Free tags of items, by which answers are filtered."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; no item had any."""
    op.add_column("items", sa.Column("tags", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Remove it, and the tags with it."""
    op.drop_column("items", "tags")
