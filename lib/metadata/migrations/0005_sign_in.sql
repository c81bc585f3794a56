-- The keys that tokens are signed with, for all gateways of all regions. The private half is encrypted, with a key that
-- only gateways are given, and goes when the key no longer signs.
create table signingkey (
  kid varchar(64) primary key,
  public_key jsonb not null,
  private_key bytea,
  -- Which secret that is, without telling it: gateways with another one cannot use the key.
  sealed_with varchar(64) not null,
  created timestamptz not null default now(),
  signs_from timestamptz not null,
  signs_until timestamptz not null,
  verifies_until timestamptz not null
);
