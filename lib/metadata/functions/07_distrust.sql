-- A location's copy of a blob turned out to be damaged. If a verified copy is elsewhere, the placement goes and the copy
-- is wanted again, in one transaction; the last one stays, since a damaged copy may still be all there is, but it no
-- longer counts as verified (clients that ask whether the blob is here are told no), and is wanted again in case another
-- copy turns up. Answers whether the copy will be made anew.
-- Either way the requirement is not a new one: it was there before, and counts for those who watch.
-- A push that relies on this copy, and a change of the requirements, come before this as a whole or after it: otherwise
-- the last copy could become required, and unverified, and nobody would know that one is wanted.
create or replace function distrust_placement(p_digest text, p_location text, p_reason text) returns boolean language plpgsql as $$
declare
  blob bigint;
  place integer;
  is_last boolean;
begin
  perform hold_requirements(false);
  -- Also against another transaction that distrusts another copy of the same blob at the same time.
  select id into blob from imagestorage where content_checksum = p_digest for update;
  select id into place from imagestoragelocation where name = p_location;
  if blob is null or place is null then
    return false;
  end if;
  is_last := not exists (select from imagestorageplacement
                          where storage_id = blob and location_id <> place and verified_at is not null);
  -- First the row of the queue, then the placement, as everybody does. A row that is there already is locked by this, or
  -- a worker could end its copy in between, and nobody would know any more that one is wanted.
  -- Where a location is being removed, none is.
  if exists (select from activelocation where id = place)
     and (not is_last or exists (select from blobnamespace b join requirement q on q.user_id = b.user_id
                                  where b.blob_id = blob and q.location_id = place)) then
    insert into replication (storage_id, location_id, last_error, since) values (blob, place, p_reason, 0)
      on conflict (storage_id, location_id) do update set last_error = excluded.last_error, since = 0, rescue = false;
  end if;
  if is_last then
    update imagestorageplacement set verified_at = null, distrusted_at = now() where storage_id = blob and location_id = place;
    return false;
  end if;
  delete from imagestorageplacement where storage_id = blob and location_id = place;
  return true;
end $$;
