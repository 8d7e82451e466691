"""The soak: a year of days on real servers, with everything failing that may fail, and every promise checked."""
