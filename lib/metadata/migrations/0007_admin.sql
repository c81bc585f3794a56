-- What is required and missing in a location: in the order in which it became so, and by its age. What is only to be rescued
-- is not looked at.
drop index replication_since;
create index replication_since on replication (location_id, since) where not rescue;
drop index replication_location_id_created_at_idx;
create index replication_oldest on replication (location_id, created_at) where not rescue;

-- Whoever queues many at once says himself where they are filed.
drop trigger replication_filed on replication;
create trigger replication_filed before insert on replication
  for each row when (new.size = 0 and new.source_id = 0) execute function file_replication();
