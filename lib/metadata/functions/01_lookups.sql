-- Rows that are made when they are first needed. Each function is right when many ask at once: who loses the race to
-- insert reads what the winner wrote.

create or replace function repository_id(p_namespace text, p_name text) returns integer language plpgsql as $$
declare
  namespace_id integer;
  found_id integer;
begin
  loop
    select r.id into found_id from repository r join "user" u on u.id = r.namespace_user_id
     where u.username = p_namespace and r.name = p_name;
    if found then
      return found_id;
    end if;
    select id into namespace_id from "user" where username = p_namespace;
    if found then
      insert into repository (namespace_user_id, name) values (namespace_id, p_name) on conflict do nothing;
    else
      insert into "user" (username, organization) values (p_namespace, true) on conflict do nothing;
    end if;
  end loop;
end $$;

create or replace function mediatype_id(p_name text) returns integer language plpgsql as $$
declare
  found_id integer;
begin
  loop
    select id into found_id from mediatype where name = p_name;
    if found then
      return found_id;
    end if;
    insert into mediatype (name) values (p_name) on conflict do nothing;
  end loop;
end $$;

-- The blob's row, locked so that nobody deletes it before this transaction has linked it. The caller's bytes were hashed:
-- if another size is on record, that is of an object that was taken over from a store, and is damaged there.
create or replace function blob_id(p_digest text, p_size bigint) returns bigint language plpgsql as $$
declare
  found_id bigint;
begin
  loop
    select id into found_id from imagestorage
     where content_checksum = p_digest and image_size = p_size for key share;
    if found then
      return found_id;
    end if;
    insert into imagestorage (content_checksum, image_size) values (p_digest, p_size) on conflict do nothing;
    if not found then
      perform correct_size(p_digest, p_size);
    end if;
  end loop;
end $$;

-- Puts a blob's true size on record, and into all that is counted by it. Locked against those that add or delete copies.
create or replace function correct_size(p_digest text, p_size bigint) returns void language plpgsql as $$
declare
  blob record;
begin
  select id, p_size - image_size as more into blob from imagestorage
   where content_checksum = p_digest and image_size <> p_size for update;
  if not found then
    return;
  end if;
  update imagestorage set image_size = p_size where id = blob.id;
  with changed as (
    update replication set size = p_size where storage_id = blob.id returning location_id, rescue)
  insert into locationcount (location_id, missing_bytes) select location_id, blob.more from changed where not rescue;
  insert into locationcount (location_id, bytes)
    select location_id, blob.more from imagestorageplacement where storage_id = blob.id;
end $$;

-- The manifest and those below it.
create or replace function manifest_tree(p_manifest bigint) returns setof bigint language sql stable as $$
  with recursive tree (id) as (
    select p_manifest
    union
    select mc.child_manifest_id from tree t join manifestchild mc on mc.manifest_id = t.id)
  select id from tree
$$;
