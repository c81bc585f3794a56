-- The registry's tables. Where Quay has a table, its name and columns are Quay's, so that an operator's habitual
-- queries work; what Quay does not have stands beside them under names of its own.
-- Names and digests compare byte by byte (COLLATE "C"): tag lists are then in the order that the specification wants.

-- Locations ---------------------------------------------------------------------------------------------------------

create table imagestoragelocation (
  id serial primary key,
  name varchar(255) not null unique
);

-- What is known about a location beyond its name. (Quay's table stays as Quay's operators know it: id, name.)
create table locationstate (
  location_id integer primary key references imagestoragelocation on delete cascade,
  -- The identity of the store itself, from its marker object: a node of another store is refused.
  marker uuid not null,
  recorded_at timestamptz not null default now()
);

-- Namespaces and repositories ---------------------------------------------------------------------------------------

create table "user" (
  id serial primary key,
  uuid varchar(36) not null default gen_random_uuid(),
  username varchar(255) collate "C" not null unique,
  organization boolean not null default false,
  robot boolean not null default false,
  enabled boolean not null default true,
  creation_date timestamptz not null default now()
);

-- Locations that a namespace wants in addition to the default ones.
create table userregion (
  id serial primary key,
  user_id integer not null references "user" on delete cascade,
  location_id integer not null references imagestoragelocation on delete cascade,
  unique (user_id, location_id)
);

create table repository (
  id serial primary key,
  namespace_user_id integer not null references "user",
  name varchar(255) collate "C" not null,
  -- 0 normal, 1 read-only, 2 mirror, 3 marked for deletion
  state smallint not null default 0,
  created timestamptz not null default now(),
  unique (namespace_user_id, name)
);

-- Blobs -------------------------------------------------------------------------------------------------------------

create table imagestorage (
  id bigserial primary key,
  uuid varchar(36) not null default gen_random_uuid(),
  image_size bigint not null check (image_size >= 0),
  uncompressed_size bigint,
  uploading boolean not null default false,
  cas_path boolean not null default true,
  content_checksum varchar(255) collate "C" not null unique
);

-- The fact that a blob is in a location. Written only after the stored bytes were verified there; null verified_at
-- marks an adopted blob, which is readable but does not count as a copy.
create table imagestorageplacement (
  id bigserial primary key,
  storage_id bigint not null references imagestorage on delete cascade,
  location_id integer not null references imagestoragelocation,
  created_at timestamptz not null default now(),
  verified_at timestamptz,
  unique (storage_id, location_id)
);
create index on imagestorageplacement (location_id, storage_id);

-- A blob may be pulled from a repository while this row exists: it was uploaded or mounted there. Until expires_at it
-- is kept though no manifest refers to it yet.
create table uploadedblob (
  id bigserial primary key,
  repository_id integer not null references repository on delete cascade,
  blob_id bigint not null references imagestorage,
  uploaded_at timestamptz not null default now(),
  expires_at timestamptz not null,
  unique (repository_id, blob_id)
);
create index on uploadedblob (blob_id);

-- An unfinished push of one blob.
create table blobupload (
  id bigserial primary key,
  repository_id integer not null references repository on delete cascade,
  uuid varchar(36) not null unique,
  byte_count bigint not null default 0,
  location_id integer not null references imagestoragelocation,
  -- What the location's nodes need to go on; opaque.
  session bytea not null,
  algorithm varchar(16) not null,
  chunk_count integer not null default 0,
  created timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  -- Who writes now, and until when nobody else may.
  writer uuid,
  lease_until timestamptz
);
create index on blobupload (updated_at);

-- One blob still to be copied to one location. The row goes when the placement comes, in one transaction.
create table replication (
  id bigserial primary key,
  storage_id bigint not null references imagestorage on delete cascade,
  location_id integer not null references imagestoragelocation on delete cascade,
  priority smallint not null default 0,
  attempts integer not null default 0,
  -- When it may be claimed; while it is claimed, when the claim ends.
  next_attempt_at timestamptz not null default now(),
  -- Set anew by each claim. Whoever holds an older one can no longer change the row.
  lease_token uuid,
  session bytea,
  bytes_done bigint not null default 0,
  last_error text,
  trace_id varchar(32),
  created_at timestamptz not null default now(),
  unique (storage_id, location_id)
);
create index on replication (location_id, priority desc, next_attempt_at);

-- Manifests and tags ------------------------------------------------------------------------------------------------

create table mediatype (
  id serial primary key,
  name varchar(255) not null unique
);

create table manifest (
  id bigserial primary key,
  repository_id integer not null references repository on delete cascade,
  digest varchar(255) collate "C" not null,
  media_type_id integer not null references mediatype,
  -- As it was pushed, byte for byte.
  manifest_bytes bytea not null,
  config_media_type varchar(255),
  layers_compressed_size bigint,
  subject varchar(255) collate "C",
  artifact_type varchar(255),
  annotations jsonb not null default '{}',
  created_at timestamptz not null default now(),
  unique (repository_id, digest)
);
create index on manifest (repository_id, subject) where subject is not null;

create table manifestblob (
  id bigserial primary key,
  repository_id integer not null references repository on delete cascade,
  manifest_id bigint not null references manifest on delete cascade,
  blob_id bigint not null references imagestorage,
  unique (manifest_id, blob_id)
);
create index on manifestblob (blob_id);
create index on manifestblob (repository_id);

create table manifestchild (
  id bigserial primary key,
  repository_id integer not null references repository on delete cascade,
  manifest_id bigint not null references manifest on delete cascade,
  child_manifest_id bigint not null references manifest on delete cascade,
  unique (manifest_id, child_manifest_id)
);
create index on manifestchild (child_manifest_id);

-- A tag's history: one row for each manifest that it has pointed to; the living one has no end.
create table tag (
  id bigserial primary key,
  name varchar(128) collate "C" not null,
  repository_id integer not null references repository on delete cascade,
  manifest_id bigint not null references manifest on delete cascade,
  lifetime_start_ms bigint not null,
  lifetime_end_ms bigint check (lifetime_end_ms > lifetime_start_ms),
  hidden boolean not null default false,
  reversion boolean not null default false,
  immutable boolean not null default false,
  unique (repository_id, name, lifetime_end_ms)
);
create unique index tag_living on tag (repository_id, name) where lifetime_end_ms is null;
create index on tag (manifest_id);
