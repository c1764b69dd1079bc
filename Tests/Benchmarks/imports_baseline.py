"""The legacy service's method to store an import: json.dumps, gzip.compress, put_object. The records are parsed before the measurement starts.

usage: imports_baseline.py FILE.ndjson ENDPOINT BUCKET
Prints: seconds, records per second, bytes of the object, peak resident memory in MiB.
"""

import gzip
import hashlib
import json
import resource
import sys
import time

import boto3
from botocore.config import Config

file, endpoint, bucket = sys.argv[1:4]
with open(file, encoding="utf-8") as lines:
    data = [json.loads(line) for line in lines]
s3 = boto3.client(
    "s3", endpoint_url=endpoint, aws_access_key_id="hub:writer", aws_secret_access_key="secretkey", region_name="auto",
    config=Config(request_checksum_calculation="when_required", s3={"addressing_style": "path"}))

begin = time.monotonic()
json_data = json.dumps(data, default=str)
compressed = gzip.compress(json_data.encode())
data_hash = hashlib.sha256(compressed).hexdigest()
s3.put_object(
    Bucket=bucket, Key="imports/1/2026/01/01/baseline/raw_data.json.gz", Body=compressed, ContentType="application/gzip",
    Metadata={"record_count": str(len(data)), "data_hash": data_hash})
seconds = time.monotonic() - begin
print(f"{seconds:.3f} {len(data) / seconds:.0f} {len(compressed)} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}")
