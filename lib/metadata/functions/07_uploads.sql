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
