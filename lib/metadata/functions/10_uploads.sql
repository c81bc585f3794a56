-- Whether an upload's bytes may stay where they are: its namespace may be kept in other locations since it began.
create or replace function is_allowed(p_upload blobupload) returns boolean language sql stable as $$
  select may_be_in(u.username, l.name)
    from repository r join "user" u on u.id = r.namespace_user_id, imagestoragelocation l
   where r.id = p_upload.repository_id and l.id = p_upload.location_id
$$;

-- Records a blob that came in one piece (store_blob), and makes the repository if it is new. False, and nothing is
-- recorded: the namespace's bytes must not be in that location.
create or replace function record_blob(
  p_namespace text, p_name text, p_digest text, p_size bigint, p_location text, p_replicate boolean, p_trace text
) returns boolean language plpgsql as $$
begin
  perform hold_requirements(false);
  if not may_be_in(p_namespace, p_location) then
    return false;
  end if;
  perform store_blob(repository_id(p_namespace, p_name), p_digest, p_size, p_location, p_replicate, p_trace);
  return true;
end $$;

-- Records a new upload, unless the namespace's bytes must not go to that location, or it is being removed. `allowed`: the
-- only locations where they may go; null: any.
create or replace function create_upload(
  p_namespace text, p_name text, p_uuid text, p_location text, p_session bytea, p_algorithm text,
  out created boolean, out allowed text[]
) language plpgsql as $$
begin
  perform hold_requirements(false);
  allowed := only_locations(p_namespace);
  created := allowed is null or p_location = any (allowed);
  if created then
    insert into blobupload (repository_id, uuid, location_id, session, algorithm)
    values (repository_id(p_namespace, p_name), p_uuid, (select id from imagestoragelocation where name = p_location),
            p_session, p_algorithm);
  end if;
end $$;

-- record_blob, for a call that may come twice: the second one must not bring back a copy that turned out to be damaged
-- after the first.
create or replace function record_blob_once(
  p_call uuid,
  p_namespace text, p_name text, p_digest text, p_size bigint, p_location text, p_replicate boolean, p_trace text
) returns boolean language plpgsql as $$
begin
  if not comes_first(p_call) then
    return true;
  end if;
  if record_blob(p_namespace, p_name, p_digest, p_size, p_location, p_replicate, p_trace) then
    return true;
  end if;
  perform forget_call(p_call);
  return false;
end $$;
