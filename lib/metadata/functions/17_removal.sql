-- Removing a location: active, draining, removing, gone (worker/remove-location). Each step is a transaction that finds
-- out for itself what is so; whoever goes on after a crash does the same steps again.

-- Verified copies in the locations that stay. Only these count when another one goes.
create or replace view lastingcopy as
  select p.storage_id, p.location_id from imagestorageplacement p join activelocation a on a.id = p.location_id
   where p.verified_at is not null;

-- What stands against removing a location, whatever can be copied away: it is the only one; processes that live have it
-- among their default locations; namespaces may be written nowhere else (the first 20 of them); it holds what was adopted.
create or replace function removal_obstacles(
  p_name text, out is_only boolean, out processes text[], out namespaces text[], out adopted boolean
) language sql stable as $$
  select not exists (select from activelocation where name <> p_name),
         array(select role || ' ' || address from living_process where p_name = any (defaults) order by 1),
         array(select u.username::text from namespaceregion n join "user" u on u.id = n.user_id
                where n.replaces_defaults
                  and exists (select from userregion ur join imagestoragelocation l on l.id = ur.location_id
                               where ur.user_id = u.id and l.name = p_name)
                  and not exists (select from userregion ur join activelocation a on a.id = ur.location_id
                                   where ur.user_id = u.id and a.name <> p_name)
                order by 1 limit 20),
         exists (select from adoptedblob a join imagestoragelocation l on l.id = a.location_id where l.name = p_name)
$$;

-- Takes what is queued to a location out of the queue, and what waits for images there: up to p_limit of each. Answers
-- whether there may be more. Nothing, if the removal has been given up meanwhile: all of it is required again.
create or replace function leave_queue(p_name text, p_limit integer) returns boolean language plpgsql as $$
declare
  place integer;
  copies integer;
  images integer;
begin
  perform hold_requirements(false);
  select l.id into place from imagestoragelocation l join locationstate s on s.location_id = l.id
   where l.name = p_name and s.state <> 'active';
  delete from replication where id in (
    select id from replication where location_id = place order by id limit p_limit for update);
  get diagnostics copies = row_count;
  delete from pendingimage where id in (
    select id from pendingimage where location_id = place order by id limit p_limit for update);
  get diagnostics images = row_count;
  return copies = p_limit or images = p_limit;
end $$;

-- Ends copies that are wanted only because a location was to be removed that is not (any more).
create or replace function end_rescues() returns void language sql as $$
  delete from replication r
   where r.rescue and not exists (
     select from imagestorageplacement p join locationstate s on s.location_id = p.location_id and s.state <> 'active'
      where p.storage_id = r.storage_id)
$$;

-- Takes a location out of use (draining), or on to where its records are deleted (removing), unless something stands
-- against it; `moved` says so. p_force lets go of what was adopted. Alone: from then on nobody requires anything there, and
-- nobody begins to write there.
create or replace function advance_removal(
  p_name text, p_state text, p_force boolean,
  out moved boolean, out is_only boolean, out processes text[], out namespaces text[], out adopted boolean
) language plpgsql as $$
begin
  perform hold_requirements(true);
  select o.is_only, o.processes, o.namespaces, o.adopted and not p_force into is_only, processes, namespaces, adopted
    from removal_obstacles(p_name) o;
  moved := not (is_only or adopted) and cardinality(processes) = 0 and cardinality(namespaces) = 0;
  if moved then
    insert into locationstate (location_id, state) select id, p_state from imagestoragelocation where name = p_name
      on conflict (location_id) do update set state = excluded.state;
    moved := found;
    -- Usually that is all of it; the rest goes in pieces.
    perform leave_queue(p_name, 10000);
  end if;
end $$;

-- Gives a removal up: the location is in use again, and what it must have and has not (any more) is queued, by the workers,
-- without fail. False if it was in use.
create or replace function give_up_removal(p_name text, p_replicate boolean) returns boolean language plpgsql as $$
begin
  perform hold_requirements(true);
  update locationstate s set state = 'active' from imagestoragelocation l
   where l.name = p_name and s.location_id = l.id and s.state <> 'active';
  if not found then
    return false;
  end if;
  perform end_rescues();
  if p_replicate then
    insert into requeue default values;
  else
    perform note_replication_gap();
  end if;
  return true;
end $$;

-- Of these blobs, those that somebody refers to and that no other location has, verified, which stays.
create or replace function only_copies(p_location integer, p_blobs bigint[]) returns bigint[] language sql stable as $$
  select array(
    select p.storage_id from imagestorageplacement p
     where p.location_id = p_location and p.storage_id = any (p_blobs)
       and not exists (select from lastingcopy c where c.storage_id = p.storage_id and c.location_id <> p_location)
       and exists (select from blobnamespace n where n.blob_id = p.storage_id)
     order by p.storage_id)
