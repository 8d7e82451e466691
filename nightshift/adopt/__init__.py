"""`nightshift adopt`: read an application's database, and write the chalicelib/application.py that maps it."""
