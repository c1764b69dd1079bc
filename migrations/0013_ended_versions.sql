-- The highest version of all groups, above which new flows start.
CREATE INDEX IF NOT EXISTS ended_versions_by_version ON ended_versions (version);
