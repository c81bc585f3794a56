-- The workers that live.
create or replace view living_worker as
  select * from worker where lease_until > now() and not ended;
