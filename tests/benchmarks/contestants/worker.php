<?php
# PHP's extension of libgearman as an echo worker: worker.php HOST PORT JOBS

require __DIR__ . "/meter.php";

[, $host, $port, $jobs] = $argv;
$jobs = (int) $jobs;
$done = 0;
$begun = $ended = null;
$worker = new GearmanWorker();
$worker->addServer($host, (int) $port);
$worker->addFunction("echo", function (GearmanJob $job) use (&$done, &$begun, &$ended, $jobs) {
    $done++;
    if ($done === 1) {
        $begun = stamp();
    } elseif ($done === $jobs) {
        $ended = stamp();
    }
    return $job->workload();
});
while (($jobs === 0 || $done < $jobs) && $worker->work()) {
}
report($jobs - 1, $begun, $ended);
