<?php
# What the contestants in PHP share: the clock, and the line of JSON each prints.

function stamp(): array
{
    $used = getrusage();
    return [
        hrtime(true) / 1e9,
        $used["ru_utime.tv_sec"] + $used["ru_utime.tv_usec"] / 1e6,
        $used["ru_stime.tv_sec"] + $used["ru_stime.tv_usec"] / 1e6,
    ];
}

function report(int $jobs, array $begun, array $ended, array $latencies = []): void
{
    preg_match('/VmHWM:\s*(\d+)/', file_get_contents("/proc/self/status"), $peak);
    echo json_encode([
        "jobs" => $jobs,
        "wall" => $ended[0] - $begun[0],
        "user" => $ended[1] - $begun[1],
        "sys" => $ended[2] - $begun[2],
        "peak" => (int) $peak[1],
        "latencies" => $latencies,
    ]), "\n";
}

function measure(int $jobs, callable $one): void
{
    for ($x = 0; $x < max(1, min(50, intdiv($jobs, 10))); $x++) {
        $one();
    }
    $begun = stamp();
    for ($x = 0; $x < $jobs; $x++) {
        $one();
    }
    $ended = stamp();
    # The clock is read in a part of its own: reading it costs, too.
    $latencies = [];
    for ($x = 0; $x < intdiv($jobs, 10); $x++) {
        $before = hrtime(true);
        $one();
        $latencies[] = (hrtime(true) - $before) / 1e9;
    }
    report($jobs, $begun, $ended, $latencies);
}
