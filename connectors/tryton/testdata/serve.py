#!/usr/bin/python3
"""Runs Tryton on a free port of the loopback address, until standard input closes.

Usage: serve.py FOLDER, which holds the database that prepare.py made. It prints READY and the port.
"""
import os
import pathlib
import sys
import threading

from database import NAME, configure

configure(pathlib.Path(sys.argv[1]))

from trytond.config import config  # noqa: E402

# One address makes all the logins of the tests, wrong ones too.
config.set('session', 'max_attempt', '1000')

from trytond.exceptions import UserWarning  # noqa: E402
from trytond.pool import Pool  # noqa: E402
from trytond.wsgi import app  # noqa: E402
from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: E402

pool = Pool(NAME)
pool.init()


def warn_before(model, button, of):
    """Has a button of the model ask for confirmation, in the way of Tryton's own modules, of the records that say so."""
    Model, Warning = pool.get(model), pool.get('res.user.warning')
    press = getattr(Model, button)

    def warned(records):
        for record in records:
            name = 'truestock_test_%s_%s' % (button, record.id)
            if of in (record.reference or '') and Warning.check(name):
                raise UserWarning(name, 'Do you really want to %s this?' % button)
        return press(records)

    setattr(Model, button, staticmethod(warned))


for button in ['quote', 'confirm', 'process']:
    warn_before('sale.sale', button, 'warn-' + button)


class Handler(WSGIRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_request(self, *args):
        pass


server = make_server('127.0.0.1', 0, app, threaded=True, request_handler=Handler)


def end():
    sys.stdin.buffer.read()
    os._exit(0)


threading.Thread(target=end, daemon=True).start()
print('READY', server.server_port, flush=True)
server.serve_forever()
