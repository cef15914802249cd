-- The first schema. Words in braces differ between the databases: see dialect.go.
-- Times are microseconds since 1970, in UTC.

-- Raised by those who change what other processes hold in memory.
CREATE TABLE counter (
  name  {text} PRIMARY KEY,
  value {int} NOT NULL
){strict};
INSERT INTO counter (name, value) VALUES ('policies', 0);

CREATE TABLE policy (
  id          {key},
  name        {text} NOT NULL UNIQUE,
  back_window {int} NOT NULL,
  definitions {text} NOT NULL, -- JSON: [[granularity in nanoseconds, points], ...]
  methods     {text} NOT NULL  -- names, with commas between
){strict};

CREATE TABLE rule (
  name    {text} PRIMARY KEY,
  pattern {text} NOT NULL,
  policy  {int} NOT NULL REFERENCES policy (id)
){strict};

-- Who made things. There are few of them, and many things, so that these refer to
-- them by number. None is ever deleted.
CREATE TABLE creator (
  id         {key},
  name       {text} NOT NULL UNIQUE,
  user_id    {text} NOT NULL, -- the name up to its first colon
  project_id {text} NOT NULL  -- what follows it
){strict};
CREATE INDEX creator_project ON creator (project_id);

-- A type with the number 7 has its attributes in the columns of attributes_7, and
-- those of past revisions in attributes_7_history.
CREATE TABLE resource_type (
  id         {key},
  name       {text} NOT NULL UNIQUE,
  next_key   {int} NOT NULL, -- number of the next attribute's column
  attributes {text} NOT NULL -- JSON: {name: {key, type, ...}}
){strict};
INSERT INTO resource_type (name, next_key, attributes) VALUES ('generic', 1, '{}');

CREATE TABLE resource (
  id             {uuid} NOT NULL PRIMARY KEY,
  type           {int} NOT NULL REFERENCES resource_type (id),
  original       {text} NOT NULL,
  creator        {int},
  user_id        {text},
  project_id     {text},
  started_at     {int} NOT NULL,
  ended_at       {int},
  revision_start {int} NOT NULL
){strict};
CREATE INDEX resource_order ON resource (revision_start, started_at, id);
CREATE INDEX resource_type_order ON resource (type, revision_start, started_at, id);
CREATE INDEX resource_creator ON resource (creator);
CREATE INDEX resource_project ON resource (project_id);
CREATE INDEX resource_user ON resource (user_id);

CREATE TABLE resource_history (
  revision       {key},
  id             {uuid} NOT NULL,
  type           {int} NOT NULL REFERENCES resource_type (id),
  original       {text} NOT NULL,
  creator        {int},
  user_id        {text},
  project_id     {text},
  started_at     {int} NOT NULL,
  ended_at       {int},
  revision_start {int} NOT NULL,
  revision_end   {int} NOT NULL
){strict};
CREATE INDEX resource_history_id ON resource_history (id, revision);
CREATE INDEX resource_history_order ON resource_history (revision_start, started_at, id);
CREATE INDEX resource_history_type_order ON resource_history (type, revision_start, started_at, id);

CREATE TABLE metric (
  ref        {key}, -- the engine's number
  id         {uuid} NOT NULL UNIQUE,
  name       {text},
  unit       {text},
  creator    {int},
  policy     {int} NOT NULL REFERENCES policy (id),
  resource   {uuid} REFERENCES resource (id),
  created_at {int} NOT NULL,
  deleted_at {int}, -- marked; the row goes later
  labels     {text} -- JSON: {name: value}
){strict};
CREATE UNIQUE INDEX metric_resource ON metric (resource, name) WHERE resource IS NOT NULL;
CREATE INDEX metric_name ON metric (name, id);
CREATE INDEX metric_creator ON metric (creator, id);
CREATE INDEX metric_policy ON metric (policy);
CREATE INDEX metric_deleted ON metric (deleted_at) WHERE deleted_at IS NOT NULL;

-- Labels turned around: which metrics have one.
CREATE TABLE label (
  id    {key},
  name  {text} NOT NULL,
  value {text} NOT NULL,
  UNIQUE (name, value)
){strict};
CREATE TABLE metric_label (
  label {int} NOT NULL REFERENCES label (id),
  ref   {int} NOT NULL,
  PRIMARY KEY (label, ref)
){clustered};
