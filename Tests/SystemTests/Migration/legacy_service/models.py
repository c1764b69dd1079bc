"""The legacy service's tables in SQLAlchemy, with the columns of its R2 migration."""

import uuid
from datetime import datetime

from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Integer, String, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import declarative_base

from . import settings

Base = declarative_base()


class DataImport(Base):
    __tablename__ = "data_imports"

    id = Column(Uuid, primary_key=True, default=uuid.uuid4)
    client_account_id = Column(Integer, nullable=False)
    discovery_flow_id = Column(String(64), nullable=False)
    file_name = Column(String(255), nullable=False)
    source_type = Column(String(50), nullable=False)
    status = Column(String(20), default="pending")
    total_records = Column(Integer)
    field_summary = Column(JSONB)
    storage_location = Column(String(500))
    storage_metadata = Column(JSONB)
    storage_provider = Column(String(50), default="r2")
    created_at = Column(DateTime, default=datetime.utcnow)
    notes = Column(String(200))


class RawImportRecord(Base):
    __tablename__ = "raw_import_records"

    id = Column(Uuid, primary_key=True, default=uuid.uuid4)
    client_account_id = Column(Integer, nullable=False)
    data_import_id = Column(Uuid, ForeignKey("data_imports.id"), nullable=False)
    raw_data = Column(JSONB, nullable=False)
    is_sample = Column(Boolean, default=False)
    record_index = Column(Integer)
    created_at = Column(DateTime, default=datetime.utcnow)


if settings.DATABASE_URL:
    engine = create_async_engine(settings.DATABASE_URL)
    AsyncSessionLocal = async_sessionmaker(engine, expire_on_commit=False)


async def create_tables():
    """Creates the tables as they are after the service's R2 migration, for tests that do not run alembic."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
