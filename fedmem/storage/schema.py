"""Every table. ``migrations/`` is their only creator, and a test compares the two.

Times are seconds since 1970 (UTC). A row that a trainer writes carries the fencing token of the lease it wrote under.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# The migration at which a database holds these tables; a test compares it with migrations/versions.
REVISION = "0014"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only where the key is an INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")

datasets = Table(
    "datasets",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("source", String, nullable=False),  # the file or folder of the last import
    Column("imported_at", Double, nullable=False),
    Column("items_version", BigInteger, nullable=False, default=0),  # up to which its items may be seen
    Column("repeats", String),  # whether items are offered again; NULL where no import has said it
    Column("deletion_salt", LargeBinary),  # of the ids in ``deletions``; NULL as long as there are none
    # Up to which its interactions may be seen; NULL: nothing of it yet, or nothing any more.
    Column("newest_id", _Id, default=0),
    Column("hidden_version", BigInteger, nullable=False, default=0, server_default="0"),  # grows as items are hidden
    CheckConstraint("repeats IN ('hide', 'offer')", name="repeats"),
)

# Imports under way, or cut off. Each has the ids and the versions from its own times 2**32 on, above all that is seen.
imports = Table(
    "imports",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    sqlite_autoincrement=True,  # neither are used again
)

# Of several rows of an item the newest counts that may be seen.
items = Table(
    "items",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("item_id", String, primary_key=True),
    Column("title", Text, nullable=False),
    Column("genres", JSON, nullable=False),  # a list of names
    Column("year", Integer),
    Column("image_path", Text),
    Column("text", Text, nullable=False),  # what the text encoder reads
    Column("changed_at", Double, nullable=False),
    Column("version", BigInteger, primary_key=True, default=0, autoincrement=False),  # of the last change
    Column("edited_at", Double),  # when it was last described by hand, which imports respect; NULL if never
    Column("tags", JSON),  # a list of free words, which nothing is trained on; NULL for none
    Index(None, "dataset_id", "version"),
)

# Not recommended until they are shown again; a deleted item stays here for the models that know it.
hidden_items = Table(
    "hidden_items",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("item_id", String, primary_key=True),
    Column("hidden_at", Double, nullable=False),
)

# In file order by id, which whoever writes gives: (timestamp, id) orders a user's history, and rows can first be seen
# in the order of their ids. The constraint makes an import or a retry harmless.
interactions = Table(
    "interactions",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    Column("user_id", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("timestamp", Double, nullable=False),
    UniqueConstraint("dataset_id", "user_id", "item_id", "timestamp"),
    sqlite_autoincrement=True,  # an id is never used again: snapshots and pollers remember the last one they saw
)

# Deleted users, by a salted digest of their ids: the table itself reveals no name.
deletions = Table(
    "deletions",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("user_digest", LargeBinary, primary_key=True),
    Column("until", Double, nullable=False),  # rows of the user up to this time stay out of the data set
)

# How many new events of a user came as feedback on the last day that any did.
feedback_days = Table(
    "feedback_days",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String, primary_key=True),
    Column("day", Integer, nullable=False),  # days since 1970 (UTC)
    Column("events", Integer, nullable=False),
)

# A sample of what was recommended, an item a row, and what the user did with it.
impressions = Table(
    "impressions",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), primary_key=True),
    Column("recommendation_id", String, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),  # in the list, from 1 on
    Column("user_id", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("version", String, nullable=False),  # of the model that answered
    Column("strategy", String, nullable=False),
    Column("shown_at", Double, nullable=False),
    Column("clicked_at", Double),
    Column("taken_at", Double),  # when it became an interaction
    Column("worth", Double),  # the weight of the event by which it did
    Column("test_id", _Id),  # the A/B test that it was an answer of
    Index(None, "dataset_id", "user_id"),
    Index(None, "shown_at"),
    Index(None, "test_id"),
)

# Two models that share a data set's users. Their versions are no references: a model may be removed, its record stays.
ab_tests = Table(
    "ab_tests",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    Column("control", String, nullable=False),
    Column("treatment", String, nullable=False),
    Column("share", Double, nullable=False),  # of the users, who get the treatment
    Column("salt", LargeBinary, nullable=False),  # of the split
    Column("started_at", Double, nullable=False),
    Column("ended_at", Double),
    Column("ended_because", Text),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", String, nullable=False),
    Column("dataset_id", ForeignKey("datasets.id"), nullable=False),
    Column("config", JSON, nullable=False),
    Column("start_from", ForeignKey("jobs.id")),  # the job that this one continues
    Column("state", String, nullable=False),
    Column("desired_state", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    # The lease: who trains, until when, and the token that every write of a trainer must bear.
    Column("worker", String),
    Column("lease_expires_at", Double),
    Column("token", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("attempts_without_progress", Integer, nullable=False, default=0),
    # What it trains on.
    Column("snapshot_digest", String),
    Column("last_interaction_id", _Id),  # the newest interaction in the snapshot
    # How far it is.
    Column("round", Integer, nullable=False, default=0),
    Column("num_rounds", Integer, nullable=False),
    Column("best_round", Integer),
    Column("clients_done", Integer, nullable=False, default=0),  # of the round in progress
    Column("clients_selected", Integer, nullable=False, default=0),
    # Why it ended or waits: a sentence for the user, the traceback for the operator.
    Column("message", Text),
    Column("traceback", Text),
    Column("idempotency_key", String, unique=True),
    Column("request_digest", String, nullable=False),
    Column("promotion", String),  # how its model goes into service; NULL: as the trainer's setting says
    Column("snapshot", String),  # what a job that continues another trains on: 'newest' data, or the 'same'; else NULL
    CheckConstraint("kind IN ('training', 'experiment')", name="kind"),
    CheckConstraint("state IN ('queued', 'running', 'paused', 'succeeded', 'failed', 'stopped')", name="state"),
    CheckConstraint("desired_state IN ('running', 'paused', 'stopped')", name="desired_state"),
    Index(None, "state", "lease_expires_at"),
)

# Whose numbers no other job may bear: models and folders are named by them.
removed_jobs = Table(
    "removed_jobs",
    metadata,
    Column("job_id", _Id, primary_key=True, autoincrement=False),
    Column("removed_at", Double, nullable=False),
    Column("reason", String, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("token", Integer, nullable=False),
    Column("finished_at", Double, nullable=False),
    Column("is_best", Boolean, nullable=False),
    Column("checkpoint", String),  # the folder's name under the job's; NULL once it was removed
)

metrics = Table(
    "metrics",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("split", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", Double, nullable=False),
    CheckConstraint("split IN ('train', 'validation', 'test', 'system')", name="split"),
)

# The global abstract memory after each evaluated round.
prototypes = Table(
    "prototypes",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("arrays", LargeBinary, nullable=False),  # safetensors: sums and counts by block
    Column("description", JSON, nullable=False),  # per prototype: mass, nearest items, place on the map
)

logs = Table(
    "logs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("time", Double, nullable=False),
    Column("level", String, nullable=False),
    Column("message", Text, nullable=False),
    Index(None, "job_id", "id"),
)

models = Table(
    "models",
    metadata,
    Column("version", String, primary_key=True),
    Column("job_id", ForeignKey("jobs.id"), nullable=False),
    Column("round", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("held_back", Text),  # why it did not go into service when its job ended
)

# The newest row of a data set's models names the one to serve; a rollback is one more row.
activations = Table(
    "activations",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("version", ForeignKey("models.version"), nullable=False),
    Column("activated_at", Double, nullable=False),
    Column("reason", String, nullable=False),
    Column("before_id", _Id),  # the activation that a rollback goes back to; a rollback itself takes over that one's
    sqlite_autoincrement=True,
)

trainers = Table(
    "trainers",
    metadata,
    Column("worker", String, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("job_id", ForeignKey("jobs.id", ondelete="SET NULL")),
)

# Jobs that are queued again and again.
schedules = Table(
    "schedules",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id", ondelete="CASCADE"), nullable=False),
    Column("cron", String, nullable=False),
    Column("timezone", String, nullable=False),  # in which cron is read, such as Europe/Berlin
    Column("rounds", Integer, nullable=False),  # for which the model in service goes on
    Column("config", JSON, nullable=False),  # of the first job, where no model serves; what differs from the defaults
    Column("promotion", String),  # as a job's
    Column("paused", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("next_at", Double),  # when it is due; a time that has passed was missed, and is made up for once
    Column("last_at", Double),  # when it was due and done, or failed
    Column("last_job_id", ForeignKey("jobs.id", ondelete="SET NULL")),
    Column("message", Text),  # why the last one queued no job
    UniqueConstraint("dataset_id", "cron", "timezone"),
    sqlite_autoincrement=True,
)

# Deleted users who are still to be erased from a job's files.
erasures = Table(
    "erasures",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", String, primary_key=True),
)

# Requests that each backend has let through, a row for each time that it told the others; of the last minute.
spendings = Table(
    "spendings",
    metadata,
    Column("backend", String, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("written_at", Double, nullable=False),
    Column("spent", JSON, nullable=False),  # by client, whose addresses are digests
    Index(None, "written_at"),
)
