-- Calls that change nothing when they are sent a second time (lib/metadata/applied-calls.ts).

-- Whether this call comes for the first time. Who comes second waits for the first one, if that is still at it: a
-- connection may be lost while the server goes on.
create or replace function comes_first(p_call uuid) returns boolean language plpgsql as $$
begin
  insert into appliedcall (id) values (p_call) on conflict do nothing;
  return found;
end $$;

-- The call changed nothing that anybody could undo in between: should it come a second time, it is looked at again.
create or replace function forget_call(p_call uuid) returns void language sql as $$
  delete from appliedcall where id = p_call
$$;
