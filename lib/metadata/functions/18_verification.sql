-- Comparing a location's store with what is recorded about it (worker/verify-location).

-- The next p_limit copies of a location after a digest, in the order of digests. The planner is told to follow the order:
-- a page costs the same wherever it is.
create or replace function placements_after(p_name text, p_after text, p_limit integer)
returns table (digest text, size bigint, verified boolean) language plpgsql stable
set enable_hashjoin = off set enable_mergejoin = off set enable_sort = off as $$
declare
  place integer := (select id from imagestoragelocation where name = p_name);
begin
  return query
    select s.content_checksum::text, s.image_size, p.verified_at is not null
      from imagestorage s join imagestorageplacement p on p.storage_id = s.id and p.location_id = place
     where s.content_checksum > p_after order by s.content_checksum limit p_limit;
end $$;

-- A copy that was not verified turned out to be good: it counts from now on, and is no longer missing. False if it is
-- not there any more, or was verified meanwhile.
create or replace function note_verified(p_digest text, p_name text) returns boolean language plpgsql as $$
declare
  blob bigint;
  place integer;
begin
  select id into blob from imagestorage where content_checksum = p_digest for key share;
  select id into place from imagestoragelocation where name = p_name;
  -- First the row of the queue, then the placement, as everybody does.
  delete from replication where storage_id = blob and location_id = place
    and exists (select from imagestorageplacement where storage_id = blob and location_id = place);
  update imagestorageplacement set verified_at = now(), distrusted_at = null
   where storage_id = blob and location_id = place and verified_at is null;
  if not found then
    return false;
  end if;
  perform note_arrivals(array[blob], array[place]);
  return true;
end $$;
