-- Each push asks which indexes list its manifest. Without this, it would go through all that were pushed lately each time.
alter index manifest_child_digests_idx set (fastupdate = off);
select gin_clean_pending_list('manifest_child_digests_idx');
