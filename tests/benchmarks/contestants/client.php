<?php
# PHP's extension of libgearman as a client: client.php HOST PORT MODE JOBS SIZE

require __DIR__ . "/meter.php";

[, $host, $port, $mode, $jobs, $size] = $argv;
$payload = str_repeat("x", (int) $size);
$client = new GearmanClient();
$client->addServer($host, (int) $port);

if ($mode === "do") {
    measure((int) $jobs, function () use ($client, $payload) {
        if ($client->doNormal("echo", $payload) !== $payload) {
            exit("wrong answer");
        }
    });
} elseif ($mode === "background") {
    measure((int) $jobs, function () use ($client, $payload) {
        $client->doBackground("echo", $payload);
        if ($client->returnCode() !== GEARMAN_SUCCESS) {
            exit("not accepted");
        }
    });
} else {
    $done = 0;
    $client->setCompleteCallback(function (GearmanTask $task) use (&$done, $payload) {
        $done += $task->data() === $payload;
    });
    $begun = stamp();
    for ($x = 0; $x < (int) $jobs; $x++) {
        $client->addTask("echo", $payload);
    }
    if (!$client->runTasks() || $done !== (int) $jobs) {
        exit("wrong answer");
    }
    report((int) $jobs, $begun, stamp());
}
