-- Points a tag to a manifest. The row that it had until now ends, at least a millisecond after it began.
create or replace function move_tag(p_repository integer, p_tag text, p_manifest bigint) returns void language plpgsql as $$
declare
  now_ms bigint := floor(extract(epoch from clock_timestamp()) * 1000);
  last_end bigint;
  living tag%rowtype;
begin
  -- One mover at a time for each tag, also while the tag has no row yet that could be locked.
  perform pg_advisory_xact_lock(p_repository, hashtext(p_tag));
  select * into living from tag where repository_id = p_repository and name = p_tag and lifetime_end_ms is null for update;
  if found then
    if living.manifest_id = p_manifest then
      return;
    end if;
    now_ms := greatest(now_ms, living.lifetime_start_ms + 1);
    update tag set lifetime_end_ms = now_ms where id = living.id;
  else
    -- Never before the last one's end, which may be a millisecond ahead, or more where a clock was set back. All have
    -- one here: nothing is living.
    select lifetime_end_ms into last_end from tag
     where repository_id = p_repository and name = p_tag order by lifetime_end_ms desc limit 1;
    now_ms := greatest(now_ms, last_end);
  end if;
  insert into tag (repository_id, name, manifest_id, lifetime_start_ms) values (p_repository, p_tag, p_manifest, now_ms);
end $$;

-- Ends a tag; whether it was there. It waits for who moves the tag at this moment: it would otherwise find the row that
-- has just ended, overlook the one that has just begun, and say that there is no such tag, which was never so.
create or replace function remove_tag(p_namespace text, p_name text, p_tag text) returns boolean language plpgsql as $$
declare
  repo integer;
begin
  select r.id into repo from repository r join "user" u on u.id = r.namespace_user_id
   where u.username = p_namespace and r.name = p_name;
  if not found then
    return false;
  end if;
  perform pg_advisory_xact_lock(repo, hashtext(p_tag));
  update tag
     set lifetime_end_ms = greatest(floor(extract(epoch from clock_timestamp()) * 1000)::bigint, lifetime_start_ms + 1)
   where repository_id = repo and name = p_tag and lifetime_end_ms is null;
  return found;
end $$;

-- One pusher at a time of a manifest and of those that it lists: an index and its child that come at the same moment
-- could otherwise miss each other. In one order, so that nobody waits in a circle. The server has room for some thousands
-- of locks, for everybody together: an index that lists very many manifests takes the repository instead, which all others
-- share.
create or replace function lock_manifests(p_repository integer, p_digests text[]) returns void language plpgsql as $$
declare
  key integer;
begin
  if cardinality(p_digests) > 100 then
    perform pg_advisory_xact_lock(-p_repository, -1);
    return;
  end if;
  perform pg_advisory_xact_lock_shared(-p_repository, -1);
  -- None of these is -1.
  for key in select distinct hashtext(d) & 2147483647 from unnest(p_digests) d order by 1 loop
    perform pg_advisory_xact_lock(-p_repository, key);
  end loop;
end $$;

-- The blobs of a manifest and of its present children that fewer required locations hold, verified, than p_quorum (or
-- than are required at all, if that is less): [{"digest": …, "lacking": [<location>, …]}, …], the first 100 of them.
create or replace function short_of_quorum(p_manifest bigint, p_repository integer, p_quorum integer) returns jsonb
language sql stable as $$
  with required as (
    select q.location_id, l.name
      from requirement q join imagestoragelocation l on l.id = q.location_id
     where q.user_id = (select namespace_user_id from repository where id = p_repository)),
  copies as (
    select s.content_checksum as digest, r.name,
           exists (select from imagestorageplacement p
                    where p.storage_id = s.id and p.location_id = r.location_id and p.verified_at is not null) as there
      from (select distinct blob_id from manifestblob where manifest_id = any (array(select manifest_tree(p_manifest)))) b
      join imagestorage s on s.id = b.blob_id
      cross join required r),
  short as (
    select digest, jsonb_agg(name order by name) filter (where not there) as lacking
      from copies group by digest
    having count(*) filter (where there) < least(p_quorum, count(*))
     order by digest limit 100)
  select coalesce(jsonb_agg(jsonb_build_object('digest', digest, 'lacking', lacking) order by digest), '[]') from short
