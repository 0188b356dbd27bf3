"""How often each phrase was met in answers."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "phrase_hits",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("phrase_key", sa.String(64), nullable=False),
        sa.Column("flagged", sa.Boolean, nullable=False),
        sa.Column("acted", sa.Boolean, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("request_id", "phrase_key", "flagged", "acted", name="pk_phrase_hits"),
    )


def downgrade() -> None:
    """Drop the counts: nothing is decided by them."""
    op.drop_table("phrase_hits")
