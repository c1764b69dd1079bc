"""The legacy service's script ``migrate_to_r2``: its steps in their order, without locks or comparisons.

Corrected where the script could not run at all: it imports ``datetime``, passes a UUID, and passes metadata as text. Tests stop
it at a step with ``stop_before`` and let it go on with ``go_on``. Its only addition is the flush that a commit makes anyway.
"""

import asyncio
import uuid
from datetime import datetime

from sqlalchemy import select

from . import storage
from .models import AsyncSessionLocal, DataImport, RawImportRecord

stopped = {}
running = {}


async def _reach(step, gate):
    if gate and gate["step"] == step:
        gate["reached"].set()
        await gate["released"].wait()


async def migrate_import_to_r2(import_id, gate=None):
    async with AsyncSessionLocal() as db:
        try:
            import_record = await db.get(DataImport, uuid.UUID(import_id))
            if not import_record:
                return False
            if import_record.storage_location:
                return True
            result = await db.execute(
                select(RawImportRecord)
                .where(RawImportRecord.data_import_id == import_record.id)
                .order_by(RawImportRecord.created_at))
            raw_records = result.scalars().all()
            if not raw_records:
                return False
            raw_data = [record.raw_data for record in raw_records]
            await _reach("store", gate)
            r2_result = await storage.store_raw_import(
                import_id=str(import_id), client_account_id=import_record.client_account_id, data=raw_data,
                metadata={
                    "migration_date": datetime.utcnow().isoformat(), "original_record_count": str(len(raw_records)),
                })
            import_record.storage_location = r2_result["storage_location"]
            import_record.storage_metadata = r2_result
            for idx, record in enumerate(raw_records):
                if idx < 10:
                    record.is_sample = True
                    record.record_index = idx
                else:
                    await db.delete(record)
            await _reach("commit", gate)
            await db.flush()
            await _reach("flushed", gate)
            await db.commit()
            return True
        except Exception:
            await db.rollback()
            return False


async def migrate_all_imports(batch_size=10):
    async with AsyncSessionLocal() as db:
        result = await db.execute(
            select(DataImport).where(DataImport.storage_location.is_(None)).order_by(DataImport.created_at.desc()))
        imports = result.scalars().all()
    successes = 0
    for i in range(0, len(imports), batch_size):
        results = await asyncio.gather(*[migrate_import_to_r2(str(imp.id)) for imp in imports[i:i + batch_size]])
        successes += sum(1 for done in results if done)
    return {"found": len(imports), "successful": successes}


async def stop_before(import_id, step):
    """Starts the migration of an import, and returns when it is about to ``store`` the object, to ``commit``, or has ``flushed``
    its changes to the database without a commit."""
    gate = {"step": step, "reached": asyncio.Event(), "released": asyncio.Event()}
    stopped[import_id] = gate
    running[import_id] = asyncio.create_task(migrate_import_to_r2(import_id, gate))
    reached = asyncio.create_task(gate["reached"].wait())
    await asyncio.wait([running[import_id], reached], return_when=asyncio.FIRST_COMPLETED)
    return gate["reached"].is_set()


async def go_on(import_id):
    """Lets a stopped migration go on. Returns its result."""
    stopped.pop(import_id)["released"].set()
    return await running.pop(import_id)