$$;

-- Points tags to a manifest once enough locations hold all of it (p_quorum); answers what is short of it, as above. If
-- anything is, no tag is touched. p_waited_ms: how long ago it was pushed.
create or replace function tag_manifest(
  p_repository integer, p_manifest bigint, p_tags text[], p_replicate boolean, p_quorum integer, p_waited_ms integer
) returns jsonb language plpgsql as $$
declare
  short jsonb;
  each_tag text;
begin
  if p_replicate and p_quorum > 1 then
    short := short_of_quorum(p_manifest, p_repository, p_quorum);
    if short <> '[]' then
      return short;
    end if;
  end if;
  for each_tag in select distinct t from unnest(p_tags) t order by t loop
    perform move_tag(p_repository, each_tag, p_manifest);
  end loop;
  if p_replicate then
    perform await_image(p_manifest, p_repository, p_tags, p_waited_ms);
  end if;
  return '[]';
end $$;

-- Copies that somebody waits for go before all others, and at once, however often they failed. Rows that are locked are
-- being claimed, made or ended at this moment: nothing needs to be said to those.
create or replace function hasten_copies(p_short jsonb) returns void language sql as $$
  update replication
     set priority = 100, next_attempt_at = case when lease_token is null then now() else next_attempt_at end
   where id in (
     select r.id from jsonb_array_elements(p_short) s
       join imagestorage b on b.content_checksum = s->>'digest' join replication r on r.storage_id = b.id
      for update of r skip locked)
$$;

-- The same for a manifest that was stored before, and waits for its quorum. Null if it is gone.
create or replace function tag_stored_manifest(
  p_namespace text, p_name text, p_digest text, p_tags text[], p_replicate boolean, p_quorum integer, p_waited_ms integer
) returns jsonb language plpgsql as $$
declare
  stored record;
begin
  select m.id, m.repository_id into stored
    from manifest m join repository r on r.id = m.repository_id join "user" u on u.id = r.namespace_user_id
   where u.username = p_namespace and r.name = p_name and m.digest = p_digest for key share of m;
  if not found then
    return null;
  end if;
  return tag_manifest(stored.repository_id, stored.id, p_tags, p_replicate, p_quorum, p_waited_ms);
end $$;

-- The manifests of a repository that list a digest. Their index covers those that list any, and is used only if that is said;
-- `+ 0`, since the repository's own would go through all that it has.
create or replace function manifests_that_list(p_repository integer, p_digest text) returns setof bigint
language sql stable set enable_seqscan = off as $$
  select id from manifest
   where repository_id + 0 = p_repository and child_digests <> '{}' and child_digests @> array[p_digest]
$$;

-- Stores a manifest, links what it needs, and points the tags to it. `missing`: the blobs that the repository does not
-- have; if there are any, nothing is stored. `short`: as tag_manifest answers; if anything is, the manifest is stored but
-- not tagged.
create or replace function put_manifest(
  p_namespace text, p_name text, p_digest text, p_media_type text, p_bytes bytea,
  p_config_media_type text, p_layers_size bigint, p_subject text, p_artifact_type text, p_annotations jsonb,
  p_blobs text[], p_children text[], p_tags text[], p_replicate boolean, p_quorum integer, p_trace text,
  out missing text[], out short jsonb
) language plpgsql as $$
declare
  repo integer;
  kind integer;
  blobs bigint[];
  children bigint[];
  parents bigint[];
  stored bigint;
