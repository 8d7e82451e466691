<?php
// Nightshift for PHP and PDO: enqueue jobs in your own transactions, and perform them in your application.
namespace Nightshift;

use AsyncAws\Core\Exception\Exception as AwsException;
use AsyncAws\Sqs\SqsClient;
use PDO;

const DUPLICATE = 1062;

/** Throw it in a handler when the job can never succeed: the job is dead, with this message as the reason. */
final class Refused extends \Exception {}

/** Throw it in a handler when the job cannot be done yet: it comes again after so many seconds. */
final class NotYet extends \Exception
{
    public function __construct(string $message, public readonly int $seconds) { parent::__construct($message); }
}

/** Inserts a job in the connection's transaction, due now or at `$runAt`, and returns its id. */
function enqueue(PDO $pdo, string $type, array $data, ?\DateTimeInterface $runAt = null, ?string $id = null): string
{
    $id ??= bin2hex(random_bytes(16));
    $due = $runAt ? (int) $runAt->format('Uv') : 0;
    $json = json_encode((object) $data, JSON_THROW_ON_ERROR);
    $columns = 'id, type, data, status, created_at, due_at, dispatch_at';
    $pdo->prepare("INSERT INTO jobs ($columns) VALUES (?, ?, ?, 'pending', ?, ?, ?)")
        ->execute([$id, $type, $json, (int) (microtime(true) * 1000), $due, $due]);
    return $id;
}

/** Starts a job at once. Call it after the commit; if it fails, the job starts within a minute. */
function start(SqsClient $sqs, string $queueUrl, string $id): void
{
    try {
        $sqs->sendMessage(['QueueUrl' => $queueUrl, 'MessageBody' => json_encode(['id' => $id])])->resolve();
    } catch (AwsException $error) {
        error_log("job $id starts within a minute, not at once: {$error->getMessage()}");
    }
}

/** Returns whether Nightshift signed the request, with one of the secrets, in the last five minutes. */
function isSigned(array $secrets, array $headers, string $body): bool
{
    $names = ['webhook-id', 'webhook-timestamp', 'webhook-signature'];
    [$id, $timestamp, $signatures] = array_map(fn ($name) => $headers[$name] ?? '', $names);
    $isSignedWith = function (string $secret) use ($id, $timestamp, $signatures, $body): bool {
        $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
        $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
        return (bool) array_filter(explode(' ', $signatures), fn ($given) => hash_equals($expected, $given));
    };
    return abs(time() - (int) $timestamp) <= 300 && array_filter($secrets, $isSignedWith);
}

/** Performs the job of a request once, and returns the status, the headers and the body of the answer. */
function perform(callable $connect, array $secrets, array $handlers, array $headers, string $body): array
{
    if (!isSigned($secrets, $headers, $body)) {
        return [401, [], 'the signature or the timestamp is wrong'];
    }
    $job = json_decode($body, true, flags: JSON_THROW_ON_ERROR);
    // Not 400, which would end the job: a newer release may know the type.
    if (!isset($handlers[$job['type']])) {
        return [404, [], "no handler of {$job['type']}"];
    }
    try {
        $pdo = $connect();
        $pdo->beginTransaction();
    } catch (\PDOException $error) {
        // Without Retry-After: Nightshift then holds back all jobs until the application is back.
        return [503, [], $error->getMessage()];
    }
    try {
        $result = performOnce($pdo, $handlers[$job['type']], $job);
        $pdo->commit();
        return [200, ['Content-Type' => 'application/json'], $result];
    } catch (\Throwable $error) {
        $pdo->rollBack();
        if ($error instanceof NotYet) return [503, ['Retry-After' => $error->seconds], $error->getMessage()];
        error_log($error);
        return [$error instanceof Refused ? 422 : 500, [], $error->getMessage()];
    }
}

function performOnce(PDO $pdo, callable $handler, array $job): string
{
    try {
        // A second call for the same job waits here until the first has ended.
        $pdo->prepare('INSERT INTO performed_jobs (id) VALUES (?)')->execute([$job['id']]);
    } catch (\PDOException $error) {
        if ($error->errorInfo[1] !== DUPLICATE) throw $error;
        $done = $pdo->prepare('SELECT result FROM performed_jobs WHERE id = ?');
        $done->execute([$job['id']]);
        return $done->fetchColumn();
    }
    $result = json_encode($handler($job, $pdo), JSON_THROW_ON_ERROR);
    $pdo->prepare('UPDATE performed_jobs SET result = ? WHERE id = ?')->execute([$result, $job['id']]);
    return $result;
}
