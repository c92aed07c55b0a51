"""A/B tests: two models that share a data set's users, and which test a noted answer was of."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table and the column."""
    op.create_table(
        "ab_tests",
        sa.Column("id", Id, nullable=False),
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("control", sa.String(), nullable=False),
        sa.Column("treatment", sa.String(), nullable=False),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_ab_tests_dataset_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_ab_tests"),
        sqlite_autoincrement=True,
    )
    op.add_column("impressions", sa.Column("test_id", Id, nullable=True))
    op.create_index("ix_impressions_test_id", "impressions", ["test_id"])


def downgrade() -> None:
    """Remove them; the model in service answers all users."""
    op.drop_index("ix_impressions_test_id", "impressions")
    op.drop_column("impressions", "test_id")
    op.drop_table("ab_tests")
