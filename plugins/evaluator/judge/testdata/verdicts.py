# Writes what the evaluators of Aodh 15.0.0 (Debian: python3-aodh) make of random rules, data and events, a
# line of JSON each: python3 verdicts.py 2>/dev/null | gzip -9n > verdicts.jsonl.gz
import json, random
from unittest import mock
from aodh.evaluator import threshold, composite, event
import aodh.evaluator as ev
random.seed(7)
out=[]
class A: pass
STATES=['insufficient data','ok','alarm']
def values(n):
    return [random.choice([0.0,1.0,79.5,80.0,80.1,100.0,1e-5,1e17,12345678.9,-3.25]) for _ in range(n)]
def rule():
    return dict(granularity=60,comparison_operator=random.choice(['lt','le','eq','ne','ge','gt']),threshold=random.choice([80.0,1.0,0.5]),
        aggregation_method='mean',evaluation_periods=random.choice([1,2,3,5]),metric='cpu',resource_id='r',resource_type='instance')
class T(threshold.ThresholdEvaluator):
    def __init__(self):
        self.conf=mock.Mock(additional_ingestion_lag=0)
    def _statistics(self, rule, s, e): return rule['_v']
    @staticmethod
    def _sanitize(rule, st):
        if not st: raise threshold.InsufficientDataError("No datapoint for granularity %s" % rule['granularity'], [])
        return st[-rule['evaluation_periods']:]
    def _refresh(self, alarm, state, reason, data, always=False):
        if alarm.state!=state or alarm.repeat_actions: self.got=(state,reason,data)
t=T()
def alarm(r,state,repeat):
    a=A(); a.rule=r; a.state=state; a.repeat_actions=repeat; a.time_constraints=[]; a.alarm_id='x'; return a
for i in range(400):
    r=rule(); v=values(random.choice([0,1,2,3,4,5,6])); r['_v']=v
    a=alarm(r,random.choice(STATES),random.random()<.4); t.got=None
    t.evaluate(a)
    r={k:x for k,x in r.items() if k!='_v'}
    out.append(dict(kind='gnocchi_resources_threshold',rule=r,values=[v],state=a.state,repeat=a.repeat_actions,got=t.got and [t.got[0],t.got[1],json.dumps(t.got[2])]))
class C(composite.CompositeEvaluator):
    def __init__(self):
        self.conf=mock.Mock(); self.rule_targets=[]; self.rule_name_prefix='rule'; self.rule_num=0
        self._threshold_evaluators={'gnocchi_resources_threshold':mock.Mock(obj=t)}
    def _refresh(self, alarm, state, reason, data, always=False):
        if alarm.state!=state or alarm.repeat_actions: self.got=(state,reason,data)
def tree(d,vals):
    if d==0 or random.random()<.4:
        r=rule(); r['type']='gnocchi_resources_threshold'
        v=values(random.choice([0,1,3,5])); vals.append(v); r['_v']=v; return r
    return {random.choice(['and','or']):[tree(d-1,vals) for _ in range(random.choice([1,2,3]))]}
def strip(r):
    if isinstance(r,dict): return {k:strip(x) for k,x in r.items() if k!='_v'}
    if isinstance(r,list): return [strip(x) for x in r]
    return r
for i in range(600):
    vals=[]; r={random.choice(['and','or']):[tree(random.choice([0,1,2]),vals) for _ in range(random.choice([1,2,3]))]}
    c=C(); c.got=None
    a=alarm(r,random.choice(STATES),random.random()<.4); c.evaluate(a)
    g=c.got
    out.append(dict(kind='composite',rule=strip(r),values=vals,state=a.state,repeat=a.repeat_actions,got=g and [g[0],g[1],json.dumps(strip(g[2]))]))
class E(event.EventAlarmEvaluator):
    def __init__(self): self.conf=mock.Mock(event_alarm_cache_ttl=0)
    def _refresh(self, alarm, state, reason, data, always=False): self.got=(state,reason,data)
TYPES=['compute.instance.update','compute.instance.create.end','image.delete','a[b]c']
PATTERNS=['*','compute.*','compute.instance.update','*.end','image.?elete','[ci]*','[!c]*','a[[]b]c','comp[','COMPUTE.*','']
TRAITS=[('project_id',1,'p'),('state',1,'active'),('state',1,'error'),('memory',2,512),('memory',2,-3),('load',3,0.5),('load',3,100.0),('name',1,'caf\u00e9 "x"'),('count',1,'7')]
for i in range(600):
    q=[]
    for _ in range(random.choice([0,0,1,1,2])):
        f,ty,v=random.choice([('traits.state','string','active'),('traits.state','','error'),('traits.memory','integer','512'),('traits.memory','integer','0'),
            ('traits.load','float','0.5'),('traits.load','float','99'),('traits.name','string','caf\u00e9 "x"'),('traits.nothing','string','x'),('traits.nothing','integer','1')])
        c=dict(field=f,op=random.choice(['lt','le','eq','ne','ge','gt']),value=v)
        if ty: c['type']=ty
        q.append(c)
    traits={}
    for tr in random.sample(TRAITS,random.choice([1,3,5])): traits[tr[0]]=tr
    e=dict(message_id='m%d'%i,event_type=random.choice(TYPES),generated='2026-11-20T10:00:00.250000',traits=[list(x) for x in traits.values()],raw={})
    r=dict(event_type=random.choice(PATTERNS) or '*',query=q)
    a=alarm(r,random.choice(STATES),random.random()<.5); a.project_id='p'
    w=E(); w.got=None
    try: w._evaluate_alarm(event.Alarm(a),event.Event(e))
    except TypeError: pass # Aodh's own fault: a trait that is not there; the alarm does not fire
    g=w.got
    out.append(dict(kind='event',rule=r,event=e,state=a.state,repeat=a.repeat_actions,got=g and [g[0],g[1],json.dumps(g[2])]))
for l in out: print(json.dumps(l))