begin
  missing := '{}';
  short := '[]';
  select r.id into repo from repository r join "user" u on u.id = r.namespace_user_id
   where u.username = p_namespace and r.name = p_name;
  -- Locked in one order by everybody, and against deletion until this transaction has linked them. What the repository has
  -- of them is asked afterwards: whoever held the locks may have taken some away.
  perform from imagestorage where content_checksum = any (p_blobs) order by content_checksum for key share;
  select coalesce(array_agg(s.id), '{}') into blobs
    from imagestorage s join uploadedblob ub on ub.blob_id = s.id and ub.repository_id = repo
   where s.content_checksum = any (p_blobs);
  if cardinality(blobs) < cardinality(p_blobs) then
    select array_agg(wanted.digest order by wanted.digest) into missing from unnest(p_blobs) wanted (digest)
     where not exists (select from imagestorage s join uploadedblob ub on ub.blob_id = s.id and ub.repository_id = repo
                        where s.content_checksum = wanted.digest);
    return;
  end if;

  repo := coalesce(repo, repository_id(p_namespace, p_name));
  kind := mediatype_id(p_media_type);
  perform lock_manifests(repo, p_children || p_digest);
  loop
    insert into manifest (repository_id, digest, media_type_id, manifest_bytes, config_media_type, layers_compressed_size,
                          subject, artifact_type, annotations, child_digests)
    values (repo, p_digest, kind, p_bytes, p_config_media_type, p_layers_size, p_subject, p_artifact_type, p_annotations,
            p_children)
    on conflict (repository_id, digest) do nothing
    returning id into stored;
    exit when found;
    -- The same bytes were pushed before; the media type may be another, and an older release did not keep the children.
    -- If they are deleted just now, they are new again.
    update manifest set media_type_id = kind, child_digests = p_children
     where repository_id = repo and digest = p_digest and (media_type_id <> kind or child_digests <> p_children);
    select id into stored from manifest where repository_id = repo and digest = p_digest for key share;
    exit when found;
  end loop;
  -- Locked against deletion; what was deleted while this waited is not among them.
  children := array(
    select id from manifest
     where id = any (array(select (select m.id from manifest m where m.repository_id = repo and m.digest = c)
                             from unnest(p_children) c))
     order by id for key share);
  parents := array(select id from manifest where id = any (array(select manifests_that_list(repo, p_digest)))
                    order by id for key share);
  insert into manifestblob (repository_id, manifest_id, blob_id)
    select repo, stored, b.id from unnest(blobs) b (id) order by b.id on conflict do nothing;
  insert into manifestchild (repository_id, manifest_id, child_manifest_id)
    select repo, stored, child from unnest(children) child
    union
    select repo, parent, stored from unnest(parents) parent
    order by 2, 3
    on conflict do nothing;
  perform queue_replication(blobs, repo, p_replicate, p_trace);
  short := tag_manifest(repo, stored, p_tags, p_replicate, p_quorum, 0);
  if short <> '[]' then
    perform hasten_copies(short);
  end if;
end $$;

-- put_manifest, for a call that may come twice: once its tags are moved, it does nothing any more. Otherwise a second one
-- would undo what others did after the first: move a tag over their push, bring back what they deleted.
create or replace function put_manifest_once(
  p_call uuid,
  p_namespace text, p_name text, p_digest text, p_media_type text, p_bytes bytea,
  p_config_media_type text, p_layers_size bigint, p_subject text, p_artifact_type text, p_annotations jsonb,
  p_blobs text[], p_children text[], p_tags text[], p_replicate boolean, p_quorum integer, p_trace text,
  out missing text[], out short jsonb
) language plpgsql as $$
begin
  missing := '{}';
  short := '[]';
  if not comes_first(p_call) then
    return;
  end if;
  select p.missing, p.short into missing, short
    from put_manifest(p_namespace, p_name, p_digest, p_media_type, p_bytes, p_config_media_type, p_layers_size, p_subject,
                      p_artifact_type, p_annotations, p_blobs, p_children, p_tags, p_replicate, p_quorum, p_trace) p;
  if missing <> '{}' or short <> '[]' then
    perform forget_call(p_call);
  end if;
end $$;

-- tag_stored_manifest, likewise.
create or replace function tag_stored_manifest_once(
  p_call uuid,
  p_namespace text, p_name text, p_digest text, p_tags text[], p_replicate boolean, p_quorum integer, p_waited_ms integer
) returns jsonb language plpgsql as $$
declare
  short jsonb;
begin
  if not comes_first(p_call) then
    return '[]';
  end if;
  short := tag_stored_manifest(p_namespace, p_name, p_digest, p_tags, p_replicate, p_quorum, p_waited_ms);
  if short is distinct from '[]' then
    perform forget_call(p_call);
  end if;
  return short;
end $$;
