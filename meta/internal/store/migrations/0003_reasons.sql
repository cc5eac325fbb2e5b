-- What hosts say went wrong has a code beside its words; hosts are written in
-- encoding 3 from here on.
ALTER TABLE host_events ADD COLUMN reason TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN host_reason TEXT NOT NULL DEFAULT '';
