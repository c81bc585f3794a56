-- Looks at the next p_limit blobs after the one with the id p_after (null p_namespace, p_location: of all namespaces, for all
-- locations), and queues every copy of them that is required, missing, and not queued. p_dry_run: only says so.
-- Answers where it stopped (null: there was none), how many blobs it looked at, and for each location how many copies are
-- queued now, were queued already, and are there, verified; with p_list, also which ones are queued now:
-- [{"location": …, "queued": …, "already_queued": …, "in_sync": …, "copies": [[<digest>, <size>], …]}, …].
--
-- These requirements are not new ones (since 0), and what was pushed just now goes first (priority). The planner is told
-- what required_copies tells it.
create or replace function backfill_some(
  p_after bigint, p_limit integer, p_namespace integer, p_location integer, p_dry_run boolean, p_list boolean,
  out last bigint, out looked integer, out places jsonb
) language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_nestloop = off set enable_mergejoin = off as $$
declare
  blobs bigint[];
begin
  perform hold_requirements(false);
  select array_agg(id), max(id), count(*) into blobs, last, looked
    from (select id from imagestorage where id > p_after order by id limit p_limit) next;
  if p_namespace is not null then
    blobs := array(select distinct n.blob_id from blobnamespace n where n.blob_id = any (blobs) and n.user_id = p_namespace);
  end if;
  with needed as materialized (
    select blob_id, location_id from required_copies(blobs) where p_location is null or location_id = p_location),
  -- Whether it is there, whether it is queued, and whether that is only to rescue it. All as of one moment: a copy that is
  -- being recorded is the one or the other.
  blob as materialized (
    select id, image_size as size, content_checksum as digest from imagestorage where id = any (blobs)),
  waiting as materialized (
    select id, storage_id, location_id, rescue from replication where storage_id = any (blobs)),
  verified as materialized (
    select storage_id, location_id from imagestorageplacement where storage_id = any (blobs) and verified_at is not null),
  judged as materialized (
    select n.blob_id, n.location_id, b.size, b.digest, w.id as row, w.id is not null as waits,
           coalesce(w.rescue, false) as rescue, v.storage_id is not null as there
      from needed n join blob b on b.id = n.blob_id
      left join waiting w on w.storage_id = n.blob_id and w.location_id = n.location_id
      left join verified v on v.storage_id = n.blob_id and v.location_id = n.location_id),
  lacking as materialized (
    select * from judged where not there and (not waits or rescue)),
  added as (
    insert into replication (storage_id, location_id, size, source_id, since, priority)
    select blob_id, location_id, size,
           coalesce((select p.location_id from imagestorageplacement p
                      where p.storage_id = blob_id and p.location_id <> lacking.location_id
                      order by p.created_at, p.id limit 1), 0), 0, -1
      from lacking where not p_dry_run and not rescue order by blob_id, location_id
    on conflict (storage_id, location_id) do nothing
    returning storage_id, location_id),
  required as (
    update replication r set rescue = false, since = 0
     where r.id = any (array(select row from lacking k where not p_dry_run and k.rescue)) and r.rescue
    returning r.storage_id, r.location_id),
  queued as materialized (
    select k.* from lacking k
     where p_dry_run or (blob_id, location_id) in (select * from added union all select * from required)),
  counts as (
    select l.name, count(*) filter (where j.there) as in_sync, count(*) filter (where not j.there) as missing,
           (select count(*) from queued q where q.location_id = l.id) as queued,
           case when p_list then (select jsonb_agg(jsonb_build_array(q.digest, q.size) order by q.blob_id)
                                    from queued q where q.location_id = l.id) end as copies
      from judged j join imagestoragelocation l on l.id = j.location_id group by l.id)
  select coalesce(jsonb_agg(jsonb_build_object(
           'location', name, 'queued', queued, 'already_queued', missing - queued, 'in_sync', in_sync,
           'copies', coalesce(copies, '[]'))), '[]')
    into places from counts;
end $$;
