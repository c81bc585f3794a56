-- What operators do to a running registry, and exact counts of what is where.

-- Whether a location is in use. One that is being removed drains first; then its records are deleted.
alter table locationstate alter column marker drop not null;
alter table locationstate
  add column state varchar(16) not null default 'active' check (state in ('active', 'draining', 'removing')),
  -- No copies are made to it. What must be copied there stays queued.
  add column paused boolean not null default false,
  -- Its objects are deleted, too, when it is removed.
  add column delete_objects boolean not null default false;
insert into locationstate (location_id) select id from imagestoragelocation on conflict do nothing;

-- Locations that were removed. A process with an old configuration does not bring them back.
create table removedlocation (
  name varchar(255) primary key,
  removed_at timestamptz not null default now()
);

-- The processes that have a database: each renews its row.
create table process (
  id uuid primary key,
  role varchar(16) not null,
  address varchar(255) not null,
  version varchar(64) not null,
  -- Of what all processes should have in common.
  config_hash varchar(64) not null,
  -- The locations that its configuration has, and those where it says that every blob must be.
  locations text[] not null,
  defaults text[] not null,
  started_at timestamptz not null default now(),
  lease_until timestamptz not null
);

-- What the registry takes. One row at the most.
create table registrymode (
  singleton boolean primary key default true check (singleton),
  read_only boolean not null,
  pushes_disabled boolean not null,
  reason text not null,
  changed_at timestamptz not null default now()
);

-- Requirements have an order: each one that comes into being takes the next number, which its row in the queue keeps. So
-- "every requirement that existed at that moment" is a number. Those that existed before they were (again) found not to
-- be met have 0.
create sequence requirement_seq;
alter table replication add column since bigint;
update replication set since = 0;
alter table replication alter column since set default nextval('requirement_seq'), alter column since set not null;
alter table requeue add column since bigint not null default nextval('requirement_seq');
-- A copy that is wanted though no namespace requires it: what is only in a location that is being removed.
alter table replication add column rescue boolean not null default false;
create index replication_since on replication (since) where not rescue;
create index on replication (location_id, created_at);
create index on replication (location_id, next_attempt_at) where last_error is not null;

-- Pushes were taken while replication was switched off: what they require is not queued. One row at the most.
create table replicationgap (
  singleton boolean primary key default true check (singleton),
  began_at timestamptz not null default now()
);

-- Copies that are there and not verified are few.
create index placement_unverified on imagestorageplacement (location_id, storage_id) where verified_at is null;

-- A copy is counted when its record comes and when it goes, and its size is its blob's: so the blob goes last.
alter table imagestorageplacement
  drop constraint imagestorageplacement_storage_id_fkey,
  add constraint imagestorageplacement_storage_id_fkey foreign key (storage_id) references imagestorage;

-- What is in each location, and what is missing there: the sum of a location's rows. Each statement that changes
-- something adds a row (so nobody waits for anybody), and now and then the rows are folded into one.
create table locationcount (
  id bigserial primary key,
  location_id integer not null,
  blobs bigint not null default 0,
  bytes bigint not null default 0,
  unverified bigint not null default 0,
  missing bigint not null default 0,
  missing_bytes bigint not null default 0
);

create function count_placements_added() returns trigger language plpgsql as $$
begin
  insert into locationcount (location_id, blobs, bytes, unverified)
  select p.location_id, count(*), sum(s.image_size), count(*) filter (where p.verified_at is null)
    from added p join imagestorage s on s.id = p.storage_id group by p.location_id;
  return null;
end $$;
create trigger placements_added after insert on imagestorageplacement
  referencing new table as added for each statement execute function count_placements_added();

create function count_placements_removed() returns trigger language plpgsql as $$
begin
  insert into locationcount (location_id, blobs, bytes, unverified)
  select p.location_id, -count(*), -sum(s.image_size), -count(*) filter (where p.verified_at is null)
    from removed p join imagestorage s on s.id = p.storage_id group by p.location_id;
  return null;
end $$;
create trigger placements_removed after delete on imagestorageplacement
  referencing old table as removed for each statement execute function count_placements_removed();

create function count_placements_changed() returns trigger language plpgsql as $$
begin
  insert into locationcount (location_id, unverified)
  select n.location_id, sum((n.verified_at is null)::int - (o.verified_at is null)::int)
    from changed n join before o on o.id = n.id group by n.location_id
  having sum((n.verified_at is null)::int - (o.verified_at is null)::int) <> 0;
  return null;
end $$;
create trigger placements_changed after update on imagestorageplacement
  referencing old table as before new table as changed for each statement execute function count_placements_changed();

create function count_replication_added() returns trigger language plpgsql as $$
begin
  insert into locationcount (location_id, missing, missing_bytes)
  select location_id, count(*), sum(size) from added where not rescue group by location_id;
  return null;
end $$;
create trigger replication_added after insert on replication
  referencing new table as added for each statement execute function count_replication_added();

create function count_replication_removed() returns trigger language plpgsql as $$
begin
  insert into locationcount (location_id, missing, missing_bytes)
  select location_id, -count(*), -sum(size) from removed where not rescue group by location_id;
  return null;
end $$;
create trigger replication_removed after delete on replication
  referencing old table as removed for each statement execute function count_replication_removed();

-- A copy that was wanted to rescue it, and that is now required, too.
create function count_replication_required() returns trigger language plpgsql as $$
begin
  insert into locationcount (location_id, missing, missing_bytes) values (new.location_id, 1, new.size);
  return null;
end $$;
create trigger replication_required after update of rescue on replication
  for each row when (old.rescue and not new.rescue) execute function count_replication_required();

insert into locationcount (location_id, blobs, bytes, unverified)
  select p.location_id, count(*), sum(s.image_size), count(*) filter (where p.verified_at is null)
    from imagestorageplacement p join imagestorage s on s.id = p.storage_id group by p.location_id;
insert into locationcount (location_id, missing, missing_bytes)
  select location_id, count(*), sum(size) from replication group by location_id;
