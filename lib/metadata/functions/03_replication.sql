-- Where the blobs of a namespace must be. Nothing must be where a location is being removed.
create or replace view requirement as
  select u.id as user_id, d.location_id
    from "user" u cross join defaultlocation d
   where not exists (select from namespaceregion n where n.user_id = u.id and n.replaces_defaults)
     and d.location_id in (select id from activelocation)
  union
  select user_id, location_id from userregion where location_id in (select id from activelocation);

-- The namespaces that a blob belongs to: it was pushed to or mounted in one of their repositories, or a manifest there
-- needs it. May name one more than once. (Without a join: whoever asks knows the blobs, and the planner could otherwise
-- read all repositories for a few of them.)
create or replace view blobnamespace as
  select ub.blob_id, (select r.namespace_user_id from repository r where r.id = ub.repository_id) as user_id
    from uploadedblob ub
  union all
  select mb.blob_id, (select r.namespace_user_id from repository r where r.id = mb.repository_id) from manifestblob mb;

-- Where these blobs must be. Of each table, what belongs to them is read once, by the index, and then joined by hashing: so it
-- costs the same however many others there are. The planner is told so. It would otherwise believe its statistics, which
-- the tables outrun, or, where it has none, read whole tables; or repeat for each blob what is quick in a small table.
create or replace function required_copies(p_blobs bigint[]) returns table (blob_id bigint, location_id integer)
language sql stable set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off as $$
  with own as materialized (
    select distinct n.blob_id, n.user_id from blobnamespace n where n.blob_id = any (p_blobs)),
  wanted as materialized (
    select user_id, location_id from requirement where user_id = any (array(select distinct user_id from own)))
  select distinct own.blob_id, wanted.location_id from own join wanted using (user_id)
$$;

-- Whoever reads the requirements in order to act on them holds this lock shared, whoever changes them alone: after a
-- change, nobody still acts on what was before. Held to the end of the transaction. To be a statement of its own, before
-- the one that reads: a statement sees what was there when it began.
create or replace function hold_requirements(p_change boolean) returns void language plpgsql as $$
begin
  if p_change then
    perform pg_advisory_xact_lock(1701737586, 1);
  else
    perform pg_advisory_xact_lock_shared(1701737586, 1);
  end if;
end $$;

-- Notes that something was pushed while replication was switched off. Who switches it on comes before this as a whole, or
-- waits for it: otherwise the note that is there already could go, and what is queued then lack what is not committed yet.
create or replace function note_replication_gap() returns void language plpgsql as $$
begin
  perform hold_requirements(false);
  if not exists (select from replicationgap) then
    insert into replicationgap default values on conflict do nothing;
  end if;
end $$;

-- Replication is switched on (again): what was pushed meanwhile is queued, by the workers, without fail.
create or replace function close_replication_gap() returns void language plpgsql as $$
begin
  if not exists (select from replicationgap) then
    return;
  end if;
  perform hold_requirements(true);
  delete from replicationgap;
  if found then
    -- These requirements are not new.
    insert into requeue (since) values (0);
  end if;
end $$;

-- Files a new row of the queue: under how large its blob is, and a location that the copy can come from, which is the one
-- that has had it longest. (Not the lowest id: for that the planner may go through all placements from the first one on.)
create or replace function file_replication() returns trigger language plpgsql as $$
begin
  select s.image_size,
         coalesce((select p.location_id from imagestorageplacement p
                    where p.storage_id = s.id and p.location_id <> new.location_id order by p.created_at, p.id limit 1), 0)
    into new.size, new.source_id
    from imagestorage s where s.id = new.storage_id;
  return new;
end $$;

-- Copies that are queued only because a location is being removed, and that a namespace now requires, too. A statement of
-- its own: ON CONFLICT DO UPDATE would wait for every row that a worker holds.
create or replace function require_rescued(p_blobs bigint[], p_since bigint) returns void language sql as $$
  update replication r set rescue = false, since = p_since
   where r.rescue and r.storage_id = any (p_blobs)
     and exists (select from blobnamespace b
                  where b.blob_id = r.storage_id
                    and r.location_id = any (array(select location_id from requirement where user_id = b.user_id)))
