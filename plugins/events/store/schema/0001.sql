-- The first schema of the event store. Times are nanoseconds since 1970, in UTC.

-- Chunks never change: they are replaced by others that have the same events.
CREATE TABLE event_chunk (
  id     {key},
  day    {int} NOT NULL, -- chunks of one day may become one; see days.go
  tier   {int} NOT NULL, -- how large it is; see merge.go
  events {int} NOT NULL,
  first  {int} NOT NULL,
  last   {int} NOT NULL,
  size   {int} NOT NULL, -- bytes without compression, about
  bytes  {int} NOT NULL, -- bytes of the parts
  packed {int} NOT NULL  -- 1: there is one part
){strict};
CREATE INDEX event_chunk_first ON event_chunk (first, id);
CREATE INDEX event_chunk_last ON event_chunk (last, id);
CREATE INDEX event_chunk_tier ON event_chunk (tier, day);

CREATE TABLE event_part (
  chunk  {int} NOT NULL REFERENCES event_chunk (id) ON DELETE CASCADE,
  number {int} NOT NULL,
  data   {bytes} NOT NULL,
  PRIMARY KEY (chunk, number)
){strict};
-- They are compressed as they come.
{postgres}: ALTER TABLE event_part ALTER COLUMN data SET STORAGE EXTERNAL;

-- Event types, with an empty trait and the type -1, and the traits that they have had.
CREATE TABLE event_kind (
  event_type {text} NOT NULL,
  trait      {text} NOT NULL,
  type       {int} NOT NULL,
  day        {int} NOT NULL, -- when it was last seen, in days since 1970
  PRIMARY KEY (event_type, trait, type)
){clustered};

-- Its row is locked by those who add or replace chunks.
CREATE TABLE event_turn (one {int} PRIMARY KEY){strict};
INSERT INTO event_turn (one) VALUES (1);
