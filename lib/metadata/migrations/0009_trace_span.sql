-- The span of the push that caused the copy, beside its trace_id: the copy's own span belongs below it. Null if the push
-- was not recorded.
alter table replication add column trace_span varchar(16);
