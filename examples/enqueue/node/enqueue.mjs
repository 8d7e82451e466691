// Puts jobs on Nightshift's queue: `node enqueue.mjs one`, or `node enqueue.mjs < messages.jsonl`.
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { SendMessageBatchCommand, SendMessageCommand, SQSClient } from "@aws-sdk/client-sqs";

const EXAMPLE = {
  type: "send_email",
  data: { to: "reader@example.com", subject: "Welcome", text: "Hello" },
  idempotency_key: "welcome-42",
  source: "shop",
};
const QueueUrl = process.env.WORK_QUEUE_URL;
const sqs = new SQSClient();

/** Yield what fits into one call: ten entries, 256 KiB together. */
function* batches(entries) {
  let batch = [];
  let size = 0;
  for (const entry of entries) {
    const length = Buffer.byteLength(entry.MessageBody);
    if (batch.length === 10 || (batch.length && size + length > 256 * 1024)) {
      yield batch;
      batch = [];
      size = 0;
    }
    batch.push(entry);
    size += length;
  }
  if (batch.length) yield batch;
}

async function send(bodies) {
  let left = bodies.map((MessageBody, number) => ({ Id: String(number), MessageBody }));
  for (const pause of [0, 200, 400, 800]) {
    await sleep(pause);
    const failed = new Set();
    for (const Entries of batches(left)) {
      const answer = await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
      // An answer of 200 may carry failures.
      for (const { Id } of answer.Failed ?? []) failed.add(Id);
    }
    left = left.filter(({ Id }) => failed.has(Id));
    if (!left.length) return;
  }
  console.error(`Not on the queue after 4 attempts: ${left.length} of ${bodies.length} messages.`);
  process.exitCode = 1;
}

if (process.argv[2] === "one") {
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: JSON.stringify(EXAMPLE) }));
} else {
  await send((await text(process.stdin)).split("\n").filter((line) => line.trim()));
}
