-- The lists of the API, page by page: what refers to a manifest, in the order of digests, and all repositories, in the
-- order of their whole names.
create index manifest_referrers on manifest (repository_id, subject, digest) where subject is not null;
drop index if exists manifest_repository_id_subject_idx;
create index user_repositories on "user" ((username || '/'));
