"""Runs polling cycles of Ceilometer's compute agent and prints what each took.

usage: cycles.py CONFIG CYCLES
prints per cycle: seconds of wall clock, CPU seconds, samples

Everything is Ceilometer's own but for what favours it: the ID of a flavor is its
name instead of an answer of Nova's API, a call for latencies that libvirt's test
driver lacks is not made (for lack of it Ceilometer would warn of each domain and
have four meters less), and samples are handed to a notifier that drops them: they
are made, signed and counted, not sent.
"""

import logging
import os
import sys
import time

import libvirt

from ceilometer import service
from ceilometer.compute import discovery
from ceilometer.polling import manager

discovery.InstanceDiscovery.get_flavor_id = lambda self, name: name


# Libvirt's test driver has no such statistics.
libvirt.virDomain.blockStatsFlags = lambda *args: {"rd_total_times": 0, "wr_total_times": 0}


class Counter:
    samples = 0

    def sample(self, context, event_type, payload):
        self.samples += len(payload["samples"])


def main():
    conf = service.prepare_service([sys.argv[0]], [sys.argv[1]])
    logging.disable(logging.ERROR)
    agent = manager.AgentManager(0, conf, ["compute"])
    agent.polling_manager = manager.PollingManager(conf)
    agent.notifier = counter = Counter()
    tasks = agent.setup_polling_tasks().values()
    for _ in range(int(sys.argv[2])):
        counter.samples = 0
        wall, cpu = time.monotonic(), os.times()
        for task in tasks:
            agent.interval_task(task)
        wall, after = time.monotonic() - wall, os.times()
        cpu = after.user + after.system - cpu.user - cpu.system
        print("%.3f %.3f %d" % (wall, cpu, counter.samples), flush=True)


main()
