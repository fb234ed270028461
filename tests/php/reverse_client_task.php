<?php
# The calls of the PHP manual's reverse_client_task, with contexts.
# usage: php reverse_client_task.php HOST PORT FIRST SECOND

$client = new GearmanClient();
$client->addServer($argv[1], (int) $argv[2]);
$client->setTimeout(30000);

$client->setCreatedCallback(function (GearmanTask $task) {
    echo "CREATED: {$task->jobHandle()}\n";
});
$client->setStatusCallback(function (GearmanTask $task) {
    $done = $task->taskNumerator() . "/" . $task->taskDenominator();
    echo "STATUS: {$task->jobHandle()} - $done\n";
});
$client->setDataCallback(function (GearmanTask $task) {
    echo "DATA: {$task->data()}\n";
});
$client->setCompleteCallback(function (GearmanTask $task, ArrayObject $results) {
    echo "COMPLETE: {$task->jobHandle()}, {$task->data()}\n";
    $results[$task->unique()] = $task->data();
});
$client->setFailCallback(function (GearmanTask $task) {
    echo "FAILED: {$task->jobHandle()}\n";
});

$results = new ArrayObject();
$client->addTask("reverse", $argv[3], $results, "t1");
$client->addTaskLow("reverse", $argv[4], $results, "t2");
if (!$client->runTasks()) {
    fwrite(STDERR, $client->error() . "\n");
    exit(1);
}
$results->ksort();
foreach ($results as $unique => $result) {
    echo "$unique: $result\n";
}
echo "DONE\n";
