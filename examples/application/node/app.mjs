// A shop that sends each order's invoice in the background: `npm ci`, `node app.mjs`.
import http from "node:http";
import { json } from "node:stream/consumers";
import { SQSClient } from "@aws-sdk/client-sqs";
import mysql from "mysql2/promise";
import { enqueue, jobs, NotYet, Refused, start } from "./nightshift.mjs";

const { APP_DATABASE_URL, APP_JOBS_SECRETS, PORT, WORK_QUEUE_URL } = process.env;
const pool = mysql.createPool(APP_DATABASE_URL);
const sqs = new SQSClient();

async function order({ item, is_paid }) {
  const connection = await pool.getConnection();
  try {
    await connection.beginTransaction();
    const [{ insertId }] = await connection.execute("INSERT INTO orders (item, is_paid) VALUES (?, ?)", [item, is_paid]);
    const job = await enqueue(connection, "send_invoice", { order: insertId });
    await connection.execute("UPDATE stock SET pieces = pieces - 1 WHERE item = ?", [item]);
    await connection.commit();
    return { order: insertId, job };
  } catch (error) {
    await connection.rollback();
    throw error;
  } finally {
    connection.release();
  }
}

async function sendInvoice({ data }, connection) {
  const [[found]] = await connection.execute("SELECT is_paid FROM orders WHERE id = ?", [data.order]);
  if (!found) throw new Refused(`there is no order ${data.order}`);
  if (!found.is_paid) throw new NotYet(`order ${data.order} is not paid`, 60);
  const [{ insertId }] = await connection.execute("INSERT INTO invoices (order_id) VALUES (?)", [data.order]);
  return { invoice: insertId };
}

const perform = jobs({ pool, secrets: APP_JOBS_SECRETS.split(","), handlers: { send_invoice: sendInvoice } });

async function orders(request, response) {
  try {
    const placed = await order(await json(request));
    await start(sqs, WORK_QUEUE_URL, placed.job);
    response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify(placed));
  } catch (error) {
    response.writeHead(409).end(error.message);
  }
}

const routes = { "POST /orders": orders, "POST /jobs": perform };
const notFound = (request, response) => response.writeHead(404).end();
http
  .createServer((request, response) => (routes[`${request.method} ${request.url}`] ?? notFound)(request, response))
  .listen(Number(PORT), "127.0.0.1");
