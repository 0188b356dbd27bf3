"""Which weights a corruption profile was made for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Earlier profiles do not know: their models are swept anew."""
    op.add_column("corruption_profiles", sa.Column("root", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop what tells weights apart."""
    op.drop_column("corruption_profiles", "root")
