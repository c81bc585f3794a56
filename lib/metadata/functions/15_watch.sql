-- The number of the newest requirement: every one that exists now has this number or a smaller one.
create or replace function newest_requirement() returns bigint language sql as $$
  select case when is_called then last_value else 0 end from requirement_seq
$$;

-- What is missing in each location (null p_location: in all) of the requirements up to that number, and how long the oldest of
-- all that is missing there has been missing; in every row also how many changes up to that number are still to be
-- queued, what was pushed without replication counted as one. All as one moment says.
--
-- What is left is counted if it is little; if it is much, what has come since is taken from the sum, which is kept. The
-- planner is told to go by the indexes, since it would otherwise believe its statistics, which the table outruns.
create or replace function open_copies(p_since bigint, p_location integer)
returns table (location text, blobs bigint, oldest_ms bigint, changes bigint) language plpgsql stable
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
declare
  much constant integer := 10000;
  place record;
begin
  changes := (select count(*) from requeue where since <= p_since) + (select count(*) from replicationgap);
  for place in
    select l.id, l.name from imagestoragelocation l where p_location is null or l.id = p_location order by l.name collate "C"
  loop
    location := place.name;
    blobs := (select count(*) from (select from replication r
                                     where r.location_id = place.id and not r.rescue and r.since <= p_since
                                     limit much + 1) older);
    if blobs > much then
      blobs := (select missing from locationsum where location_id = place.id)
             - (select count(*) from replication r where r.location_id = place.id and not r.rescue and r.since > p_since);
    end if;
    oldest_ms := coalesce((select greatest(0, floor(extract(epoch from clock_timestamp() - r.created_at) * 1000))::bigint
                             from replication r where r.location_id = place.id and not r.rescue
                            order by r.created_at limit 1), 0);
    return next;
  end loop;
end $$;
