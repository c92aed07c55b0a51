"""Hidden items: what is not to be recommended for now, out of stock say, without training."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make the table, and count its changes; nothing was hidden before."""
    op.add_column("datasets", sa.Column("hidden_version", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "hidden_items",
        sa.Column("dataset_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("hidden_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "item_id", name=op.f("pk_hidden_items")),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name=op.f("fk_hidden_items_dataset_id"), ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    """Remove them; all items are recommended again."""
    op.drop_table("hidden_items")
    op.drop_column("datasets", "hidden_version")