$$;

-- A trace as the statements below have it: its id; if it is recorded, the same in the form of traceparent, with the span.
create or replace function trace_id_of(p_trace text) returns text language sql immutable as $$
  select case when p_trace like '00-%' then split_part(p_trace, '-', 2) else p_trace end
$$;

create or replace function trace_span_of(p_trace text) returns text language sql immutable as $$
  select case when p_trace like '00-%' then split_part(p_trace, '-', 3) end
$$;

-- Takes out of the queue again what the caller has just put in, where a verified copy has come meanwhile. Whoever records a
-- copy deletes its row and inserts the placement in one transaction. A statement that began before that was committed does
-- not see the placement: it waits for the row that goes, and puts in a new one, and the blob would be copied once more.
-- Nobody else knows the new row yet. So nothing is waited for here, and who distrusts that copy puts in a row after this.
-- (Two that record and queue the same copy at once, where no row was before, do not see each other: it is made once more.)
--
-- To be a statement of its own, after the one that inserts: a statement sees what was there when it began. The planner is
-- told to go by the indexes, since it would otherwise believe its statistics, which the queue outruns; and, as its caller,
-- not to plan each time anew.
create or replace function unqueue_arrived(p_rows bigint[]) returns void language plpgsql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set enable_nestloop = on
set plan_cache_mode = force_generic_plan as $$
begin
  if p_rows is not null then
    delete from replication r
     where r.id = any (p_rows)
       and exists (select from imagestorageplacement p
                    where p.storage_id = r.storage_id and p.location_id = r.location_id and p.verified_at is not null);
  end if;
end $$;

-- Queues these copies (the two lists belong together), but those that are there, verified. p_since null: their requirements
-- are new. The planner is told what required_copies tells it, and not to plan each time anew, which takes longer than all
-- the rest.
create or replace function queue_copies(p_blobs bigint[], p_locations integer[], p_since bigint, p_trace text)
returns void language plpgsql
set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off set plan_cache_mode = force_generic_plan as $$
declare
  rows bigint[];
begin
  with there as materialized (
    select storage_id, location_id from imagestorageplacement where storage_id = any (p_blobs) and verified_at is not null),
  added as (
    insert into replication (storage_id, location_id, since, trace_id, trace_span)
    select w.blob, w.place, coalesce(p_since, nextval('requirement_seq')), trace_id_of(p_trace), trace_span_of(p_trace)
      from unnest(p_blobs, p_locations) w (blob, place)
     where not exists (select from there t where t.storage_id = w.blob and t.location_id = w.place)
     order by w.blob, w.place
    on conflict (storage_id, location_id) do nothing
    returning id)
  select array_agg(id) into rows from added;
  perform unqueue_arrived(rows);
end $$;

-- Queues every copy that is missing, or not verified, of these blobs, which a repository now has. p_replicate false:
-- replication is switched off. Called in the transaction that causes the need, so that the need cannot be forgotten.
create or replace function queue_replication(p_blobs bigint[], p_repository integer, p_replicate boolean, p_trace text)
returns void language plpgsql
set plan_cache_mode = force_generic_plan as $$
declare
  blobs bigint[];
  places integer[];
begin
  if not p_replicate then
    perform note_replication_gap();
    return;
  end if;
  perform hold_requirements(false);
  select array_agg(b.id), array_agg(q.location_id) into blobs, places
    from unnest(p_blobs) b (id)
    cross join (select location_id from requirement
                 where user_id = (select namespace_user_id from repository where id = p_repository)) q;
  perform queue_copies(blobs, places, null, p_trace);
  perform require_rescued(p_blobs, (select last_value from requirement_seq));
end $$;

