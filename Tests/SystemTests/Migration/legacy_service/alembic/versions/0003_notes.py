"""A later change of the service's own, to a table that the hub uses."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    op.add_column("data_imports", sa.Column("notes", sa.String(200), nullable=True))


def downgrade():
    op.drop_column("data_imports", "notes")
