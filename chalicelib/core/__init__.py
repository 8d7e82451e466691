"""The ground that everything stands on: settings, database, errors, logs, storage."""
