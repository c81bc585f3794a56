-- What is in each location and what is missing there, exactly, as of the statement that asks.
create or replace view locationsum as
  select l.id as location_id, coalesce(sum(c.blobs), 0)::bigint as blobs, coalesce(sum(c.bytes), 0)::bigint as bytes,
         coalesce(sum(c.unverified), 0)::bigint as unverified, coalesce(sum(c.missing), 0)::bigint as missing,
         coalesce(sum(c.missing_bytes), 0)::bigint as missing_bytes
    from imagestoragelocation l left join locationcount c on c.location_id = l.id
   group by l.id;

-- Folds the oldest p_limit rows of the counts into one for each location: the sums stay what they are for everybody. One
-- at a time; answers how many rows it folded.
create or replace function fold_counts(p_limit integer) returns integer language plpgsql as $$
declare
  folded integer;
begin
  if not pg_try_advisory_xact_lock(1701737586, 2) then
    return 0;
  end if;
  with oldest as (select id from locationcount order by id limit p_limit),
  gone as (delete from locationcount c using oldest where c.id = oldest.id returning c.*),
  kept as (
    insert into locationcount (location_id, blobs, bytes, unverified, missing, missing_bytes)
    select location_id, sum(blobs), sum(bytes), sum(unverified), sum(missing), sum(missing_bytes)
      from gone where location_id in (select id from imagestoragelocation) group by location_id)
  select count(*) into folded from gone;
  return folded;
end $$;
