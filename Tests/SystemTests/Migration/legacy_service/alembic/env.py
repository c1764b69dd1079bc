"""Runs the revisions over asyncpg, as alembic's template for asynchronous drivers does."""

import asyncio
import runpy

from alembic import context
from legacy_service import models, settings
from sqlalchemy.ext.asyncio import create_async_engine

options = {}
if settings.ALEMBIC_INCLUDE_OBJECT:
    options["include_object"] = runpy.run_path(settings.ALEMBIC_INCLUDE_OBJECT)["include_object"]


def run(connection):
    context.configure(connection=connection, target_metadata=models.Base.metadata, **options)
    with context.begin_transaction():
        context.run_migrations()


async def main():
    engine = create_async_engine(settings.DATABASE_URL)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


asyncio.run(main())
