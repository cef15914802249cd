# Writes what Aodh 15.0.0 (Debian: python3-aodh, python3-croniter 1.3.5) says of time constraints at random instants,
# most of them around a start or a change of the clocks, a line of JSON each:
# python3 constraints.py | gzip -9n > constraints.jsonl.gz
import datetime, json, random
from unittest import mock
import croniter, pytz
import aodh.evaluator as ev

random.seed(7)
ZONES = ['', 'UTC', 'Europe/Ljubljana', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'America/Sao_Paulo']
DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']


def field(low, high, star=.4):
    if random.random() < star:
        return '*'
    kind = random.choice(['one', 'one', 'list', 'range', 'step', 'stepped'])
    a, b = sorted(random.sample(range(low, high + 1), 2))
    return {'one': str(a), 'list': '%d,%d' % (a, b), 'range': '%d-%d' % (a, b), 'step': '*/%d' % random.choice([2, 3, 5] + [15] * (high > 12)),
            'stepped': '%d-%d/%d' % (a, b, random.choice([2, 3]))}[kind]


def cron():
    minute, hour = random.choice([field(0, 59, .1), str(random.choice([0, 0, 30]))]), field(0, 23, .2)
    day, month, weekday = field(1, 31, .7), field(1, 12, .8), field(0, 6, .6)
    if random.random() < .1:
        weekday = random.choice(['mon-fri', 'sat,sun', '7', '5-7', random.choice(DAYS)])
    if random.random() < .05:
        month = random.choice(MONTHS)
    if random.random() < .05:
        day = 'L'
    if random.random() < .3:  # about when clocks change
        return '%s %s * * *' % (random.choice(['0', '30', '15,45']), random.choice(['1', '2', '3', '1-3', '0', '4']))
    return ' '.join([minute, hour, day, month, weekday])


def around(zone, start):
    """An instant near a change of the zone's clocks, near a start, or anywhere."""
    anywhere = datetime.datetime(2024, 1, 1) + datetime.timedelta(seconds=random.randrange(4 * 366 * 86400))
    kind = random.random()
    changes = [t for t in getattr(pytz.timezone(zone or 'UTC'), '_utc_transition_times', []) if 2024 <= t.year < 2028]
    if kind < .3 and changes:
        return random.choice(changes) + datetime.timedelta(seconds=random.randrange(-6 * 3600, 6 * 3600)), 'change'
    if kind < .65:
        tz = pytz.timezone(zone or 'UTC')
        local = pytz.utc.localize(anywhere).astimezone(tz)
        t = croniter.croniter(start, local).get_next(datetime.datetime).astimezone(pytz.utc).replace(tzinfo=None)
        return t + datetime.timedelta(seconds=random.choice([-60, -1, 0, 1, 59, 60, 61, 3599, 3600, 3601])), 'start'
    return anywhere, 'any'


def begins(cron, now):
    cron.get_prev()
    return cron.get_next(datetime.datetime) == now


class A:
    pass


n = 0
while n < 4000:
    constraints = []
    for i in range(random.choice([1, 1, 1, 2])):
        constraints.append(dict(name=str(i), start=cron(), duration=random.choice([60, 600, 3600, 3600, 10800, 86400, 200000]), timezone=random.choice(ZONES)))
    try:
        now, kind = around(constraints[0]['timezone'], constraints[0]['start'])
        a = A()
        a.time_constraints = constraints
        with mock.patch.object(ev.timeutils, 'utcnow', return_value=now):
            got = ev.Evaluator.within_time_constraint(a)
            # The same, but not in the minute before a start, which it takes for the start.
            with mock.patch.object(ev.Evaluator, '_is_exact_match', begins):
                inside = ev.Evaluator.within_time_constraint(a)
    except croniter.CroniterError:
        continue  # never starts
    n += 1
    print(json.dumps(dict(constraints=constraints, now=now.isoformat() + 'Z', kind=kind, holds=got, inside=inside)))