$$;

-- Looks at the next p_limit blobs of a location after p_after; answers where it stopped (null at the end), and which of
-- them are only there. With p_rescue, copies of those are queued: where they are required they are already; otherwise to
-- the first location of p_preference where their namespaces may be.
create or replace function look_for_only_copies(
  p_name text, p_after bigint, p_limit integer, p_rescue boolean, p_preference text[], out last bigint, out blobs bigint[]
) language plpgsql as $$
declare
  place integer := (select id from imagestoragelocation where name = p_name);
  page bigint[];
begin
  perform hold_requirements(false);
  page := array(select storage_id from imagestorageplacement
                 where location_id = place and storage_id > p_after order by storage_id limit p_limit);
  last := page[cardinality(page)];
  blobs := only_copies(place, page);
  if not p_rescue or cardinality(blobs) = 0 then
    return;
  end if;
  -- Asked again in the same statement: a copy that comes in between would be neither in that list nor in the queue.
  insert into replication (storage_id, location_id, rescue)
  select b.id, target.id, true
    from unnest(only_copies(place, blobs)) b (id)
    cross join lateral (
      select a.id from activelocation a
       where a.id <> place
         and exists (
           select from blobnamespace n left join namespaceregion r on r.user_id = n.user_id
            where n.blob_id = b.id
              and (r.replaces_defaults is not true
                   or exists (select from userregion ur where ur.user_id = n.user_id and ur.location_id = a.id)))
       order by a.paused, array_position(p_preference, a.name::text), a.name limit 1) target
   where not exists (select from replication r join activelocation a on a.id = r.location_id
                      where r.storage_id = b.id and r.location_id <> place)
   order by b.id, target.id
  on conflict (storage_id, location_id) do nothing;
end $$;

-- Deletes the records of the next p_limit blobs of a location that is being removed, after p_after: of those that another
-- location has, verified, and of those that nobody refers to; with p_force of all, and then the registry no longer has
-- what it has nowhere else. `closed` false: the removal was given up. `kept`: what must be copied away first.
create or replace function delete_placements(
  p_name text, p_after bigint, p_limit integer, p_force boolean,
  out closed boolean, out last bigint, out deleted bigint[], out digests text[], out kept integer
) language plpgsql as $$
declare
  place integer;
  page bigint[];
  rest bigint[];
  more_deleted bigint[];
  more_digests text[];
begin
  perform hold_requirements(false);
  select l.id into place from imagestoragelocation l join locationstate s on s.location_id = l.id
   where l.name = p_name and s.state = 'removing';
  closed := found;
  page := array(select storage_id from imagestorageplacement
                 where location_id = place and storage_id > p_after order by storage_id limit p_limit);
  last := page[cardinality(page)];
  -- Against others that take a copy of the same blob away, at the same time: who is second sees what the first one left.
  perform from imagestorage where id = any (page) order by content_checksum for no key update;
  with gone as (
    delete from imagestorageplacement p
     where p.location_id = place and p.storage_id = any (page)
       and exists (select from lastingcopy c where c.storage_id = p.storage_id and c.location_id <> place)
    returning p.id, p.storage_id)
  select coalesce(array_agg(g.id order by g.storage_id), '{}'),
         coalesce(array_agg(s.content_checksum::text order by g.storage_id), '{}')
    into deleted, digests from gone g join imagestorage s on s.id = g.storage_id;
  rest := array(select storage_id from imagestorageplacement where location_id = place and storage_id = any (page));
  kept := 0;
  if cardinality(rest) = 0 then
    return;
  end if;

  -- Against those that begin to refer to them.
  perform from imagestorage where id = any (rest) order by content_checksum for update;
  if not p_force then
    rest := array(select b from unnest(rest) b where not exists (select from blobnamespace n where n.blob_id = b));
  end if;
  with gone as (
    delete from imagestorageplacement p where p.location_id = place and p.storage_id = any (rest)
    returning p.id, p.storage_id)
  select coalesce(array_agg(g.id order by g.storage_id), '{}'),
         coalesce(array_agg(s.content_checksum::text order by g.storage_id), '{}')
    into more_deleted, more_digests from gone g join imagestorage s on s.id = g.storage_id;
  deleted := deleted || more_deleted;
  digests := digests || more_digests;
  kept := cardinality(page) - cardinality(deleted);
  perform forget_blobs(rest);
end $$;

