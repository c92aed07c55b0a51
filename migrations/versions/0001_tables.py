"""The first tables: catalogue, jobs and what they leave, models, trainers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# SQLite numbers rows by itself only where the key is an INTEGER.
Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table, those that others refer to first."""
    create_catalogue()
    create_jobs()
    create_rounds()
    create_logs()
    create_models()
    create_trainers()


def downgrade() -> None:
    """Remove every table, those that refer to others first."""
    for table in ("trainers", "activations", "models", "logs", "prototypes", "metrics", "rounds", "jobs"):
        op.drop_table(table)
    for table in ("interactions", "items", "datasets"):
        op.drop_table(table)


def create_catalogue() -> None:
    """Create data sets, their items and their interactions."""
    op.create_table(
        "datasets",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("imported_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("name", name="uq_datasets_name"),
    )
    create_items()
    op.create_table(
        "interactions",
        sa.Column("id", Id, nullable=False),
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("user_id", sa.String(), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("timestamp", sa.Double(), nullable=False),
        foreign_key("interactions", "dataset_id", "datasets.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_interactions"),
        sa.UniqueConstraint(
            "dataset_id",
            "user_id",
            "item_id",
            "timestamp",
            name="uq_interactions_dataset_id_user_id_item_id_timestamp",
        ),
        sqlite_autoincrement=True,
    )


def create_items() -> None:
    """Create items."""
    op.create_table(
        "items",
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("genres", sa.JSON(), nullable=False),
        sa.Column("year", sa.Integer(), nullable=True),
        sa.Column("image_path", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        foreign_key("items", "dataset_id", "datasets.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("dataset_id", "item_id", name="pk_items"),
    )


def create_jobs() -> None:
    """Create jobs: the request, the lease, the snapshot, the progress, the end."""
    op.create_table(
        "jobs",
        sa.Column("id", Id, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("dataset_id", Id, nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("start_from", Id, nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("desired_state", sa.String(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=True),
        sa.Column("finished_at", sa.Double(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_expires_at", sa.Double(), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("attempts_without_progress", sa.Integer(), nullable=False),
        sa.Column("snapshot_digest", sa.String(), nullable=True),
        sa.Column("last_interaction_id", Id, nullable=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("num_rounds", sa.Integer(), nullable=False),
        sa.Column("best_round", sa.Integer(), nullable=True),
        sa.Column("clients_done", sa.Integer(), nullable=False),
        sa.Column("clients_selected", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("idempotency_key", sa.String(), nullable=True),
        sa.Column("request_digest", sa.String(), nullable=False),
        *constraints_of_jobs(),
    )
    op.create_index("ix_jobs_state_lease_expires_at", "jobs", ["state", "lease_expires_at"])


def constraints_of_jobs() -> list[sa.schema.SchemaItem]:
    """Return keys, references and allowed words of the jobs table."""
    states = "'queued', 'running', 'paused', 'succeeded', 'failed', 'stopped'"
    return [
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
        foreign_key("jobs", "dataset_id", "datasets.id"),
        foreign_key("jobs", "start_from", "jobs.id"),
        sa.CheckConstraint("kind IN ('training', 'experiment')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint(f"state IN ({states})", name=op.f("ck_jobs_state")),
        sa.CheckConstraint("desired_state IN ('running', 'paused', 'stopped')", name=op.f("ck_jobs_desired_state")),
    ]


def create_rounds() -> None:
    """Create what each round leaves: its checkpoint's name, its metrics, its prototypes."""
    op.create_table(
        "rounds",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.Double(), nullable=False),
        sa.Column("is_best", sa.Boolean(), nullable=False),
        sa.Column("checkpoint", sa.String(), nullable=True),
        foreign_key("rounds", "job_id", "jobs.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "round", name="pk_rounds"),
    )
    op.create_table(
        "metrics",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        foreign_key("metrics", "job_id", "jobs.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "round", "split", "name", name="pk_metrics"),
        sa.CheckConstraint("split IN ('train', 'validation', 'test', 'system')", name=op.f("ck_metrics_split")),
    )
    op.create_table(
        "prototypes",
        sa.Column("job_id", Id, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("arrays", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.JSON(), nullable=False),
        foreign_key("prototypes", "job_id", "jobs.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "round", name="pk_prototypes"),
    )


def create_logs() -> None:
    """Create the lines of jobs' logs."""
    op.create_table(
        "logs",
        sa.Column("id", Id, nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        foreign_key("logs", "job_id", "jobs.id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_logs"),
    )
    op.create_index("ix_logs_job_id_id", "logs", ["job_id", "id"])


def create_models() -> None:
    """Create the models that jobs have left, and which of them was activated when."""
    op.create_table(
        "models",
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("job_id", Id, nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        foreign_key("models", "job_id", "jobs.id"),
        sa.PrimaryKeyConstraint("version", name="pk_models"),
    )
    op.create_table(
        "activations",
        sa.Column("id", Id, nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("activated_at", sa.Double(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        foreign_key("activations", "version", "models.version"),
        sa.PrimaryKeyConstraint("id", name="pk_activations"),
        sqlite_autoincrement=True,
    )


def create_trainers() -> None:
    """Create trainers and when they were last seen."""
    op.create_table(
        "trainers",
        sa.Column("worker", sa.String(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("job_id", Id, nullable=True),
        foreign_key("trainers", "job_id", "jobs.id", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("worker", name="pk_trainers"),
    )


def foreign_key(table: str, column: str, target: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    """Return a reference, named as the schema names it."""
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete=ondelete)
