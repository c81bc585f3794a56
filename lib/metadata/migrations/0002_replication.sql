-- What replication needs beyond the queue: where blobs must be, how fast they may go there, who copies, and what has arrived.

-- Where every blob must be (DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS). Kept here so that all processes agree on it while a
-- change of the configuration goes round.
create table defaultlocation (
  location_id integer primary key references imagestoragelocation on delete cascade
);

-- How a namespace's own locations (userregion) are meant.
create table namespaceregion (
  user_id integer primary key references "user" on delete cascade,
  -- Instead of the default ones: its blobs are written, cached and filled there only. Otherwise in addition to them.
  replaces_defaults boolean not null
);

-- Where blobs must be has changed, for one namespace or (null) for all: the difference is still to be queued. Written in
-- the transaction of the change; the workers go through the blobs in the order of their ids, and then delete the row.
create table requeue (
  id bigserial primary key,
  user_id integer references "user" on delete cascade,
  after_blob bigint not null default 0,
  created_at timestamptz not null default now()
);

-- What copying to a location may take, over all workers together; null is no limit.
create table locationlimit (
  location_id integer primary key references imagestoragelocation on delete cascade,
  concurrency integer check (concurrency > 0),
  bytes_per_second bigint check (bytes_per_second > 0),
  updated_at timestamptz not null default now()
);

-- The workers that live: each renews its row. One whose lease has run out is dead.
create table worker (
  id uuid primary key,
  -- Where its gRPC server is reached, host:port.
  address varchar(255) not null,
  -- The names of the locations that it is meant for.
  locations text[] not null,
  -- The names of all locations that its configuration has: those it can take over.
  knows text[] not null,
  started_at timestamptz not null default now(),
  lease_until timestamptz not null,
  -- It ended in order: it no longer lives, but until its lease runs out nobody takes over from it. It may be restarting.
  ended boolean not null default false
);

-- Which worker holds the claim on a copy: gateways of the region share its crossing.
alter table replication add column worker_id uuid;

-- The rows stand in many queues: one for each target, source that they are filed under, and size. A claim finds what is
-- due in a queue without looking at the others, and without sorting (functions/09_claims.sql).
alter table replication
  add column size bigint not null default 0,
  -- A location that has the blob; 0: none. The copy may be made from any other one.
  add column source_id integer not null default 0,
  -- Does not travel in a batch with others: SMALL_BLOB_BYTES.
  add column large boolean not null generated always as (size > 1048576) stored;
create index replication_queue on replication (location_id, source_id, large, priority desc, next_attempt_at);
drop index replication_location_id_priority_next_attempt_at_idx;

create function file_replication() returns trigger language plpgsql as $$
begin
  select s.image_size,
         coalesce((select p.location_id from imagestorageplacement p
                    where p.storage_id = s.id and p.location_id <> new.location_id order by p.id limit 1), 0)
    into new.size, new.source_id
    from imagestorage s where s.id = new.storage_id;
  return new;
end $$;
create trigger replication_filed before insert on replication for each row execute function file_replication();
update replication r set (size, source_id) = (
  select s.image_size,
         coalesce((select p.location_id from imagestorageplacement p
                    where p.storage_id = s.id and p.location_id <> r.location_id order by p.id limit 1), 0)
    from imagestorage s where s.id = r.storage_id);

-- What an index lists, also before it is here: a child that is pushed later is then linked too.
alter table manifest add column child_digests text[] not null default '{}';
create index on manifest using gin (child_digests) where child_digests <> '{}';

-- An image that was pushed, and that a location does not have whole yet. The row goes when the last blob has come.
create table pendingimage (
  id bigserial primary key,
  manifest_id bigint not null references manifest on delete cascade,
  location_id integer not null references imagestoragelocation on delete cascade,
  -- The tag that it was pushed as; empty if by digest only.
  tag varchar(128) collate "C" not null,
  pushed_at timestamptz not null,
  -- When it began to wait: later than the push, if that waited for its quorum.
  waiting_since timestamptz not null default clock_timestamp(),
  unique (manifest_id, location_id, tag)
);
create index on pendingimage (location_id, manifest_id);
create index on pendingimage (waiting_since);

-- "All blobs of this image are in this location": what a deployment waits for.
create table replicationevent (
  id bigserial primary key,
  namespace varchar(255) not null,
  repository varchar(255) not null,
  tag varchar(128) not null,
  digest varchar(255) collate "C" not null,
  location varchar(255) not null,
  pushed_at timestamptz not null,
  completed_at timestamptz not null default now(),
  -- When it was told to those who listen; null: not yet.
  published_at timestamptz,
  -- Until when some process has it in hand, to tell it.
  taken_until timestamptz
);
create index on replicationevent (id) where published_at is null;
create index on replicationevent (completed_at);

-- They took the required locations as a parameter; now the database knows them.
drop function if exists queue_replication(bigint[], integer, text[], text);
drop function if exists store_blob(integer, text, bigint, text, text[], text);
drop function if exists finish_upload(text, text, text, uuid, bigint, text, bigint, text, text[], text);
drop function if exists mount_blob(text, text, text, text, text, text[], text);
drop function if exists put_manifest(text, text, text, text, bytea, text, bigint, text, text, jsonb, text[], text[], text[], text[], text);
