// Nightshift for Node.js and mysql2: enqueue jobs in your own transactions, and perform them in your application.
import crypto from "node:crypto";
import { SendMessageCommand } from "@aws-sdk/client-sqs";

const DUPLICATE = 1062;

/** Throw it in a handler when the job can never succeed: the job is dead, with this message as the reason. */
export class Refused extends Error {}

/** Throw it in a handler when the job cannot be done yet: it comes again after so many seconds. */
export class NotYet extends Error {
  constructor(message, seconds) {
    super(message);
    this.seconds = seconds;
  }
}

/** Insert a job in the transaction of `connection`, due now or at a Date, and return its id. */
export async function enqueue(connection, type, data, { id = crypto.randomUUID(), runAt = null } = {}) {
  const due = runAt ? runAt.getTime() : 0;
  await connection.execute(
    "INSERT INTO jobs (id, type, data, status, created_at, due_at, dispatch_at) VALUES (?, ?, ?, 'pending', ?, ?, ?)",
    [id, type, JSON.stringify(data), Date.now(), due, due],
  );
  return id;
}

/** Start a job at once. Call it after the commit; if it fails, the job starts within a minute. */
export async function start(sqs, QueueUrl, id) {
  const message = new SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify({ id }) });
  try {
    await sqs.send(message, { abortSignal: AbortSignal.timeout(2000) });
  } catch (error) {
    console.warn(`job ${id} starts within a minute, not at once: ${error.message}`);
  }
}

/** Return whether Nightshift signed the request, with one of the secrets, in the last five minutes. */
export function isSigned(secrets, headers, body) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures } = headers;
  if (!id || !signatures || !(Math.abs(Date.now() / 1000 - timestamp) <= 300)) return false;
  return secrets.some((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const digest = crypto.createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
    const expected = Buffer.from(`v1,${digest}`);
    const isEqual = (given) => given.length === expected.length && crypto.timingSafeEqual(given, expected);
    return signatures.split(" ").some((signature) => isEqual(Buffer.from(signature)));
  });
}

/** Return a listener for node:http, or a route's handler for Express, that performs jobs. */
export function jobs({ pool, secrets, handlers }) {
  return async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [status, answer, headers] = await perform(pool, secrets, handlers, request.headers, Buffer.concat(chunks));
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(answer);
  };
}

async function perform(pool, secrets, handlers, headers, body) {
  if (!isSigned(secrets, headers, body)) return [401, "the signature or the timestamp is wrong"];
  const job = JSON.parse(body);
  // Not 400, which would end the job: a newer release may know the type.
  if (!Object.hasOwn(handlers, job.type)) return [404, `no handler of ${job.type}`];
  const connection = await pool.getConnection().catch((error) => error);
  // Without Retry-After: Nightshift then holds back all jobs until the application is back.
  if (connection instanceof Error) return [503, connection.message];
  try {
    await connection.beginTransaction();
    const answer = await performOnce(connection, handlers[job.type], job);
    await connection.commit();
    return [200, answer];
  } catch (error) {
    await connection.rollback().catch(() => {});
    if (error instanceof Refused) return [422, error.message];
    if (error instanceof NotYet) return [503, error.message, { "retry-after": error.seconds }];
    console.error(error);
    return [500, error.message];
  } finally {
    connection.release();
  }
}

async function performOnce(connection, handler, job) {
  try {
    // A second call for the same job waits here until the first has ended.
    await connection.execute("INSERT INTO performed_jobs (id) VALUES (?)", [job.id]);
  } catch (error) {
    if (error.errno !== DUPLICATE) throw error;
    const [[done]] = await connection.execute("SELECT result FROM performed_jobs WHERE id = ?", [job.id]);
    return done.result;
  }
  const result = JSON.stringify((await handler(job, connection)) ?? null);
  await connection.execute("UPDATE performed_jobs SET result = ? WHERE id = ?", [result, job.id]);
  return result;
}
