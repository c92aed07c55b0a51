"""Promotion: how a job wants its model to go into service, why a model waits, and what each activation followed."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
EARLIER = """
SELECT max(earlier.id) FROM activations AS earlier
JOIN models AS theirs ON theirs.version = earlier.version JOIN jobs AS of_theirs ON of_theirs.id = theirs.job_id
WHERE earlier.id < activations.id AND of_theirs.dataset_id = (
    SELECT jobs.dataset_id FROM models JOIN jobs ON jobs.id = models.job_id WHERE models.version = activations.version
)
"""


def upgrade() -> None:
    """Add the columns; each activation followed the one before it of the same data set."""
    op.add_column("jobs", sa.Column("promotion", sa.String(), nullable=True))
    op.add_column("models", sa.Column("held_back", sa.Text(), nullable=True))
    op.add_column("activations", sa.Column("before_id", Id, nullable=True))
    op.execute(f"UPDATE activations SET before_id = ({EARLIER})")


def downgrade() -> None:
    """Remove them; a model that waits may be activated as any other."""
    op.drop_column("activations", "before_id")
    op.drop_column("models", "held_back")
    op.drop_column("jobs", "promotion")
