-- When a copy turned out to be missing or damaged, though no other location has a verified one. Null: it is not known to be.
-- Until it is mended, clients that ask whether the blob is here are told no, so that they send it again.
alter table imagestorageplacement add column distrusted_at timestamptz;
