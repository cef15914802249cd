# Writes what Aodh 15.0.0 (Debian: python3-aodh), on SQLite, answers to complex queries about alarms: first a line
# with the alarms, then a line of JSON for each query: python3 queries.py | gzip -9n > queries.jsonl.gz
import datetime, json, logging, os, random, re, sys, tempfile, uuid
from unittest import mock
import pecan, sqlalchemy
from wsme import types as wtypes
from aodh import service, storage
from aodh.api.controllers.v2 import base, query
from aodh.storage import models

random.seed(5)
logging.disable()
folder = tempfile.mkdtemp()
conf = service.prepare_service([], config_files=[])
conf.set_override('connection', 'sqlite:///' + os.path.join(folder, 'a.db'), group='database')
conn = storage.get_connection_from_config(conf)
conn.upgrade()


@sqlalchemy.event.listens_for(conn._engine_facade.get_engine(), 'connect')
def functions(db, _):
    db.create_function('regexp', 2, lambda pattern, text: text is not None and re.search(pattern, text) is not None)


conn._engine_facade.get_engine().dispose()
STATES, SEVERITIES = ['insufficient data', 'ok', 'alarm'], ['low', 'moderate', 'critical']
start = datetime.datetime(2026, 1, 1)
rows = []
for i in range(40):
    rows.append(dict(
        alarm_id=str(uuid.UUID(int=random.getrandbits(128), version=4)), name=random.choice(['cpu', 'disk', 'Cpu load', 'n%', 'a_b', 'caf\u00e9', '', '10', "o'x"]),
        description=random.choice(['', 'a web server', 'of a database']), project_id='p%d' % random.randrange(3), user_id='u%d' % random.randrange(2),
        severity=random.choice(SEVERITIES), state=random.choice(STATES), enabled=random.random() < .7, repeat_actions=random.random() < .3,
        timestamp=start + datetime.timedelta(seconds=random.randrange(20)), state_timestamp=start + datetime.timedelta(seconds=random.randrange(20)),
        state_reason=random.choice(['Not evaluated yet', 'Manually set via API'])))
    conn.create_alarm(models.Alarm(
        type='event', rule={'event_type': '*', 'query': []}, ok_actions=[], alarm_actions=[], insufficient_data_actions=[], time_constraints=[],
        evaluate_timestamp=start, **rows[-1]))
print(json.dumps([dict(r, timestamp=r['timestamp'].isoformat() + 'Z', state_timestamp=r['state_timestamp'].isoformat() + 'Z') for r in rows]))

TEXTS = ['name', 'description', 'state', 'severity', 'project_id', 'user_id', 'alarm_id', 'state_reason', 'type', 'user', 'project']
COMPARE = ['=', '!=', '<', '<=', '=<', '>', '>=', '=>']


def value(field):
    field = dict(user='user_id', project='project_id').get(field, field)
    if field == 'type':
        return random.choice(['event', 'composite'])
    v = random.choice(rows)[field]
    if isinstance(v, datetime.datetime):
        return v.strftime(random.choice(['%Y-%m-%dT%H:%M:%S', '%Y-%m-%d %H:%M:%S', '%Y-%m-%dT%H:%M:%SZ', '%Y-%m-%dT%H:%M:%S.000000', '%Y-%m-%dT%H:%M:%S+00:00']))
    return v


def leaf():
    kind = random.random()
    if kind < .45:
        field = random.choice(TEXTS)
        ops = COMPARE[:2] if field == 'alarm_id' else COMPARE
        return {random.choice(ops): {field: value(field)}}
    if kind < .6:
        field = random.choice(['timestamp', 'state_timestamp'])
        return {random.choice(COMPARE): {field: value(field)}}
    if kind < .7:
        field = random.choice(['enabled', 'repeat_actions'])
        return {random.choice(COMPARE[:2]): {field: value(field)}}
    if kind < .85:
        field = random.choice(TEXTS)
        return {random.choice(['in', 'IN']): {field: [value(field) for _ in range(random.choice([1, 2, 3]))]}}
    return {'=~': {random.choice(['name', 'description', 'state', 'severity']): random.choice(['^c', 'a', 'o$', '[a-d]', 'x|y', '^$', 'web.*er', '.', 'ok|alarm'])}}


