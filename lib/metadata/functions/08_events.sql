-- Images that have become whole somewhere: these blobs have come to these locations (the two lists belong together).
-- Ends what waited for the last of them with an event. Called in the transaction that records the placements.
create or replace function note_arrivals(p_blobs bigint[], p_locations integer[]) returns void language plpgsql as $$
declare
  waiting bigint[];
begin
  -- Locked, in one order: of two workers that bring the last two blobs, the second one sees the first one's.
  select array_agg(id) into waiting from (
    select p.id from pendingimage p
     where (p.manifest_id, p.location_id) in (
       with recursive holder (manifest_id, location_id) as (
         select mb.manifest_id, a.location_id
           from unnest(p_blobs, p_locations) a (blob_id, location_id) join manifestblob mb on mb.blob_id = a.blob_id
         union
         select mc.manifest_id, h.location_id from holder h join manifestchild mc on mc.child_manifest_id = h.manifest_id)
       select manifest_id, location_id from holder)
     order by p.id for update) locked;
  if waiting is not null then
    perform end_waiting(waiting);
  end if;
end $$;

-- Makes events of those waiting images (locked by the caller) that are whole now. The planner is told to go by the indexes,
-- from each image to its blobs: it does not know how few those are, and would read all that any image has.
create or replace function end_waiting(p_waiting bigint[]) returns void language sql
set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
  with done as (
    delete from pendingimage p
     where p.id = any (p_waiting)
       and not exists (
         select from manifestblob mb
          where mb.manifest_id = any (array(select manifest_tree(p.manifest_id)))
            and not exists (select from imagestorageplacement pl
                             where pl.storage_id = mb.blob_id and pl.location_id = p.location_id
                               and pl.verified_at is not null))
    returning p.manifest_id, p.location_id, p.tag, p.pushed_at)
  insert into replicationevent (namespace, repository, tag, digest, location, pushed_at, completed_at)
  select u.username, r.name, d.tag, m.digest, l.name, d.pushed_at, clock_timestamp()
    from done d join manifest m on m.id = d.manifest_id join repository r on r.id = m.repository_id
    join "user" u on u.id = r.namespace_user_id join imagestoragelocation l on l.id = d.location_id
$$;

-- An image was pushed, p_waited_ms ago: each location that must have it gets an event when it has all of it, which may be
-- now.
create or replace function await_image(p_manifest bigint, p_repository integer, p_tags text[], p_waited_ms integer)
returns void language plpgsql as $$
declare
  waiting bigint[];
begin
  perform hold_requirements(false);
  insert into pendingimage (manifest_id, location_id, tag, pushed_at)
  select p_manifest, q.location_id, t.tag, clock_timestamp() - p_waited_ms * interval '1 millisecond'
    from unnest(case when cardinality(p_tags) = 0 then array[''] else p_tags end) t (tag)
    cross join (select location_id from requirement
                 where user_id = (select namespace_user_id from repository where id = p_repository)) q
   order by q.location_id, t.tag
  on conflict (manifest_id, location_id, tag) do update
    set pushed_at = excluded.pushed_at, waiting_since = excluded.waiting_since;
  select array_agg(id) into waiting from (
    select id from pendingimage where manifest_id = p_manifest order by id for update) locked;
  if waiting is not null then
    perform end_waiting(waiting);
  end if;
end $$;

-- Records copies that are verified at their target: each placement is inserted and its row deleted. Claims that were lost
-- are passed over. Answers the rows that were recorded, and how long ago each copy became necessary.
create or replace function complete_replication(p_ids bigint[], p_tokens uuid[])
returns table (id bigint, lag_ms bigint) language plpgsql as $$
declare
  ids bigint[];
  lags bigint[];
  blobs bigint[];
  places integer[];
