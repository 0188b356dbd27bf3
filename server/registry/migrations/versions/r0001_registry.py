"""Forget requests with their versions and scopes, corruption profiles, decisions, the epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables and the one row of state."""
    state = op.create_table(
        "registry_state",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("sealed_check", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_registry_state"),
        sa.CheckConstraint("id = 1", name=op.f("ck_registry_state_single_row")),
    )
    op.bulk_insert(state, [{"id": 1, "epoch": 0, "paused": False, "sealed_check": None}])
    op.create_table(
        "forget_requests",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("extent", sa.String(16), nullable=False),
        sa.Column("subject_index", sa.String(64), nullable=False),
        sa.Column("sealed_header", sa.LargeBinary, nullable=False),
        sa.Column("latest_version", sa.Integer, nullable=False),
        sa.Column("live_version", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_forget_requests"),
    )
    op.create_index("ix_forget_requests_epoch", "forget_requests", ["epoch"])
    op.create_index("ix_forget_requests_state", "forget_requests", ["state"])
    op.create_index(
        "uq_forget_requests_live_subject",
        "forget_requests",
        ["subject_index"],
        unique=True,
        sqlite_where=sa.text("state <> 'withdrawn'"),
        postgresql_where=sa.text("state <> 'withdrawn'"),
    )
    op.create_table(
        "forget_versions",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("policy", sa.JSON, nullable=False),
        sa.Column("sealed_source", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "version", name="pk_forget_versions"),
        sa.ForeignKeyConstraint(["request_id"], ["forget_requests.id"], name="fk_forget_versions_forget_requests"),
    )
    op.create_table(
        "forget_scopes",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("encoder", sa.String(128), nullable=False),
        sa.Column("sealed_scope", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "version", "encoder", name="pk_forget_scopes"),
        sa.ForeignKeyConstraint(
            ["request_id", "version"],
            ["forget_versions.request_id", "forget_versions.version"],
            name="fk_forget_scopes_forget_versions",
        ),
    )
    op.create_table(
        "corruption_profiles",
        sa.Column("model", sa.String(512), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("strength", sa.Double, nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("curve", sa.JSON, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_corruption_profiles"),
    )
    op.create_table(
        "decisions",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_decisions"),
    )
    op.create_index("ix_decisions_id", "decisions", ["id"])


def downgrade() -> None:
    """Refuse: stepping back would lose forget requests."""
    raise NotImplementedError("restore a backup instead: going back would lose forget requests")
