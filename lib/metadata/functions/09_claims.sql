-- The copies that are due in these queues, locked for the caller, who claims them at once. A queue is a target, the source
-- that the rows are filed under (null or unknown: none), and small or large blobs; of each, at most so many rows, and no
-- more once they come to so many bytes. Nothing is due to a location that is paused or being removed. In a queue: by priority, then the longest waiting first.
--
-- One descent of the index for each queue and priority, and then only the rows that are answered: it costs the same
-- however many rows wait, are not due, or belong to a source that is away. The planner is told so, since it would
-- otherwise believe its statistics, which the table outruns.
create or replace function due_replication(
  p_targets text[], p_sources text[], p_large boolean[], p_rows integer[], p_bytes bigint[]
) returns setof bigint language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  queue record;
  step smallint;
  row_count integer;
  byte_count bigint;
  due record;
begin
  for queue in
    select t.id as target, coalesce(s.id, 0) as source, w.large, w.rows, w.bytes
      from unnest(p_targets, p_sources, p_large, p_rows, p_bytes) with ordinality w (target, source, large, rows, bytes, n)
      join activelocation t on t.name = w.target and not t.paused
      left join imagestoragelocation s on s.name = w.source
     order by w.n
  loop
    step := 32767;
    row_count := 0;
    byte_count := 0;
    loop
      select r.priority into step from replication r
       where r.location_id = queue.target and r.source_id = queue.source and r.large = queue.large and r.priority <= step
       order by r.priority desc limit 1;
      exit when not found;
      for due in
        select r.id, r.size from replication r
         where r.location_id = queue.target and r.source_id = queue.source and r.large = queue.large and r.priority = step
           and r.next_attempt_at <= now()
         order by r.next_attempt_at limit queue.rows - row_count for update skip locked
      loop
        return next due.id;
        row_count := row_count + 1;
        byte_count := byte_count + due.size;
        exit when byte_count >= queue.bytes;
      end loop;
      exit when row_count >= queue.rows or byte_count >= queue.bytes or step = -32768;
      step := step - 1;
    end loop;
  end loop;
end $$;

-- When the next copy in these queues is due that is not due yet; null if there is none.
create or replace function next_replication(p_targets text[], p_sources text[], p_large boolean[])
returns timestamptz language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  queue record;
  step smallint;
  due timestamptz;
  earliest timestamptz;
begin
  for queue in
    select t.id as target, coalesce(s.id, 0) as source, w.large
      from unnest(p_targets, p_sources, p_large) w (target, source, large)
      join activelocation t on t.name = w.target and not t.paused
      left join imagestoragelocation s on s.name = w.source
  loop
    step := 32767;
    loop
      select r.priority into step from replication r
       where r.location_id = queue.target and r.source_id = queue.source and r.large = queue.large and r.priority <= step
       order by r.priority desc limit 1;
      exit when not found;
      select r.next_attempt_at into due from replication r
       where r.location_id = queue.target and r.source_id = queue.source and r.large = queue.large and r.priority = step
         and r.next_attempt_at > now()
       order by r.next_attempt_at limit 1;
      if found then
        earliest := least(earliest, due);
      end if;
      exit when step = -32768;
      step := step - 1;
    end loop;
  end loop;
  return earliest;
end $$;

-- Looks at the next p_limit rows after p_after: those that are filed under a source from which nothing can be copied now
-- (it is in none of these queues), though another one has the blob too, are filed under the first of these that has.
-- Answers where it stopped (null at the end of the table) and how many rows have a better place now.
create or replace function refile_replication(
  p_targets text[], p_sources text[], p_large boolean[], p_after bigint, p_limit integer,
  out last bigint, out moved integer
) language sql as $$
  with looked as materialized (
    select id, storage_id, location_id, source_id, large from replication where id > p_after order by id limit p_limit),
  queue as materialized (
    select t.id as target, s.id as source, w.large, w.n
      from unnest(p_targets, p_sources, p_large) with ordinality w (target, source, large, n)
      join imagestoragelocation t on t.name = w.target
      join imagestoragelocation s on s.name = w.source),
  better as (
    select distinct on (k.id) k.id, queue.source
      from looked k
      join queue on queue.target = k.location_id and queue.large = k.large
      join imagestorageplacement p on p.storage_id = k.storage_id and p.location_id = queue.source
     where not exists (select from queue same
                        where same.target = k.location_id and same.large = k.large and same.source = k.source_id)
     order by k.id, queue.n),
  free as (
    select r.id from replication r where r.id in (select id from better) order by r.id for update skip locked),
  filed as (
    update replication r set source_id = better.source from better, free
     where r.id = better.id and free.id = better.id
    returning r.id)
  select (select case when count(*) = p_limit then max(id) end from looked), (select count(*)::integer from filed)
$$;
