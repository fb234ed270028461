<?php
# Do one job with the workload on standard input and write its result.
# usage: php client.php HOST PORT FUNCTION

$client = new GearmanClient();
$client->addServer($argv[1], (int) $argv[2]);
$client->setTimeout(30000);
$result = $client->doNormal($argv[3], stream_get_contents(STDIN));
if ($client->returnCode() != GEARMAN_SUCCESS) {
    fwrite(STDERR, $client->returnCode() . " " . $client->error() . "\n");
    exit(1);
}
echo $result;
