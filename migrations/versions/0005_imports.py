"""Imports in short transactions: what may be seen of a data set, and what an import writes above it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BLOCK = 2**32  # ids of an import


def upgrade() -> None:
    """Add the table and the column, and give each data set ids of its own from here on."""
    op.create_table(
        "imports",
        sa.Column("id", Id, nullable=False),
        sa.Column("dataset_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_imports_dataset_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("datasets") as datasets:
        datasets.add_column(sa.Column("newest_id", Id, nullable=True))
        datasets.alter_column("items_version", type_=sa.BigInteger(), existing_type=sa.Integer())
    with op.batch_alter_table("items") as items:
        items.alter_column("version", type_=sa.BigInteger(), existing_type=sa.Integer(), existing_nullable=False)
    key_of_items("dataset_id", "item_id", "version")
    op.execute("INSERT INTO imports (dataset_id) SELECT id FROM datasets ORDER BY id")
    op.execute(
        f"UPDATE datasets SET newest_id = (SELECT imports.id * {BLOCK} FROM imports WHERE dataset_id = datasets.id)"
    )
    op.execute("DELETE FROM imports")


def downgrade() -> None:
    """Remove them with what was not to be seen; ids go on from the largest, versions begin anew."""
    op.execute("DELETE FROM interactions WHERE id > (SELECT newest_id FROM datasets WHERE datasets.id = dataset_id)")
    op.execute("DELETE FROM items WHERE version > (SELECT items_version FROM datasets WHERE datasets.id = dataset_id)")
    for table in ("interactions", "items", "deletions", "feedback_days"):
        op.execute(f"DELETE FROM {table} WHERE dataset_id IN (SELECT id FROM datasets WHERE newest_id IS NULL)")
    op.drop_table("imports")
    op.execute("DELETE FROM datasets WHERE newest_id IS NULL")
    op.execute(
        "DELETE FROM items WHERE EXISTS (SELECT 1 FROM items AS later WHERE later.dataset_id = items.dataset_id "
        "AND later.item_id = items.item_id AND later.version > items.version)"
    )
    key_of_items("dataset_id", "item_id")
    op.execute("UPDATE items SET version = 0")
    op.execute("UPDATE datasets SET items_version = 0")
    with op.batch_alter_table("items") as items:
        items.alter_column("version", type_=sa.Integer(), existing_type=sa.BigInteger(), existing_nullable=False)
    with op.batch_alter_table("datasets") as datasets:
        datasets.alter_column("items_version", type_=sa.Integer(), existing_type=sa.BigInteger())
        datasets.drop_column("newest_id")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("SELECT setval('interactions_id_seq', (SELECT coalesce(max(id), 0) + 1 FROM interactions), false)")


def key_of_items(*columns: str) -> None:
    """Set what tells items apart."""
    with op.batch_alter_table("items") as items:
        items.drop_constraint("pk_items", type_="primary")
        items.create_primary_key("pk_items", list(columns))
