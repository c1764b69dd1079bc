"""The legacy service's import handler and readers: its own rows before R2, its objects since, and what its tools read."""

import uuid

from sqlalchemy import select

from . import redis_cache, storage
from .models import AsyncSessionLocal, DataImport, RawImportRecord


async def store_rows(records, client_account_id=0, discovery_flow_id="f", file_name="a.csv", source_type="csv", import_id=None):
    """An import as the service stored it before R2: all records are rows. SQLAlchemy writes the provider ``r2`` already."""
    async with AsyncSessionLocal() as db:
        record = DataImport(
            id=uuid.UUID(import_id) if import_id else uuid.uuid4(), client_account_id=client_account_id,
            discovery_flow_id=discovery_flow_id, file_name=file_name, source_type=source_type)
        db.add(record)
        await db.flush()
        for raw in records:
            db.add(RawImportRecord(client_account_id=client_account_id, data_import_id=record.id, raw_data=raw))
            # One by one, so that the times of the rows are in the order of the records.
            await db.flush()
        await db.commit()
        return str(record.id)


async def add_rows(import_id, records, first_index=None):
    """Rows that the service adds to an import, with an index each if there is a first one."""
    async with AsyncSessionLocal() as db:
        for number, raw in enumerate(records):
            index = None if first_index is None else first_index + number
            db.add(
                RawImportRecord(
                    client_account_id=0, data_import_id=uuid.UUID(import_id), raw_data=raw, record_index=index))
            await db.flush()
        await db.commit()


async def store_import_data(
    parsed_data, client_account_id=0, discovery_flow_id="f", file_name="a.json", source_type="json"
):
    """``EnhancedImportStorageHandler.store_import_data``."""
    async with AsyncSessionLocal() as db:
        record = DataImport(
            client_account_id=client_account_id, discovery_flow_id=discovery_flow_id, file_name=file_name,
            source_type=source_type)
        db.add(record)
        await db.flush()
        r2_result = await storage.store_raw_import(
            import_id=str(record.id), client_account_id=client_account_id, data=parsed_data,
            metadata={"source_type": source_type, "file_name": file_name, "discovery_flow_id": discovery_flow_id})
        record.storage_location = r2_result["storage_location"]
        record.storage_metadata = r2_result
        await db.commit()
        await redis_cache.cache_import_sample(str(record.id), parsed_data[:100], ttl=3600)
        for idx, raw in enumerate(parsed_data[:10]):
            db.add(
                RawImportRecord(
                    client_account_id=client_account_id, data_import_id=record.id, raw_data=raw, is_sample=True,
                    record_index=idx))
        record.total_records = len(parsed_data)
        await db.commit()
        return str(record.id)


async def read_import(import_id):
    """The records as the service's ``EnhancedSchemaAnalyzerTool`` reads them: the object if there is a location, else rows."""
    async with AsyncSessionLocal() as db:
        record = await db.get(DataImport, uuid.UUID(import_id))
        if record.storage_location:
            return await storage.retrieve_raw_import(record.storage_location)
        rows = await db.execute(
            select(RawImportRecord).where(RawImportRecord.data_import_id == record.id).order_by(RawImportRecord.created_at))
        return [row.raw_data for row in rows.scalars().all()]


async def read_record(import_id):
    """The columns of the import's row that the service reads."""
    async with AsyncSessionLocal() as db:
        record = await db.get(DataImport, uuid.UUID(import_id))
        return {
            "client_account_id": record.client_account_id, "discovery_flow_id": record.discovery_flow_id,
            "file_name": record.file_name, "source_type": record.source_type, "total_records": record.total_records,
            "field_summary": record.field_summary, "storage_location": record.storage_location,
            "storage_metadata": record.storage_metadata, "storage_provider": record.storage_provider,
        }


async def read_samples(import_id):
    """The sample rows by their index."""
    async with AsyncSessionLocal() as db:
        rows = await db.execute(
            select(RawImportRecord)
            .where(RawImportRecord.data_import_id == uuid.UUID(import_id), RawImportRecord.is_sample.is_(True))
            .order_by(RawImportRecord.record_index))
        return [[row.record_index, row.raw_data] for row in rows.scalars().all()]


async def set_status(import_id, status):
    """The service's own processing of an import, which has a status of its own."""
    async with AsyncSessionLocal() as db:
        record = await db.get(DataImport, uuid.UUID(import_id))
        record.status = status
        await db.commit()
