#!/usr/bin/env bash
# Puts jobs on Nightshift's queue: `enqueue.sh one`, or `enqueue.sh < messages.jsonl`.
set -euo pipefail

sqs() {
  # Version 1 of the AWS CLI does not read the variable for SQS.
  aws sqs "$@" --queue-url "$WORK_QUEUE_URL" --output json ${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"}
}

# What fits into one call: ten entries, 256 KiB together.
batches='reduce .[] as $entry ([];
  if length > 0 and (.[-1] + [$entry] | length <= 10 and (map(.MessageBody | utf8bytelength) | add) <= 256 * 1024)
  then .[-1] += [$entry] else . + [[$entry]] end) | .[]'

if [ "${1:-}" = one ]; then
  sqs send-message --message-body '{
    "type": "send_email",
    "data": {"to": "reader@example.com", "subject": "Welcome", "text": "Hello"},
    "idempotency_key": "welcome-42",
    "source": "shop"
  }' >/dev/null
  exit
fi

# Not with --raw-input, which may break characters of lines over 64 KiB (jqlang/jq#2259).
left=$(jq -cn --rawfile lines /dev/stdin \
  '$lines | split("\n") | map(select(test("\\S"))) | to_entries | map({Id: "\(.key)", MessageBody: .value})')
total=$(jq length <<<"$left")
for pause in 0 0.2 0.4 0.8; do
  sleep "$pause"
  answers=$(jq -c "$batches" <<<"$left" | while read -r batch; do
    sqs send-message-batch --entries file:///dev/stdin <<<"$batch" || exit
  done)
  # An answer of 200 may carry failures.
  left=$(jq -cs '.[0] as $left | [.[1:][].Failed[]?.Id] as $failed | $left | map(select(.Id | IN($failed[])))' \
    <<<"$left $answers")
  [ "$left" != "[]" ] || exit 0
done
echo "Not on the queue after 4 attempts: $(jq length <<<"$left") of $total messages." >&2
exit 1