-- Says where every blob must be. Does nothing if that is how it is already, or if none of them is a location: they were
-- all removed since that configuration was written. p_replicate false: replication is switched off, and nothing is queued.
create or replace function set_default_locations(p_names text[], p_replicate boolean) returns void language plpgsql as $$
declare
  wanted integer[] := array(select id from imagestoragelocation where name = any (p_names) order by id);
begin
  if cardinality(wanted) = 0 or wanted = array(select location_id from defaultlocation order by location_id) then
    return;
  end if;
  perform hold_requirements(true);
  -- Many processes say the same at once when they start.
  if wanted = array(select location_id from defaultlocation order by location_id) then
    return;
  end if;
  delete from defaultlocation where location_id <> all (wanted);
  insert into defaultlocation (location_id) select unnest(wanted) on conflict do nothing;
  if p_replicate then
    insert into requeue default values;
  else
    perform note_replication_gap();
  end if;
end $$;

-- Says where a namespace's blobs must be: in these locations beside the default ones, or instead of them. None, beside:
-- the namespace has no locations of its own any more. Answers the names that no location has, and does nothing if there
-- are any; p_replace needs one location at least, and none may be one that is being removed.
create or replace function set_namespace_locations(p_namespace text, p_names text[], p_replace boolean, p_replicate boolean)
returns text[] language plpgsql as $$
declare
  namespace_id integer;
  closed text;
  unknown text[] := array(select distinct n from unnest(p_names) n
                           where not exists (select from imagestoragelocation where name = n) order by n);
begin
  if cardinality(unknown) > 0 then
    return unknown;
  end if;
  if p_replace and cardinality(p_names) = 0 then
    raise exception 'a namespace that replaces the default locations needs one at least' using errcode = 'check_violation';
  end if;
  insert into "user" (username, organization) values (p_namespace, true) on conflict do nothing;
  select id into strict namespace_id from "user" where username = p_namespace;
  perform hold_requirements(true);
  select l.name into closed from imagestoragelocation l
   where l.name = any (p_names) and l.id not in (select id from activelocation) order by l.name limit 1;
  if found then
    raise exception 'the location % is being removed: no namespace can be kept there', closed using errcode = 'EN001';
  end if;
  delete from userregion where user_id = namespace_id;
  insert into userregion (user_id, location_id)
    select namespace_id, id from imagestoragelocation where name = any (p_names);
  insert into namespaceregion (user_id, replaces_defaults) values (namespace_id, p_replace)
    on conflict (user_id) do update set replaces_defaults = excluded.replaces_defaults;
  if p_replicate then
    insert into requeue (user_id) values (namespace_id);
  else
    perform note_replication_gap();
  end if;
  return '{}';
end $$;

-- The only locations that a namespace's bytes may be written to; null: any that a configuration knows. It has an answer for
-- every namespace once a location is being removed, or was: processes may still have that one in their configuration.
create or replace function only_locations(p_namespace text) returns text[] language sql stable as $$
  select case
    when exists (select from "user" u join namespaceregion n on n.user_id = u.id and n.replaces_defaults
                  where u.username = p_namespace)
    then array(select l.name::text from "user" u join userregion ur on ur.user_id = u.id
                 join activelocation l on l.id = ur.location_id where u.username = p_namespace order by l.name)
    when exists (select from removedlocation) or exists (select from locationstate where state <> 'active')
    then array(select name::text from activelocation order by name)
  end
$$;

-- Whether a namespace's bytes may be recorded in a location: unless it is kept in others. (Where new ones may go is
-- only_locations: in no location that is being removed, though what was begun there may still end there.)
create or replace function may_be_in(p_namespace text, p_location text) returns boolean language sql stable as $$
  select not exists (
    select from "user" u join namespaceregion n on n.user_id = u.id and n.replaces_defaults
     where u.username = p_namespace
       and not exists (select from userregion ur join imagestoragelocation l on l.id = ur.location_id
                        where ur.user_id = u.id and l.name = p_location))
$$;
