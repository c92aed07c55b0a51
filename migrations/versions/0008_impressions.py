"""Impressions: a sample of what was recommended, and what users did with it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "impressions",
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("recommendation_id", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("shown_at", sa.Double(), nullable=False),
        sa.Column("clicked_at", sa.Double(), nullable=True),
        sa.Column("taken_at", sa.Double(), nullable=True),
        sa.Column("worth", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_impressions_dataset_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "recommendation_id", "position", name="pk_impressions"),
    )
    op.create_index("ix_impressions_dataset_id_user_id", "impressions", ["dataset_id", "user_id"])
    op.create_index("ix_impressions_shown_at", "impressions", ["shown_at"])


def downgrade() -> None:
    """Remove it."""
    op.drop_table("impressions")
