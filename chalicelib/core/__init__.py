"""The base of all other folders: settings, database, errors, logs, storage."""
