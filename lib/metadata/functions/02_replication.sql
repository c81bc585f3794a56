-- Queues every copy that is missing: `p_required` names the locations where all blobs must be, the namespace may want
-- more. Null p_required: replication is switched off. Called in the transaction that causes the need, so that the need
-- cannot be forgotten.
create or replace function queue_replication(p_blobs bigint[], p_repository integer, p_required text[], p_trace text)
returns void language sql as $$
  insert into replication (storage_id, location_id, trace_id)
  select b.id, l.id, p_trace
    from unnest(p_blobs) b (id) cross join imagestoragelocation l
   where p_required is not null
     and (l.name = any (p_required)
          or exists (select from repository r join userregion ur on ur.user_id = r.namespace_user_id
                      where r.id = p_repository and ur.location_id = l.id))
     and not exists (select from imagestorageplacement p where p.storage_id = b.id and p.location_id = l.id)
   order by b.id, l.id
  on conflict (storage_id, location_id) do nothing
$$;
