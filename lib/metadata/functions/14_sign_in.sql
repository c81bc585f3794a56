-- Adds a key that tokens are signed with for p_signs seconds, from the end of the last one of the same secret on, and are
-- verified with for p_verifies seconds more. False if the last one signs for longer than p_overlap seconds still: somebody
-- else was faster. Also removes what is over.
create or replace function add_signing_key(
  p_kid text, p_public jsonb, p_private bytea, p_sealed_with text, p_overlap integer, p_signs integer, p_verifies integer
) returns boolean language plpgsql as $$
declare
  begins timestamptz;
begin
  perform pg_advisory_xact_lock(hashtext('signingkey'));
  delete from signingkey where verifies_until < now();
  update signingkey set private_key = null where private_key is not null and signs_until < now() - interval '1 hour';
  select greatest(max(signs_until), clock_timestamp()) into begins from signingkey where sealed_with = p_sealed_with;
  if begins > clock_timestamp() + make_interval(secs => p_overlap) then
    return false;
  end if;
  insert into signingkey (kid, public_key, private_key, sealed_with, signs_from, signs_until, verifies_until)
  values (p_kid, p_public, p_private, p_sealed_with, begins, begins + make_interval(secs => p_signs),
          begins + make_interval(secs => p_signs + p_verifies));
  return true;
end $$;
