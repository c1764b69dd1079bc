"""The environment variables of the legacy service."""

import os

DATABASE_URL = os.environ.get("DATABASE_URL", "")
REDIS_URL = os.environ.get("REDIS_URL", "")
REDIS_ENABLED = os.environ.get("REDIS_ENABLED", "true") == "true"
REDIS_DEFAULT_TTL = int(os.environ.get("REDIS_DEFAULT_TTL", "3600"))
R2_ENDPOINT = os.environ.get("R2_ENDPOINT", "")
R2_ACCESS_KEY_ID = os.environ.get("R2_ACCESS_KEY_ID", "")
R2_SECRET_ACCESS_KEY = os.environ.get("R2_SECRET_ACCESS_KEY", "")
R2_BUCKET_NAME = os.environ.get("R2_BUCKET_NAME", "")
