-- Taking over what a location's store holds already (worker/adopt-location).

-- Records objects of a location's store: each blob with its size, and an unverified copy of it. An object whose size is
-- not the blob's is left alone: `conflict` is the size on record. `adopted`: it was not on record there before. With
-- p_dry, nothing is changed. Nothing is answered if the location is not in use.
create or replace function adopt_blobs(p_name text, p_digests text[], p_sizes bigint[], p_dry boolean)
returns table (digest text, adopted boolean, conflict bigint) language plpgsql as $$
declare
  place integer;
begin
  perform hold_requirements(false);
  select a.id into place from activelocation a where a.name = p_name;
  if not found then
    return;
  end if;
  if p_dry then
    return query
      select o.digest, p.id is null and coalesce(s.image_size = o.size, true),
             case when s.image_size <> o.size then s.image_size end
        from unnest(p_digests, p_sizes) o (digest, size)
        left join imagestorage s on s.content_checksum = o.digest
        left join imagestorageplacement p on p.storage_id = s.id and p.location_id = place;
    return;
  end if;
  insert into imagestorage (content_checksum, image_size)
    select o.digest, o.size from unnest(p_digests, p_sizes) o (digest, size) order by o.digest collate "C"
  on conflict do nothing;
  -- Against those that delete records of the same blobs.
  perform from imagestorage where content_checksum = any (p_digests) order by content_checksum for key share;
  return query
    with known as materialized (
      select s.id, s.content_checksum::text as digest, s.image_size, o.size
        from unnest(p_digests, p_sizes) o (digest, size) join imagestorage s on s.content_checksum = o.digest),
    placed as (
      insert into imagestorageplacement (storage_id, location_id)
        select k.id, place from known k where k.image_size = k.size order by k.id
      on conflict do nothing
      returning storage_id),
    held as (
      insert into adoptedblob (location_id, storage_id) select place, storage_id from placed order by storage_id
      on conflict do nothing)
    select k.digest, placed.storage_id is not null, case when k.image_size <> k.size then k.image_size end
      from known k left join placed on placed.storage_id = k.id;
end $$;

-- Lets go of the next p_limit blobs that were adopted in a location: of those that nobody refers to, the records are
-- deleted; the others are held by who refers to them. Answers how many were deleted, and whether there may be more.
create or replace function release_adopted(p_name text, p_limit integer, out released integer, out more boolean)
language plpgsql as $$
declare
  place integer := (select id from imagestoragelocation where name = p_name);
  page bigint[] := array(select storage_id from adoptedblob where location_id = place order by storage_id limit p_limit);
  unused bigint[];
begin
  more := cardinality(page) = p_limit;
  perform from imagestorage where id = any (page) order by content_checksum for update;
  unused := array(select b from unnest(page) b where not exists (select from blobnamespace n where n.blob_id = b));
  delete from replication where location_id = place and storage_id = any (unused);
  delete from imagestorageplacement where location_id = place and storage_id = any (unused);
  get diagnostics released = row_count;
  delete from adoptedblob where location_id = place and storage_id = any (page);
  perform forget_blobs(unused);
end $$;
