"""Reads the bucket with an independent S3 client (boto3).

    bucket.py create | keys | uploads

Creates the bucket R2_BUCKET_NAME, or prints its keys or its unfinished uploads, one per line.
"""
import os, sys

import boto3
from botocore.config import Config

client = boto3.client(
    "s3", endpoint_url=os.environ["R2_ENDPOINT"], region_name="auto", aws_access_key_id=os.environ["R2_ACCESS_KEY_ID"],
    aws_secret_access_key=os.environ["R2_SECRET_ACCESS_KEY"], config=Config(s3={"addressing_style": "path"}))
bucket = os.environ["R2_BUCKET_NAME"]

if sys.argv[1] == "create":
    client.create_bucket(Bucket=bucket)
elif sys.argv[1] == "keys":
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            print(entry["Key"])
elif sys.argv[1] == "uploads":
    for entry in client.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        print(entry["Key"], entry["UploadId"])
