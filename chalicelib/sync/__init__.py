"""The external sync: what other systems list, kept in `external_data`."""