begin
  with held as (
    select r.id from replication r join unnest(p_ids, p_tokens) h (id, token) on r.id = h.id and r.lease_token = h.token
     order by r.id for update of r),
  done as (
    delete from replication r using held where r.id = held.id
    returning r.id, r.storage_id, r.location_id, r.created_at)
  select array_agg(d.id), array_agg(greatest(0, floor(extract(epoch from clock_timestamp() - d.created_at) * 1000))::bigint),
         array_agg(d.storage_id), array_agg(d.location_id)
    into ids, lags, blobs, places from done d;
  if ids is null then
    return;
  end if;
  insert into imagestorageplacement (storage_id, location_id, verified_at)
    select a.blob, a.place, now() from unnest(blobs, places) a (blob, place) order by 1, 2
    on conflict (storage_id, location_id) do update set verified_at = excluded.verified_at, distrusted_at = null
     where imagestorageplacement.verified_at is null;
  perform note_arrivals(blobs, places);
  return query select * from unnest(ids, lags);
end $$;

-- Records copies that are verified at their target though the queue no longer has their rows: they were taken out while the
-- copies were being made, which ended all the same. Each is then what it would be had it been made a moment earlier;
-- without a record its object would be there unknown. Where a row is, whoever makes that copy finds the object and
-- records it; where a record is, it stays as it is, since the copy may have turned out to be damaged. Not where records
-- are being deleted. Answers which copies were recorded, counted from 1.
--
-- A worker that dies before this leaves an object without a record, and no row that would bring another worker to it. That
-- loses nothing: it is room that is taken up until the blob is required there again, pushed there, or taken over. Whoever
-- verifies the location is told of it (worker/verify-location/strangers.ts); AdoptLocation records it.
create or replace function record_unqueued(p_digests text[], p_locations text[]) returns setof bigint language plpgsql as $$
declare
  numbers bigint[];
  blobs bigint[];
  places integer[];
begin
  perform hold_requirements(false);
  -- Against those that distrust a copy of the same blobs, or delete records of them.
  perform from imagestorage where content_checksum = any (p_digests) order by content_checksum for key share;
  with made as materialized (
    select c.n, s.id as blob, l.id as place
      from unnest(p_digests, p_locations) with ordinality c (digest, location, n)
      join imagestorage s on s.content_checksum = c.digest
      join imagestoragelocation l on l.name = c.location
      left join locationstate t on t.location_id = l.id
     where coalesce(t.state, 'active') <> 'removing'
       and not exists (select from replication r where r.storage_id = s.id and r.location_id = l.id)),
  recorded as (
    insert into imagestorageplacement (storage_id, location_id, verified_at)
      select distinct blob, place, now() from made order by 1, 2
    on conflict (storage_id, location_id) do nothing
    returning storage_id, location_id)
  select array_agg(m.n), array_agg(m.blob), array_agg(m.place) into numbers, blobs, places
    from made m join recorded r on r.storage_id = m.blob and r.location_id = m.place;
  if numbers is not null then
    perform note_arrivals(blobs, places);
  end if;
  return query select unnest(numbers);
end $$;

-- Looks again at the next p_limit waiting images after p_after, of those that wait for less than p_seconds (null: of
-- all): one whose push and whose last copy were committed at the same moment was seen by neither. Answers where it
-- stopped; null at the end.
create or replace function sweep_waiting(p_after bigint, p_limit integer, p_seconds integer) returns bigint
language plpgsql as $$
declare
  waiting bigint[];
begin
  waiting := array(
    select id from pendingimage
     where id > p_after and (p_seconds is null or waiting_since > now() - p_seconds * interval '1 second')
     order by id limit p_limit for update skip locked);
  if cardinality(waiting) = 0 then
    return null;
  end if;
  perform end_waiting(waiting);
  return waiting[cardinality(waiting)];
end $$;

-- Takes up to p_limit events that are to be told to those who listen: of these locations, and of all others that nobody
-- has told for a while. Whoever takes one has 10 seconds to tell it and to say so. After a day nobody waits for it.
create or replace function take_events(p_locations text[], p_limit integer) returns setof replicationevent language sql as $$
  update replicationevent set taken_until = now() + interval '10 seconds'
   where id in (
     select id from replicationevent
      where published_at is null and completed_at > now() - interval '1 day'
        and (taken_until is null or taken_until < now())
        and (location = any (p_locations) or completed_at < now() - interval '10 seconds')
      order by id limit p_limit for update skip locked)
  returning *
$$;
