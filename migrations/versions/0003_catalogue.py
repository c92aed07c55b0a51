"""What an import must not undo: deletions of users and descriptions by hand; settings of a data set."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the table and the columns; of what was deleted or edited before, nothing is known."""
    add_counter("datasets", "items_version")
    with op.batch_alter_table("datasets") as datasets:
        datasets.add_column(sa.Column("repeats", sa.String(), nullable=True))
        datasets.add_column(sa.Column("deletion_salt", sa.LargeBinary(), nullable=True))
        datasets.create_check_constraint(op.f("ck_datasets_repeats"), "repeats IN ('hide', 'offer')")
    add_counter("items", "version")
    with op.batch_alter_table("items") as items:
        items.add_column(sa.Column("edited_at", sa.Double(), nullable=True))
        items.create_index("ix_items_dataset_id_version", ["dataset_id", "version"])
    create_deletions()


def downgrade() -> None:
    """Remove them; users who were deleted come back with the next import of a file that still holds them."""
    op.drop_table("deletions")
    with op.batch_alter_table("items") as items:
        items.drop_index("ix_items_dataset_id_version")
        items.drop_column("edited_at")
        items.drop_column("version")
    with op.batch_alter_table("datasets") as datasets:
        datasets.drop_constraint(op.f("ck_datasets_repeats"), type_="check")
        for column in ("deletion_salt", "repeats", "items_version"):
            datasets.drop_column(column)


def add_counter(table: str, column: str) -> None:
    """Add a whole number that begins at 0 in the existing rows and is written with every new one."""
    with op.batch_alter_table(table) as altered:
        altered.add_column(sa.Column(column, sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table(table) as altered:
        altered.alter_column(column, server_default=None)


def create_deletions() -> None:
    """Create deleted users, by a salted digest of their ids."""
    op.create_table(
        "deletions",
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("user_digest", sa.LargeBinary(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_deletions_dataset_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "user_digest", name="pk_deletions"),
    )
