-- Creates the database and its user. Run by an administrator, with psql.
\set ON_ERROR_STOP on

CREATE ROLE hub LOGIN PASSWORD '…';
CREATE DATABASE hub OWNER hub;
