"""How much feedback each user has sent on a day; an erasure is done once, so that its token is kept no more."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table; the day begins anew for all users."""
    op.create_table(
        "feedback_days",
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_feedback_days_dataset_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("dataset_id", "user_id", name="pk_feedback_days"),
    )
    with op.batch_alter_table("erasures") as erasures:
        erasures.drop_column("token")


def downgrade() -> None:
    """Remove the table; what was still to be erased is to be erased again."""
    op.drop_table("feedback_days")
    with op.batch_alter_table("erasures") as erasures:
        erasures.add_column(sa.Column("token", sa.Integer(), nullable=True))
