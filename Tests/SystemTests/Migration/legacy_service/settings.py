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
# Path of a Python file with a function include_object for alembic; empty: none.
ALEMBIC_INCLUDE_OBJECT = os.environ.get("ALEMBIC_INCLUDE_OBJECT", "")
REVISIONS_ACCEPT_EXISTING = os.environ.get("LEGACY_REVISIONS_ACCEPT_EXISTING", "") == "true"
