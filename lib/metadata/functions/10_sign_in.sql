-- Adds a key that tokens are signed with for p_signs seconds, from the end of the last one of the same secret on, and are
-- verified with for p_verifies seconds more. False if the last one signs for longer than p_overlap seconds still: somebody
-- else was faster. Also removes what is over.
create or replace function add_signing_key(
  p_kid text, p_public jsonb, p_private bytea, p_sealed_with text, p_overlap integer, p_signs integer, p_verifies integer
) returns boolean language plpgsql as $$
declare
  begins timestamptz;
begin
  perform pg_advisory_xact_lock(hashtext('signingkey'));
  delete from signingkey where verifies_until < now();
  update signingkey set private_key = null where private_key is not null and signs_until < now() - interval '1 hour';
  select greatest(max(signs_until), clock_timestamp()) into begins from signingkey where sealed_with = p_sealed_with;
  if begins > clock_timestamp() + make_interval(secs => p_overlap) then
    return false;
  end if;
  insert into signingkey (kid, public_key, private_key, sealed_with, signs_from, signs_until, verifies_until)
  values (p_kid, p_public, p_private, p_sealed_with, begins, begins + make_interval(secs => p_signs),
          begins + make_interval(secs => p_signs + p_verifies));
  return true;
end $$;

-- names begin so (p_prefixes). Its size, or null if it is not there.
create or replace function mount_blob_from(
  p_namespace text, p_name text, p_digest text, p_names text[], p_prefixes text[], p_replicate boolean, p_trace text
) returns bigint language plpgsql as $$
declare
  blob bigint;
  size bigint;
  repo integer;
begin
  select s.id, s.image_size into blob, size from imagestorage s
   where s.content_checksum = p_digest
     and exists (select from imagestorageplacement p where p.storage_id = s.id)
     and exists (select from uploadedblob ub join repository r on r.id = ub.repository_id
                   join "user" u on u.id = r.namespace_user_id
                  where ub.blob_id = s.id
                    and (u.username || '/' || r.name = any (p_names)
                         or exists (select from unnest(p_prefixes) prefix
                                     where starts_with(u.username || '/' || r.name, prefix))))
     for key share of s;
  if not found then
    return null;
  end if;
  repo := repository_id(p_namespace, p_name);
  perform link_blob(repo, blob);
  perform queue_replication(array[blob], repo, p_replicate, p_trace);
  return size;
end $$;
