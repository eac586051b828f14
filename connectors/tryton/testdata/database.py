"""What prepare.py and serve.py have in common: where the database is, and that it need not survive a power failure."""
import pathlib
import sqlite3

NAME = 'truestock'


def configure(folder):
    """Must be called before anything else of trytond is imported."""
    from trytond.config import config
    config.set('database', 'uri', 'sqlite://')
    config.set('database', 'path', str(folder))
    # Passwords that are quick to check: the tests log in again and again.
    config.set('password', 'passlib', str(pathlib.Path(__file__).with_name('passlib.ini')))
    from trytond.backend.sqlite import database

    class Connection(sqlite3.Connection):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, timeout=30, **kwargs)
            self.execute('PRAGMA synchronous = OFF')
            self.execute('PRAGMA journal_mode = MEMORY')

        def cursor(self):
            return super().cursor(database.SQLiteCursor)

    database.SQLiteConnection = Connection
