"""The legacy service's ``R2StorageService``, on boto3: objects with one gzip member, read whole."""

import asyncio
import gzip
import hashlib
import json
from datetime import datetime

import boto3
from botocore.config import Config

from . import settings

client = boto3.client(
    "s3", endpoint_url=settings.R2_ENDPOINT, region_name="auto", aws_access_key_id=settings.R2_ACCESS_KEY_ID,
    aws_secret_access_key=settings.R2_SECRET_ACCESS_KEY,
    # As the versions of boto3 did that the service was written for: no checksums beyond those required.
    config=Config(
        request_checksum_calculation="when_required", response_checksum_validation="when_required", signature_version="s3v4",
        s3={"addressing_style": "path"}))


async def store_raw_import(import_id, client_account_id, data, metadata=None):
    json_data = json.dumps(data, default=str)
    compressed_data = gzip.compress(json_data.encode())
    timestamp = datetime.utcnow().strftime("%Y/%m/%d")
    key = f"imports/{client_account_id}/{timestamp}/{import_id}/raw_data.json.gz"
    data_hash = hashlib.sha256(compressed_data).hexdigest()
    await asyncio.to_thread(
        client.put_object, Bucket=settings.R2_BUCKET_NAME, Key=key, Body=compressed_data, ContentType="application/gzip",
        Metadata={
            "import_id": import_id, "client_account_id": str(client_account_id), "record_count": str(len(data)),
            "data_hash": data_hash, "original_size": str(len(json_data)), "compressed_size": str(len(compressed_data)),
            **(metadata or {}),
        })
    return {
        "storage_location": key, "bucket": settings.R2_BUCKET_NAME, "size_bytes": len(compressed_data),
        "original_size_bytes": len(json_data), "compression_ratio": round(len(compressed_data) / len(json_data), 2),
        "record_count": len(data), "data_hash": data_hash, "storage_class": "STANDARD",
    }


async def retrieve_raw_import(storage_location, sample_size=None):
    response = await asyncio.to_thread(client.get_object, Bucket=settings.R2_BUCKET_NAME, Key=storage_location)
    data = json.loads(gzip.decompress(await asyncio.to_thread(response["Body"].read)).decode())
    return data[:sample_size] if sample_size and sample_size < len(data) else data


async def stream_large_import(storage_location, chunk_size=1000):
    data = await retrieve_raw_import(storage_location)
    for i in range(0, len(data), chunk_size):
        yield data[i:i + chunk_size]


async def delete_import(storage_location):
    try:
        await asyncio.to_thread(client.delete_object, Bucket=settings.R2_BUCKET_NAME, Key=storage_location)
        return True
    except Exception:
        return False


async def get_import_metadata(storage_location):
    response = await asyncio.to_thread(client.head_object, Bucket=settings.R2_BUCKET_NAME, Key=storage_location)
    return {
        "size_bytes": response["ContentLength"], "last_modified": response["LastModified"], "metadata": response["Metadata"],
        "content_type": response.get("ContentType"), "etag": response.get("ETag"),
    }


async def create_presigned_url(storage_location, expiration=3600):
    return client.generate_presigned_url(
        "get_object", Params={"Bucket": settings.R2_BUCKET_NAME, "Key": storage_location}, ExpiresIn=expiration)


async def stream_sizes(storage_location, chunk_size):
    """The numbers of records of the chunks that ``stream_large_import`` yields."""
    return [len(chunk) async for chunk in stream_large_import(storage_location, chunk_size)]
