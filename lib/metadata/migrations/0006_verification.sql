-- Removing, verifying and adopting locations: work that takes a while, and is gone on with after any crash.

-- Who is at such work on a location. One whose lease has run out is dead, and another may go on.
create table locationwork (
  location_id integer not null references imagestoragelocation on delete cascade,
  kind varchar(16) not null,
  holder uuid not null,
  lease_until timestamptz not null,
  primary key (location_id, kind)
);

-- How far a verification has got that is not done yet; and what it has found so far.
create table verification (
  location_id integer not null references imagestoragelocation on delete cascade,
  -- Existence and size, or the digest, too.
  depth varchar(16) not null check (depth in ('size', 'digest')),
  -- The part of the blobs that is looked at; 100: all of them.
  percent smallint not null,
  after_digest varchar(255) collate "C" not null,
  blobs_done bigint not null default 0,
  bytes_hashed bigint not null default 0,
  missing bigint not null default 0,
  corrupt bigint not null default 0,
  newly_verified bigint not null default 0,
  unreferenced bigint not null default 0,
  updated_at timestamptz not null default now(),
  primary key (location_id, depth, percent)
);

-- What was found in a location's store and taken over. It is kept though nobody refers to it, until it is let go of.
create table adoptedblob (
  location_id integer not null references imagestoragelocation on delete cascade,
  storage_id bigint not null references imagestorage on delete cascade,
  adopted_at timestamptz not null default now(),
  primary key (location_id, storage_id)
);
create index on adoptedblob (storage_id);

create index on blobupload (location_id);
create index replication_rescue on replication (storage_id) where rescue;
-- Whoever removes a location says each time whether its objects go, too.
alter table locationstate drop column delete_objects;
