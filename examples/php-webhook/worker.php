<?php
// A gatebus worker in PHP: the webhook handler of gatebus posts each event of a
// client here, and does what is answered. Text frames come back with the client's
// name in front, binary ones as they are; /help says what else there is.
//
//   SIGNING_KEY=whsec_… php -S 127.0.0.1:8000 worker.php
declare(strict_types=1);

$body = file_get_contents('php://input');
if (!signed($body, getenv('SIGNING_KEY') ?: '')) {
    answer(401, 'the signature is not of SIGNING_KEY');
}
if (attribute('type') === 'com.gatebus.gateway.down') { // its clients have no close events
    array_map(unlink(...), glob(state(strtok(attribute('id'), ':') . '-*')));
    answer(204);
}
// ce-id is <client>:<number>; the events of one client come one after the other.
if (!preg_match('/^([A-Za-z0-9_-]{1,100}):(\d{1,20})$/', attribute('id'), $id)) {
    answer(400, 'this is no event of gatebus');
}
[, $client, $number] = $id;

// What is kept of a client: the number of its last event and how that was answered.
// A real application has a database for that.
$file = fopen(state($client), 'c+');
flock($file, LOCK_EX); // until this script ends
$state = json_decode(stream_get_contents($file) ?: 'null', true) ?? ['last' => 0, 'said' => 0];

// An event comes again when its answer was lost, or its worker was. It has been
// handled: it gets the same answer, and counts once.
if ((int) $number <= $state['last']) {
    answer(...((int) $number === $state['last'] ? $state['answer'] : [204]));
}

$answer = match (attribute('type')) {
    'com.gatebus.client.open' => open(json_decode($body, true)),
    'com.gatebus.client.text' => text($body, $state),
    'com.gatebus.client.binary' => [200, base64_encode($body), ['Content-Type: application/octet-stream']],
    default => [204],
};
if (attribute('type') === 'com.gatebus.client.close' || $answer[0] === 403) { // gone, or not let in
    unlink(state($client));
} else {
    rewind($file);
    ftruncate($file, 0);
    fwrite($file, json_encode(['last' => (int) $number, 'answer' => $answer] + $state));
    fflush($file);
}
answer(...$answer);

// state is where the state of a client is.
function state(string $client): string
{
    $dir = getenv('STATE_DIR') ?: sys_get_temp_dir() . '/gatebus-php';
    is_dir($dir) || mkdir($dir, 0700, true);
    return "$dir/" . basename($client) . '.json';
}

// open lets a client in that has a name, in ws://…/?name=ann.
function open(array $info): array
{
    parse_str($info['query'] ?? '', $query);
    $name = $query['name'] ?? '';
    if (!is_string($name) || $name === '' || strlen($name) > 64) {
        return [403, 'say who you are: ?name=ann'];
    }
    return [200, json_encode(['uid' => $name, 'groups' => ['room'], 'session' => ['name' => $name]]), ['Content-Type: application/json']];
}

// text answers a text frame.
function text(string $text, array &$state): array
{
    $name = json_decode(attribute('session'), true)['name'];
    $state['said']++;
    switch (strtok($text, ' ')) {
        case '/help':
            return [200, '/name NEW, /count, /slow, /quiet, /bye'];
        case '/name': // JSON is ASCII, as json_encode writes it, so it fits into a header
            $new = substr($text, 6);
            return [200, "$name is $new", ['Gb-Merge-Session: ' . json_encode(['name' => $new]), 'Gb-Bind: ' . rawurlencode($new)]];
        case '/count':
            return [200, "$name has said {$state['said']}"];
        case '/slow':
            error_log("$name is slow");
            usleep(1_000_000);
            return [200, "$name was slow"];
        case '/quiet':
            return [204];
        case '/bye':
            return [200, "bye, $name", ['Gb-Status: close 4100 as you say']];
    }
    return $text === '' ? [200, '', ['Gb-Kind: text']] : [200, "$name: $text"];
}

// attribute is an attribute of the CloudEvent.
function attribute(string $name): string
{
    return rawurldecode($_SERVER['HTTP_CE_' . strtoupper($name)] ?? '');
}

// signed tells whether a request was signed with the key, in the last five minutes
// (standardwebhooks.com).
function signed(string $body, string $key): bool
{
    $secret = base64_decode(preg_replace('/^whsec_/', '', $key), true);
    $id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
    $time = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
    if (!$secret || $id !== attribute('id') || abs(time() - (int) $time) > 300) {
        return false;
    }
    $want = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$time.$body", $secret, true));
    foreach (explode(' ', $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '') as $signature) {
        if (hash_equals($want, $signature)) {
            return true;
        }
    }
    return false;
}

// answer ends the request. The body of a binary frame is in base64, so that it can
// be kept as JSON.
function answer(int $status, string $body = '', array $headers = []): never
{
    http_response_code($status);
    header('Content-Type: text/plain; charset=utf-8');
    foreach ($headers as $header) {
        header($header);
    }
    echo in_array('Content-Type: application/octet-stream', $headers, true) ? base64_decode($body) : $body;
    exit;
}
