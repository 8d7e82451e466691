<?php
// A shop that sends each order's invoice in the background: `composer install`, `php -S 127.0.0.1:8000 app.php`.
require __DIR__ . '/vendor/autoload.php';
require __DIR__ . '/nightshift.php';

use Nightshift\{NotYet, Refused};
use function Nightshift\{enqueue, perform, start};

function connect(): PDO
{
    $url = parse_url(getenv('APP_DATABASE_URL'));
    $address = "mysql:host={$url['host']};port=" . ($url['port'] ?? 3306) . ';charset=utf8mb4;dbname=';
    return new PDO($address . substr($url['path'], 1), urldecode($url['user']), urldecode($url['pass'] ?? ''));
}

function orders(): array
{
    $order = json_decode(file_get_contents('php://input'));
    $pdo = connect();
    $pdo->beginTransaction();
    try {
        $insert = $pdo->prepare('INSERT INTO orders (item, is_paid) VALUES (?, ?)');
        $insert->execute([$order->item, (int) $order->is_paid]);
        $id = (int) $pdo->lastInsertId();
        $job = enqueue($pdo, 'send_invoice', ['order' => $id]);
        $pdo->prepare('UPDATE stock SET pieces = pieces - 1 WHERE item = ?')->execute([$order->item]);
        $pdo->commit();
    } catch (PDOException $error) {
        $pdo->rollBack();
        return [409, [], $error->getMessage()];
    }
    $queueUrl = getenv('WORK_QUEUE_URL');
    $endpoint = substr($queueUrl, 0, -strlen(parse_url($queueUrl, PHP_URL_PATH)));
    $client = Symfony\Component\HttpClient\HttpClient::create(['timeout' => 2, 'max_duration' => 2]);
    start(new AsyncAws\Sqs\SqsClient(['endpoint' => $endpoint], null, $client), $queueUrl, $job);
    return [201, ['Content-Type' => 'application/json'], json_encode(['order' => $id, 'job' => $job])];
}

function sendInvoice(array $job, PDO $pdo): array
{
    $order = $job['data']['order'];
    $select = $pdo->prepare('SELECT is_paid FROM orders WHERE id = ?');
    $select->execute([$order]);
    $isPaid = $select->fetchColumn();
    if ($isPaid === false) {
        throw new Refused("there is no order $order");
    }
    if (!$isPaid) {
        throw new NotYet("order $order is not paid", 60);
    }
    $pdo->prepare('INSERT INTO invoices (order_id) VALUES (?)')->execute([$order]);
    return ['invoice' => (int) $pdo->lastInsertId()];
}

function jobs(): array
{
    $secrets = explode(',', getenv('APP_JOBS_SECRETS'));
    $headers = array_change_key_case(getallheaders());
    return perform(connect(...), $secrets, ['send_invoice' => sendInvoice(...)], $headers, file_get_contents('php://input'));
}

[$status, $headers, $body] = match ("$_SERVER[REQUEST_METHOD] $_SERVER[REQUEST_URI]") {
    'POST /orders' => orders(),
    'POST /jobs' => jobs(),
    default => [404, [], ''],
};
http_response_code($status);
foreach ($headers as $name => $value) {
    header("$name: $value");
}
echo $body;
