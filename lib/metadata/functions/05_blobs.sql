-- Records a verified blob: where it is, which repository may pull it, and where it must still go.
create or replace function store_blob(
  p_repository integer, p_digest text, p_size bigint, p_location text, p_replicate boolean, p_trace text
) returns void language plpgsql as $$
declare
  blob bigint;
  place integer;
  has_come boolean;
begin
  perform hold_requirements(false);
  place := place_of_commit(p_location);
  blob := blob_id(p_digest, p_size);
  -- First the row of the queue, then the placement, as a worker does that ends a copy: the other way round, the two
  -- could wait for each other.
  delete from replication where storage_id = blob and location_id = place;
  insert into imagestorageplacement (storage_id, location_id, verified_at) values (blob, place, now())
    on conflict (storage_id, location_id) do update set verified_at = excluded.verified_at, distrusted_at = null
    where imagestorageplacement.verified_at is null;
  has_come := found;
  perform link_blob(p_repository, blob);
  perform queue_replication(array[blob], p_repository, p_replicate, p_trace);
  -- A base layer that is pushed once more completes nothing, and very many images may have it.
  if has_come then
    perform note_arrivals(array[blob], array[place]);
  end if;
end $$;

-- Lets a repository's readers pull a blob, and keeps it for a day though no manifest refers to it yet.
create or replace function link_blob(p_repository integer, p_blob bigint) returns void language sql as $$
  insert into uploadedblob (repository_id, blob_id, expires_at) values (p_repository, p_blob, now() + interval '24 hours')
    on conflict (repository_id, blob_id) do update set expires_at = excluded.expires_at, uploaded_at = now()
$$;

-- Ends an upload whose bytes are stored and verified. False if the upload is gone, or is no longer the caller's: it
-- has been written to since (p_writer null: the byte count must be what the caller saw, and nobody may be writing).
-- Null: the namespace's bytes must not be in that location (any more); nothing is changed.
create or replace function finish_upload(
  p_namespace text, p_name text, p_uuid text, p_writer uuid, p_byte_count bigint,
  p_digest text, p_size bigint, p_location text, p_replicate boolean, p_trace text
) returns boolean language plpgsql as $$
declare
  repo integer;
begin
  perform hold_requirements(false);
  if not may_be_in(p_namespace, p_location) then
    return null;
  end if;
  delete from blobupload b using repository r, "user" u
   where b.uuid = p_uuid and r.id = b.repository_id and u.id = r.namespace_user_id
     and u.username = p_namespace and r.name = p_name
     and case when p_writer is null then b.byte_count = p_byte_count and (b.lease_until is null or b.lease_until < now())
              else b.writer = p_writer end
  returning b.repository_id into repo;
  if not found then
    return false;
  end if;
  perform store_blob(repo, p_digest, p_size, p_location, p_replicate, p_trace);
  return true;
end $$;

-- Makes a blob pullable from this repository if one of others has it: of those named in full (p_names), or whose full
-- names begin so (p_prefixes); or, for who may pull everything, if it was taken over from a store. Its size, or null if it is
-- not there. The planner is told to go by the indexes: those that are named are few, and those that have a base layer many.
create or replace function mount_blob_from(
  p_namespace text, p_name text, p_digest text, p_names text[], p_prefixes text[], p_replicate boolean, p_trace text
) returns bigint language plpgsql
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  blob bigint;
  size bigint;
  repo integer;
  named integer[];
begin
  named := array(
    select (select r.id from repository r
             where r.namespace_user_id = (select id from "user" where username = split_part(n, '/', 1))
               and r.name = substr(n, strpos(n, '/') + 1))
      from unnest(p_names) n);
  -- What is there is asked once nobody can take it away any more.
  perform from imagestorage where content_checksum = p_digest for key share;
  select s.id, s.image_size into blob, size from imagestorage s
   where s.content_checksum = p_digest
     and exists (select from imagestorageplacement p where p.storage_id = s.id and p.distrusted_at is null)
     and (exists (select from uploadedblob ub where ub.repository_id = any (named) and ub.blob_id = s.id)
          or exists (select from uploadedblob ub join repository r on r.id = ub.repository_id
                       join "user" u on u.id = r.namespace_user_id
                      where ub.blob_id = s.id and cardinality(p_prefixes) > 0
                        and exists (select from unnest(p_prefixes) prefix
                                     where starts_with(u.username || '/' || r.name, prefix)))
          -- What was taken over from a store is nobody's yet: it is for those who may pull everything.
          or ('' = any (p_prefixes) and exists (select from adoptedblob a where a.storage_id = s.id)));
  if not found then
    return null;
  end if;
  repo := repository_id(p_namespace, p_name);
  perform link_blob(repo, blob);
  perform queue_replication(array[blob], repo, p_replicate, p_trace);
  return size;
end $$;
