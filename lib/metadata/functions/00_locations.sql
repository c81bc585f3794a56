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
