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
    -- Never before the last one's end, which may be a millisecond ahead, or more where a clock was set back.
    select max(lifetime_end_ms) into last_end from tag where repository_id = p_repository and name = p_tag;
    now_ms := greatest(now_ms, last_end);
  end if;
  insert into tag (repository_id, name, manifest_id, lifetime_start_ms) values (p_repository, p_tag, p_manifest, now_ms);
end $$;

-- Stores a manifest, links what it needs, and points the tags to it. Answers the blobs that the repository does not
-- have; if there are any, nothing is stored.
create or replace function put_manifest(
  p_namespace text, p_name text, p_digest text, p_media_type text, p_bytes bytea,
  p_config_media_type text, p_layers_size bigint, p_subject text, p_artifact_type text, p_annotations jsonb,
  p_blobs text[], p_children text[], p_tags text[], p_required text[], p_trace text
) returns text[] language plpgsql as $$
declare
  repo integer;
  kind integer;
  blobs bigint[];
  missing text[];
  stored bigint;
  each_tag text;
begin
  select r.id into repo from repository r join "user" u on u.id = r.namespace_user_id
   where u.username = p_namespace and r.name = p_name;
  -- Locked in one order by everybody, and against deletion until this transaction has linked them.
  select coalesce(array_agg(locked.id), '{}') into blobs from (
    select s.id from imagestorage s join uploadedblob ub on ub.blob_id = s.id and ub.repository_id = repo
     where s.content_checksum = any (p_blobs) order by s.content_checksum for key share of s
  ) locked;
  if cardinality(blobs) < cardinality(p_blobs) then
    select array_agg(wanted.digest order by wanted.digest) into missing from unnest(p_blobs) wanted (digest)
     where not exists (select from imagestorage s join uploadedblob ub on ub.blob_id = s.id and ub.repository_id = repo
                        where s.content_checksum = wanted.digest);
    return missing;
  end if;

  repo := coalesce(repo, repository_id(p_namespace, p_name));
  kind := mediatype_id(p_media_type);
  loop
    insert into manifest (repository_id, digest, media_type_id, manifest_bytes, config_media_type, layers_compressed_size,
                          subject, artifact_type, annotations)
    values (repo, p_digest, kind, p_bytes, p_config_media_type, p_layers_size, p_subject, p_artifact_type, p_annotations)
    on conflict (repository_id, digest) do nothing
    returning id into stored;
    exit when found;
    -- The same bytes were pushed before; the media type may be another. If they are deleted just now, they are new again.
    update manifest set media_type_id = kind where repository_id = repo and digest = p_digest and media_type_id <> kind;
    select id into stored from manifest where repository_id = repo and digest = p_digest for key share;
    exit when found;
  end loop;
  insert into manifestblob (repository_id, manifest_id, blob_id)
    select repo, stored, b.id from unnest(blobs) b (id) order by b.id on conflict do nothing;
  insert into manifestchild (repository_id, manifest_id, child_manifest_id)
    select repo, stored, m.id from manifest m where m.repository_id = repo and m.digest = any (p_children) order by m.id
    on conflict do nothing;
  perform queue_replication(blobs, repo, p_required, p_trace);
  for each_tag in select distinct t from unnest(p_tags) t order by t loop
    perform move_tag(repo, each_tag, stored);
  end loop;
  return '{}';
end $$;
