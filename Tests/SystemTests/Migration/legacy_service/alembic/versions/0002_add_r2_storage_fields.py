"""Adds R2 storage fields to imports, as the service's guide has it.

With ``LEGACY_REVISIONS_ACCEPT_EXISTING`` the revision accepts columns and an index that the hub has added before.
"""

import sqlalchemy as sa
from alembic import op
from legacy_service import settings
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

existing = {"if_not_exists": True} if settings.REVISIONS_ACCEPT_EXISTING else {}


def upgrade():
    op.add_column("data_imports", sa.Column("storage_location", sa.String(500), nullable=True), **existing)
    op.add_column("data_imports", sa.Column("storage_metadata", postgresql.JSONB, nullable=True), **existing)
    op.add_column("data_imports", sa.Column("storage_provider", sa.String(50), default="r2"), **existing)
    op.add_column("raw_import_records", sa.Column("is_sample", sa.Boolean(), default=False), **existing)
    op.add_column("raw_import_records", sa.Column("record_index", sa.Integer(), nullable=True), **existing)
    op.create_index("idx_raw_import_sample", "raw_import_records", ["data_import_id", "is_sample"], **existing)


def downgrade():
    op.drop_index("idx_raw_import_sample", "raw_import_records")
    op.drop_column("raw_import_records", "record_index")
    op.drop_column("raw_import_records", "is_sample")
    op.drop_column("data_imports", "storage_provider")
    op.drop_column("data_imports", "storage_metadata")
    op.drop_column("data_imports", "storage_location")
