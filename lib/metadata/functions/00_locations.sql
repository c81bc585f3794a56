-- The locations that are in use: those that are not being removed.
create or replace view activelocation as
  select l.id, l.name, coalesce(s.paused, false) as paused
    from imagestoragelocation l left join locationstate s on s.location_id = l.id
   where coalesce(s.state, 'active') = 'active';

-- Adds the locations that are new; answers those names that were removed, and are not added again.
create or replace function register_locations(p_names text[]) returns text[] language plpgsql as $$
begin
  insert into imagestoragelocation (name)
    select n from unnest(p_names) n where not exists (select from removedlocation where name = n) order by n
  on conflict do nothing;
  insert into locationstate (location_id) select id from imagestoragelocation where name = any (p_names) order by id
  on conflict do nothing;
  return array(select name from removedlocation where name = any (p_names) order by name);
end $$;

-- Whether a location is kept in the store with this identity; puts it on record if there is none yet. No other location may
-- be kept there: what would count as two copies would be one, and whoever removed the one location with its objects would
-- take them from the other.
create or replace function identify_location(p_name text, p_marker uuid) returns boolean language plpgsql as $$
begin
  if not exists (select from locationstate s join imagestoragelocation l on l.id = s.location_id
                  where l.name = p_name and s.marker is not null) then
    -- One at a time: two locations may ask for the same store at once.
    perform pg_advisory_xact_lock(1701737586, 3);
    insert into locationstate (location_id, marker)
      select id, p_marker from imagestoragelocation
       where name = p_name and not exists (select from locationstate where marker = p_marker)
    on conflict (location_id) do update set marker = excluded.marker where locationstate.marker is null;
  end if;
  return exists (select from locationstate s join imagestoragelocation l on l.id = s.location_id
                  where l.name = p_name and s.marker = p_marker);
end $$;

-- The location that bytes were written to and are to be recorded in. One that is being removed takes no new uploads; what
-- was begun there before may end there, until its records are deleted. The caller holds the requirements
-- (03_replication.sql): a change of the state waits for it.
create or replace function place_of_commit(p_name text) returns integer language plpgsql as $$
declare
  place integer;
begin
  select l.id into place from imagestoragelocation l left join locationstate s on s.location_id = l.id
   where l.name = p_name and coalesce(s.state, 'active') <> 'removing';
  if not found then
    raise exception 'the location % is being removed, or was', p_name using errcode = 'EN001';
  end if;
  return place;
end $$;
