"""Makes Aodh's tables, and event alarms from lines of JSON, as its API would store them.

alarms.py CONFIG < ALARMS
"""
import json
import sys
import uuid

from aodh import service
from aodh import storage
from aodh.storage import models
from oslo_utils import timeutils

conf = service.prepare_service([], config_files=[sys.argv[1]])
connection = storage.get_connection_from_config(conf)
connection.upgrade()
for line in sys.stdin:
    a = json.loads(line)
    now = timeutils.utcnow()
    rule = a['event_rule']
    rule['query'] = [{'field': c['field'], 'op': c.get('op', 'eq'), 'type': c.get('type', ''), 'value': c['value']} for c in rule['query']]
    connection.create_alarm(models.Alarm(
        alarm_id=str(uuid.uuid4()), type='event', enabled=True, name=a['name'], description='', timestamp=now, user_id='u',
        project_id=a['project_id'], state='insufficient data', state_timestamp=now, state_reason='', ok_actions=[],
        alarm_actions=a['alarm_actions'], insufficient_data_actions=[], repeat_actions=a['repeat_actions'], rule=rule,
        time_constraints=[], severity='low'))
