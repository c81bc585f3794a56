-- Calls that were applied, by a number that their caller gave them. One that is sent a second time, since its answer was
-- lost, finds its number here and changes nothing. Kept for an hour (lib/metadata/applied-calls.ts).
create table appliedcall (
  id uuid primary key,
  applied_at timestamptz not null default now()
);
