CREATE TABLE alarm (
  ref {key},
  id {uuid} NOT NULL UNIQUE,
  shard {int} NOT NULL,
  version {int} NOT NULL,
  name {text} NOT NULL,
  description {text} NOT NULL,
  type {text} NOT NULL,
  rule {text} NOT NULL,
  enabled {bool} NOT NULL,
  severity {int} NOT NULL,
  actions {text} NOT NULL,
  repeat_actions {bool} NOT NULL,
  constraints {text} NOT NULL,
  project {text} NOT NULL,
  owner {text} NOT NULL,
  admin {bool} NOT NULL,
  origin {text} NOT NULL,
  changed {int} NOT NULL,
  state {int} NOT NULL,
  reason {text} NOT NULL,
  since {int} NOT NULL,
  evaluated {int} NOT NULL,
  status_version {int} NOT NULL
){strict};
CREATE INDEX alarm_project ON alarm (project, changed);
CREATE INDEX alarm_changed ON alarm (changed);
CREATE INDEX alarm_name ON alarm (name);
CREATE INDEX alarm_origin ON alarm (origin) WHERE origin <> '';

CREATE TABLE alarm_count (
  kind {int} NOT NULL,
  owner {text} NOT NULL,
  alarms {int} NOT NULL,
  PRIMARY KEY (kind, owner)
){clustered};

CREATE TABLE alarm_quota (
  project {text} NOT NULL,
  resource {text} NOT NULL,
  most {int} NOT NULL,
  PRIMARY KEY (project, resource)
){clustered};

CREATE TABLE alarm_history (
  ref {key},
  id {uuid} NOT NULL,
  alarm {uuid} NOT NULL,
  type {int} NOT NULL,
  detail {text} NOT NULL,
  owner {text} NOT NULL,
  project {text} NOT NULL,
  on_behalf_of {text} NOT NULL,
  severity {int} NOT NULL,
  at {int} NOT NULL
){strict};
CREATE INDEX alarm_history_alarm ON alarm_history (alarm, at);
CREATE INDEX alarm_history_at ON alarm_history (at);
CREATE INDEX alarm_history_project ON alarm_history (on_behalf_of, at);

CREATE TABLE alarm_delivery (
  ref {key},
  id {uuid} NOT NULL,
  shard {int} NOT NULL,
  alarm {uuid} NOT NULL,
  project {text} NOT NULL,
  target {text} NOT NULL,
  action {text} NOT NULL,
  body {text} NOT NULL,
  created {int} NOT NULL,
  tries {int} NOT NULL,
  failed {text} NOT NULL,
  dead {int} NOT NULL
){strict};
CREATE INDEX alarm_delivery_target ON alarm_delivery (dead, target, ref);
CREATE INDEX alarm_delivery_alarm ON alarm_delivery (alarm);
