-- The workers that live.
create or replace view living_worker as
  select * from worker where lease_until > now() and not ended;

-- The processes that live.
create or replace view living_process as
  select * from process where lease_until > now();
