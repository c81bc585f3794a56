-- What is required of these blobs, and the rows of the queue that nobody requires (any more). The planner is told what
-- required_copies tells it, and to plan each time anew: a plan that was made while the queue was empty reads all of it.
create or replace function compare_queue(
  p_blobs bigint[], out needed_blobs bigint[], out needed_places integer[], out unneeded bigint[]
) language sql stable
set enable_seqscan = off set enable_nestloop = off set enable_mergejoin = off set plan_cache_mode = force_custom_plan as $$
  with needed as materialized (
    select blob_id, location_id from required_copies(p_blobs)),
  queued as materialized (
    select id, storage_id, location_id from replication where storage_id = any (p_blobs) and not rescue)
  select (select array_agg(blob_id order by blob_id, location_id) from needed),
         (select array_agg(location_id order by blob_id, location_id) from needed),
         (select array_agg(q.id order by q.id) from queued q
           where not exists (select from needed n where n.blob_id = q.storage_id and n.location_id = q.location_id))
$$;

-- Queues the difference that a change of the requirements made, for the next p_limit blobs: what is missing now is
-- queued, and what nobody requires any more is taken out of the queue. True if there may be more to do.
--
-- Pushes wait for this, so it costs the same wherever it is, and however many blobs there are: the planner is told so, here
-- and in what this calls.
create or replace function requeue_some(p_limit integer) returns boolean language plpgsql
set enable_seqscan = off set enable_mergejoin = off as $$
declare
  todo requeue%rowtype;
  page bigint[];
  blobs bigint[];
  needed_blobs bigint[];
  needed_places integer[];
  unneeded bigint[];
begin
  select * into todo from requeue order by id limit 1 for update skip locked;
  if not found then
    return false;
  end if;
  -- Alone: a push that is not committed yet may count on a row of the queue that is there already.
  perform hold_requirements(true);
  if todo.user_id is null then
    page := array(select id from imagestorage where id > todo.after_blob order by id limit p_limit);
    blobs := page;
  else
    -- All blobs are walked, and those of the namespace picked out: to walk its own in order would sort them each time.
    page := array(select id from imagestorage where id > todo.after_blob order by id limit 10 * p_limit);
    blobs := array(select distinct n.blob_id from blobnamespace n where n.blob_id = any (page) and n.user_id = todo.user_id);
  end if;
  if cardinality(page) = 0 then
    -- No image is waited for where it need not come any more.
    delete from pendingimage p using manifest m, repository r
     where m.id = p.manifest_id and r.id = m.repository_id and (todo.user_id is null or r.namespace_user_id = todo.user_id)
       and p.location_id <> all (array(select location_id from requirement where user_id = r.namespace_user_id));
    delete from requeue where id = todo.id;
    return exists (select from requeue);
  end if;
  select c.needed_blobs, c.needed_places, c.unneeded into needed_blobs, needed_places, unneeded from compare_queue(blobs) c;
  delete from replication where id = any (unneeded);
  perform queue_copies(needed_blobs, needed_places, todo.since, null);
  -- What somebody has pushed since, and so queued before this, was required earlier.
  update replication set since = todo.since where id = any (array(
    select id from replication where storage_id = any (blobs) and since > todo.since order by id for update));
  perform require_rescued(blobs, todo.since);
  update requeue set after_blob = page[cardinality(page)] where id = todo.id;
  return true;
end $$;
