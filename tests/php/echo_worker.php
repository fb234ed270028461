<?php
# Serve echo_php and reverse_php.
# usage: php echo_worker.php HOST PORT

$worker = new GearmanWorker();
$worker->addServer($argv[1], (int) $argv[2]);
$worker->addFunction("echo_php", function (GearmanJob $job) {
    return $job->workload();
});
$worker->addFunction("reverse_php", function (GearmanJob $job) {
    return strrev($job->workload());
});

echo "ready\n";
while ($worker->work()) {
}
fwrite(STDERR, $worker->error() . "\n");
exit(1);
