"""The tables of imports, before R2."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None


def upgrade():
    op.create_table(
        "data_imports",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("client_account_id", sa.Integer, nullable=False),
        sa.Column("discovery_flow_id", sa.String(64), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("source_type", sa.String(50), nullable=False),
        sa.Column("status", sa.String(20)),
        sa.Column("total_records", sa.Integer),
        sa.Column("field_summary", postgresql.JSONB),
        sa.Column("created_at", sa.DateTime),
    )
    op.create_table(
        "raw_import_records",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("client_account_id", sa.Integer, nullable=False),
        sa.Column("data_import_id", sa.Uuid, sa.ForeignKey("data_imports.id"), nullable=False),
        sa.Column("raw_data", postgresql.JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime),
    )


def downgrade():
    op.drop_table("raw_import_records")
    op.drop_table("data_imports")
