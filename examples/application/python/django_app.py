"""The shop with Django: `python django_app.py`."""

import json
import os
from contextlib import contextmanager

import pymysql
from django.conf import settings
from django.core.servers.basehttp import run
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connection
from django.db.transaction import atomic
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from nightshift import perform, start
from shop import DATABASE, HANDLERS, QUEUE_URL, SECRETS, SQS, place_order

# Or mysqlclient, which has to be compiled.
pymysql.install_as_MySQLdb()
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of an example that signs nothing",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.mysql",
            "HOST": DATABASE["host"],
            "PORT": DATABASE["port"],
            "USER": DATABASE["user"],
            "PASSWORD": DATABASE["password"],
            "NAME": DATABASE["database"],
        }
    },
)


@contextmanager
def transaction():
    with atomic(), connection.cursor() as cursor:
        yield cursor


@csrf_exempt
@require_POST
def orders(request):
    order = json.loads(request.body)
    try:
        with transaction() as cursor:
            placed = place_order(cursor, order["item"], order["is_paid"])
    except DatabaseError as error:
        return HttpResponse(error, status=409)
    start(SQS, QUEUE_URL, placed["job"])
    return JsonResponse(placed, status=201)


# The signature is what protects it, and no browser calls it.
@csrf_exempt
@require_POST
def jobs(request):
    body, status, headers = perform(transaction, SECRETS, HANDLERS, request.headers, request.body)
    return HttpResponse(body, status=status, headers=headers)


urlpatterns = [path("orders", orders), path("jobs", jobs)]

if __name__ == "__main__":
    # `runserver` would not start while the database is away.
    run("127.0.0.1", int(os.environ["PORT"]), get_wsgi_application(), threading=True)
