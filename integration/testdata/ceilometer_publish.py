"""Publishes to Gnocchi with Ceilometer. Each line of standard input is {"do": ...,
"with": ...}; it is answered by a line with the requests that were sent, as "METHOD path
status", and the warnings and errors that Ceilometer logged.

  begin          begins with a configuration file of Ceilometer
  upgrade        what ceilometer-upgrade does in Gnocchi
  samples        publishes samples, given by their fields
  notification   publishes the samples and the event that the notification agent makes
                 of a notification
"""
import json
import logging
import sys

from ceilometer import gnocchi_client
from ceilometer import sample
from ceilometer import service
from ceilometer.event import converter
from ceilometer.meter import notifications
from ceilometer.publisher import gnocchi
from oslo_utils import netutils
from stevedore import extension


class Record(logging.Handler):
    """Keeps the requests that urllib3 logs, and everybody's warnings."""

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            self.warnings.append(record.getMessage())
        elif record.name == "urllib3.connectionpool" and len(record.args) == 8:
            self.requests.append("%s %s %s" % (record.args[3], record.args[4], record.args[6]))


def begin(config):
    global conf, publisher, meters, events
    conf = service.prepare_service(["ceilometer", "--config-file", config])
    sys.excepthook = sys.__excepthook__  # not into the log, which is recorded
    logging.getLogger().handlers = [record]
    logging.getLogger("urllib3.connectionpool").setLevel(logging.DEBUG)
    # The resources as Ceilometer ships them, whatever stands in /etc/ceilometer.
    publisher = gnocchi.GnocchiPublisher(conf, netutils.urlsplit(
        "gnocchi://?resources_definition_file=" + gnocchi.__file__.replace("gnocchi.py", "data/gnocchi_resources.yaml")))
    # Samples of Gnocchi's own project are left out; only Keystone could tell its id.
    publisher._gnocchi_project_id = "gnocchi"
    meters = notifications.ProcessMeterNotifications(conf, None)
    events = converter.setup_events(conf, extension.ExtensionManager("ceilometer.event.trait_plugin"))


def upgrade(_):
    gnocchi_client.upgrade_resource_types(conf)


def samples(fields):
    publisher.publish_samples([sample.Sample(**f) for f in fields])


def notification(message):
    made = list(meters.build_sample(message))
    if made:
        publisher.publish_samples(made)
    publisher.publish_events([events.to_event("info", message)])


commands = {"begin": begin, "upgrade": upgrade, "samples": samples, "notification": notification}
record = Record()
for line in sys.stdin:
    command = json.loads(line)
    record.requests, record.warnings = [], []
    commands[command["do"]](command["with"])
    print(json.dumps({"requests": record.requests, "warnings": record.warnings}), flush=True)
