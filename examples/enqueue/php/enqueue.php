<?php
// Puts jobs on Nightshift's queue: `php enqueue.php one`, or `php enqueue.php < messages.jsonl`.
// No test runs this program.
require __DIR__ . '/vendor/autoload.php';

const EXAMPLE = [
    'type' => 'send_email',
    'data' => ['to' => 'reader@example.com', 'subject' => 'Welcome', 'text' => 'Hello'],
    'idempotency_key' => 'welcome-42',
    'source' => 'shop',
];
$queue = getenv('WORK_QUEUE_URL');
$sqs = new Aws\Sqs\SqsClient([]);

/** Yields what fits into one call: ten entries, 256 KiB together. */
function batches(array $entries): Generator
{
    $batch = [];
    $size = 0;
    foreach ($entries as $entry) {
        $length = strlen($entry['MessageBody']);
        if (count($batch) === 10 || ($batch && $size + $length > 256 * 1024)) {
            yield $batch;
            $batch = [];
            $size = 0;
        }
        $batch[] = $entry;
        $size += $length;
    }
    if ($batch) {
        yield $batch;
    }
}

if (($argv[1] ?? '') === 'one') {
    $sqs->sendMessage(['QueueUrl' => $queue, 'MessageBody' => json_encode(EXAMPLE)]);
    exit;
}

$left = [];
foreach (array_filter(explode("\n", stream_get_contents(STDIN)), 'trim') as $number => $body) {
    $left[$number] = ['Id' => (string) $number, 'MessageBody' => $body];
}
$total = count($left);
foreach ([0, 200_000, 400_000, 800_000] as $pause) {
    usleep($pause);
    $failed = [];
    foreach (batches($left) as $batch) {
        $answer = $sqs->sendMessageBatch(['QueueUrl' => $queue, 'Entries' => $batch]);
        // An answer of 200 may carry failures.
        $failed += array_column($answer['Failed'] ?? [], null, 'Id');
    }
    $left = array_intersect_key($left, $failed);
    if (!$left) {
        exit;
    }
}
fwrite(STDERR, 'Not on the queue after 4 attempts: ' . count($left) . " of $total messages.\n");
exit(1);