def tree(depth):
    if depth == 0 or random.random() < .3:
        return leaf()
    op = random.choice(['and', 'or', 'not', 'AND', 'Or'])
    if op == 'not':
        return {op: tree(depth - 1)}
    return {op: [tree(depth - 1) for _ in range(random.choice([2, 2, 3]))]}


def spoil(text):
    """Something that is wrong, mostly."""
    return random.choice([
        lambda: text[:-1], lambda: '[%s]' % text, lambda: '{"and": [%s]}' % text, lambda: '{"or": %s}' % text, lambda: '{"not": [%s]}' % text,
        lambda: '{"xor": [%s, %s]}' % (text, text), lambda: '{"=": {"nothing": 1}}', lambda: '{"=": {"name": "a", "state": "ok"}}', lambda: '{"=": {}}', lambda: '{}',
        lambda: '{"=": "name"}', lambda: '{"in": {"name": "cpu"}}', lambda: '{"in": {"name": []}}', lambda: '{"=": {"name": null}}', lambda: '{"=": {"name": ["cpu"]}}',
        lambda: '{"=": {"name": {"a": 1}}}', lambda: '{"like": {"name": "c%"}}', lambda: '{"=": {"timestamp": "yesterday"}}', lambda: '{"<": {"state_timestamp": ""}}',
        lambda: '{"=": {"metadata.x": "y"}}', lambda: '{"==": {"name": "cpu"}}', lambda: 'null', lambda: '"name"', lambda: '{"not": {"not": %s}}' % text,
        lambda: '{"and": [%s, {}]}' % text, lambda: '{"and": [%s, null]}' % text, lambda: '{"in": {"name": [["cpu"]]}}', lambda: '{"in": {"name": [null]}}',
    ])()


for n in range(3000):
    q = {}
    if random.random() < .95:
        q['filter'] = json.dumps(tree(random.choice([0, 1, 2, 3])))
        if random.random() < .15:
            q['filter'] = spoil(q['filter'])
    if random.random() < .3:
        fields = random.sample(['name', 'state', 'timestamp', 'enabled', 'project', 'user_id', 'description'], random.choice([0, 1, 2]))
        q['orderby'] = json.dumps([{f: random.choice(['asc', 'desc', 'ASC', 'Desc'])} for f in fields] + [{'alarm_id': 'asc'}])
        if random.random() < .1:
            q['orderby'] = random.choice(['{"name": "asc"}', '[{"name": "up"}]', '[{"nothing": "asc"}]', '[{"name": "asc", "state": "asc"}]', '[{}]', '["name"]', '[', '[{"name": 1}]', '[]'])
        elif random.random() < .5:
            q['limit'] = random.choice([1, 2, 5, 100, 0, -1])
    project = random.choice([None, None, 'p0', 'p1', 'p9'])
    got = None
    with mock.patch.object(query.rbac, 'get_limited_to_project', return_value=project), mock.patch.object(query, 'pecan'), mock.patch.object(base, 'pecan'):
        try:
            c = query.ValidatedComplexQuery(query.ComplexQuery(**q), models.Alarm)
            c.validate(visibility_field='project_id')
            got = [a.alarm_id for a in conn.query_alarms(c.filter_expr, c.orderby, c.limit)]
            status = 200
        except base.ProjectNotAuthorized:
            status = 401
        except base.ClientSideError:
            status = 400
        except Exception as e:
            status = 500
            print(type(e), e, q, file=sys.stderr)
    print(json.dumps(dict(query=q, project=project, status=status, alarms=got)))