-- What is nowhere any more is unknown to all repositories, so that a push of it is taken and heals. Manifests stay as
-- they are, and so does what is queued: it says what is missing. The caller has locked the blobs.
create or replace function forget_blobs(p_blobs bigint[]) returns void language plpgsql as $$
begin
  delete from uploadedblob ub
   where ub.blob_id = any (p_blobs)
     and not exists (select from imagestorageplacement p where p.storage_id = ub.blob_id);
  update replication r set last_error = 'its last copy was removed by force: push the blob again'
   where r.storage_id = any (p_blobs) and not r.rescue
     and not exists (select from imagestorageplacement p where p.storage_id = r.storage_id);
  delete from imagestorage s
   where s.id = any (p_blobs)
     and not exists (select from imagestorageplacement p where p.storage_id = s.id)
     and not exists (select from uploadedblob ub where ub.blob_id = s.id)
     and not exists (select from manifestblob mb where mb.blob_id = s.id);
end $$;

-- Deletes a manifest, and with it the tags that point to it; what refers to it stays. `indexes`: the first p_named of the
-- indexes that still list it; null if there was no such manifest. What a removal by force has lost is forgotten when nobody
-- refers to it any more: until then it is missing where it is required, and nobody can bring it.
create or replace function remove_manifest(
  p_namespace text, p_repository text, p_digest text, p_named integer, out indexes text[]
) language plpgsql as $$
declare
  gone bigint;
  lost bigint[];
begin
  select m.id into gone from manifest m join repository r on r.id = m.repository_id
    join "user" u on u.id = r.namespace_user_id
   where u.username = p_namespace and r.name = p_repository and m.digest = p_digest for update of m;
  if not found then
    return;
  end if;
  indexes := array(select i.digest from manifestchild c join manifest i on i.id = c.manifest_id
                    where c.child_manifest_id = gone and i.id <> gone order by i.digest limit p_named);
  lost := array(select mb.blob_id from manifestblob mb
                 where mb.manifest_id = gone
                   and not exists (select from imagestorageplacement p where p.storage_id = mb.blob_id));
  delete from manifest where id = gone;
  if cardinality(lost) > 0 then
    -- Against those that begin to refer to them.
    perform from imagestorage where id = any (lost) order by content_checksum for update;
    perform forget_blobs(array(
      select b from unnest(lost) b where not exists (select from blobnamespace n where n.blob_id = b)));
  end if;
end $$;

-- Deletes a location that is empty, and keeps its name as removed. `outcome`: `deleted`; `not empty`, since something was
-- recorded there at the last moment; `in use`, since the removal was given up; or `obstacles`, which are answered.
create or replace function finish_removal(
  p_name text, out outcome text, out is_only boolean, out processes text[], out namespaces text[], out adopted boolean
) language plpgsql as $$
declare
  place integer;
begin
  perform hold_requirements(true);
  select o.is_only, o.processes, o.namespaces, false into is_only, processes, namespaces, adopted
    from removal_obstacles(p_name) o;
  select l.id into place from imagestoragelocation l join locationstate s on s.location_id = l.id
   where l.name = p_name and s.state = 'removing';
  outcome := case
    when place is null then 'in use'
    when is_only or cardinality(processes) > 0 or cardinality(namespaces) > 0 then 'obstacles'
    when exists (select from imagestorageplacement where location_id = place)
      or exists (select from blobupload where location_id = place) then 'not empty'
    else 'deleted' end;
  if outcome = 'deleted' then
    begin
      delete from imagestoragelocation where id = place;
      insert into removedlocation (name) values (p_name);
      perform end_rescues();
    exception when foreign_key_violation then
      outcome := 'not empty';
    end;
  end if;
end $$;

-- The images that need these blobs: for each manifest, the tags that lead to it, directly or through an index, the first
-- 100 of them. In the order of `id`, from after p_after on, those of p_limit pairs of a manifest and a blob.
create or replace function images_with_blobs(p_blobs bigint[], p_after bigint, p_limit integer)
returns table (id bigint, repository text, tag text, manifest text, digest text) language sql stable as $$
  select mb.id, u.username || '/' || r.name, coalesce(t.name, '')::text, m.digest::text, s.content_checksum::text
    from (select * from manifestblob where blob_id = any (p_blobs) and id > p_after order by id limit p_limit) mb
    join manifest m on m.id = mb.manifest_id join repository r on r.id = m.repository_id
    join "user" u on u.id = r.namespace_user_id join imagestorage s on s.id = mb.blob_id
    left join lateral (
      with recursive holder (id) as (
        select m.id
        union
        select mc.manifest_id from holder h join manifestchild mc on mc.child_manifest_id = h.id)
      select distinct tag.name from holder h join tag on tag.manifest_id = h.id
       where tag.lifetime_end_ms is null order by tag.name limit 100) t on true
   order by mb.id, t.name
$$;
