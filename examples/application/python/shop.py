"""The shop: what an order is, and how its invoice is sent."""

from nightshift import NotYet, Refused, enqueue


def place_order(cursor, item, is_paid):
    """Insert an order and the job that sends its invoice."""
    cursor.execute("INSERT INTO orders (item, is_paid) VALUES (%s, %s)", (item, is_paid))
    order = cursor.lastrowid
    job = enqueue(cursor, "send_invoice", {"order": order})
    cursor.execute("UPDATE stock SET pieces = pieces - 1 WHERE item = %s", (item,))
    return {"order": order, "job": job}


def send_invoice(job, cursor):
    """Send an order's invoice."""
    order = job["data"]["order"]
    cursor.execute("SELECT is_paid FROM orders WHERE id = %s", (order,))
    found = cursor.fetchone()
    if found is None:
        raise Refused(f"there is no order {order}")
    if not found[0]:
        raise NotYet(f"order {order} is not paid", 60)
    cursor.execute("INSERT INTO invoices (order_id) VALUES (%s)", (order,))
    return {"invoice": cursor.lastrowid}
