#!/usr/bin/python3
"""Makes the database that every test begins with: the modules, a company, a customer.

Usage: prepare.py FOLDER. The password of the administrator is in TRYTON_PASSWORD.
"""
import os
import pathlib
import sys

from database import NAME, configure

folder = pathlib.Path(sys.argv[1])
configure(folder)
(folder / (NAME + '.sqlite')).touch()

from trytond import backend  # noqa: E402
from trytond.pool import Pool  # noqa: E402
from trytond.transaction import Transaction  # noqa: E402

backend.Database(NAME).connect()
backend.Database(NAME).init()
pool = Pool(NAME)
pool.init(update=['ir', 'res', 'sale'], lang=['en'], activatedeps=True)

with Transaction().start(NAME, 0):
    User = pool.get('res.user')
    admin, = User.search([('login', '=', 'admin')])
    admin.password = os.environ['TRYTON_PASSWORD']
    admin.save()

with Transaction().start(NAME, admin.id) as transaction:
    Currency = pool.get('currency.currency')
    Party = pool.get('party.party')
    Company = pool.get('company.company')
    euro, = Currency.create([{'name': 'Euro', 'symbol': 'EUR', 'code': 'EUR'}])
    owner, = Party.create([{'name': 'Owner'}])
    company, = Company.create([{'party': owner.id, 'currency': euro.id}])
    admin = pool.get('res.user')(admin.id)
    admin.companies = [company]
    admin.company = company
    admin.save()
    with transaction.set_context(company=company.id):
        Party.create([{
            'name': 'Customers of the shops',
            'code': 'SHOPS',
            'addresses': [('create', [{'street': '1 Test Street', 'city': 'Berlin'}])],
        }])
        # Without accounts there are no invoices to make.
        Configuration = pool.get('sale.configuration')
        configuration = Configuration(1)
        configuration.sale_invoice_method = 'manual'
        configuration.save()
