-- Where an image is: for each location, whether all of it must be there, how many of its blobs are not there or not
-- verified, and the first 100 of those, with why not:
-- [{"digest": …, "size": …, "reason": …, "attempts": …, "held_by": [<location>, …]}, …].
create or replace function image_replication(p_manifest bigint)
returns table (location text, required boolean, missing bigint, listed jsonb) language sql stable as $$
  with blob as materialized (
    select distinct s.id, s.content_checksum as digest, s.image_size as size
      from manifest_tree(p_manifest) t (id) join manifestblob mb on mb.manifest_id = t.id join imagestorage s on s.id = mb.blob_id),
  place as materialized (
    select l.id, l.name, coalesce(s.paused, false) as paused,
           exists (select from requirement q join repository r on r.namespace_user_id = q.user_id
                     join manifest m on m.repository_id = r.id
                    where m.id = p_manifest and q.location_id = l.id) as required
      from imagestoragelocation l left join locationstate s on s.location_id = l.id),
  lacking as materialized (
    select place.id as place, blob.*, p.id is not null as unverified, r.id is not null as queued, r.last_error,
           coalesce(r.attempts, 0) as attempts, r.lease_token is not null and r.next_attempt_at > now() as copying,
           row_number() over (partition by place.id order by blob.digest) as n
      from place cross join blob
      left join imagestorageplacement p on p.storage_id = blob.id and p.location_id = place.id
      left join replication r on r.storage_id = blob.id and r.location_id = place.id
     where p.verified_at is null)
  select place.name, place.required, (select count(*) from lacking where lacking.place = place.id),
         coalesce((
           select jsonb_agg(jsonb_build_object(
                    'digest', k.digest, 'size', k.size, 'attempts', k.attempts,
                    'reason', case
                      when k.copying then 'being copied'
                      when k.queued and place.paused then 'paused'
                      when k.queued and k.last_error is not null then 'failed: ' || k.last_error
                      when k.unverified then 'unverified'
                      when k.queued then 'queued'
                      when place.required then 'not queued yet'
                      else 'not required' end,
                    'held_by', (select coalesce(jsonb_agg(l.name order by l.name), '[]')
                                  from imagestorageplacement p join imagestoragelocation l on l.id = p.location_id
                                 where p.storage_id = k.id and p.location_id <> place.id)) order by k.digest)
             from lacking k where k.place = place.id and k.n <= 100), '[]')
    from place order by place.name collate "C"
$$;
