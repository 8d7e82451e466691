# Puts jobs on Nightshift's queue: `ruby enqueue.rb one`, or `ruby enqueue.rb < messages.jsonl`.
# No test runs this program.
require "aws-sdk-sqs"
require "json"

EXAMPLE = {
  type: "send_email",
  data: { to: "reader@example.com", subject: "Welcome", text: "Hello" },
  idempotency_key: "welcome-42",
  source: "shop",
}
QUEUE = ENV.fetch("WORK_QUEUE_URL")
SQS = Aws::SQS::Client.new

# What fits into one call: ten entries, 256 KiB together.
def batches(entries)
  count = size = 0
  entries.slice_before do |entry|
    count += 1
    size += entry[:message_body].bytesize
    next if count <= 10 && size <= 256 * 1024

    count = 1
    size = entry[:message_body].bytesize
  end
end

def send_all(bodies)
  left = bodies.each_with_index.map { |body, number| { id: number.to_s, message_body: body } }
  [0, 0.2, 0.4, 0.8].each do |pause|
    sleep pause
    # An answer of 200 may carry failures.
    failed = batches(left).flat_map { |batch| SQS.send_message_batch(queue_url: QUEUE, entries: batch).failed }
    left.select! { |entry| failed.any? { |failure| failure.id == entry[:id] } }
    return if left.empty?
  end
  abort "Not on the queue after 4 attempts: #{left.size} of #{bodies.size} messages."
end

if ARGV == ["one"]
  SQS.send_message(queue_url: QUEUE, message_body: EXAMPLE.to_json)
else
  $stdin.set_encoding("UTF-8") # whatever the locale
  send_all($stdin.each_line(chomp: true).reject { |line| line.strip.empty? })
end
