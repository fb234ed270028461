/* What a C programmer would write, to be measured beside the other contestants.

   usage: bench_client HOST PORT MODE JOBS SIZE
     do          JOBS calls of gearman_client_do, then a tenth of that with latencies
     do_wide     the same, with a large send buffer on the connection
     background  JOBS calls of gearman_client_do_background
     tasks       JOBS of gearman_client_add_task, one gearman_client_run_tasks
     tasks_free  the same, with the option GEARMAN_CLIENT_FREE_TASKS
     feed        not measured: JOBS background jobs, as fast as can be */

#include "bench.h"

static gearman_client_st *client;
static char *payload;
static size_t size;
static const long WARM = 50;
static long completed = 0;

static void do_one(void)
{
  size_t length = 0;
  gearman_return_t ret = GEARMAN_SUCCESS;
  void *result = gearman_client_do(client, "echo", NULL, payload, size, &length, &ret);
  if (gearman_failed(ret) || length != size)
  {
    die("gearman_client_do", gearman_client_error(client));
  }
  free(result);
}

static void background_one(void)
{
  gearman_job_handle_t handle;
  gearman_return_t ret =
      gearman_client_do_background(client, "echo", NULL, payload, size, handle);
  if (gearman_failed(ret))
  {
    die("gearman_client_do_background", gearman_client_error(client));
  }
}

static void measure(long jobs, void (*one)(void))
{
  for (long x = 0; x == 0 || (x < WARM && x < jobs / 10); x++)
  {
    one();
  }
  moment begun = stamp();
  for (long x = 0; x < jobs; x++)
  {
    one();
  }
  moment ended = stamp();
  /* The clock is read in a part of its own: reading it costs, too. */
  long count = jobs / 10;
  double *latencies = malloc((size_t)(count + 1) * sizeof(*latencies));
  for (long x = 0; x < count; x++)
  {
    double before = now();
    one();
    latencies[x] = now() - before;
  }
  report(jobs, begun, ended, latencies, count);
  free(latencies);
}

static gearman_return_t on_complete(gearman_task_st *task)
{
  completed += gearman_task_data_size(task) == size;
  return GEARMAN_SUCCESS;
}

static void run_tasks(long jobs)
{
  gearman_client_set_complete_fn(client, on_complete);
  moment begun = stamp();
  for (long x = 0; x < jobs; x++)
  {
    gearman_return_t ret = GEARMAN_SUCCESS;
    gearman_client_add_task(client, NULL, NULL, "echo", NULL, payload, size, &ret);
    if (gearman_failed(ret))
    {
      die("gearman_client_add_task", gearman_client_error(client));
    }
  }
  if (gearman_failed(gearman_client_run_tasks(client)) || completed != jobs)
  {
    die("gearman_client_run_tasks", gearman_client_error(client));
  }
  report(jobs, begun, stamp(), NULL, 0);
}

static void feed(long jobs)
{
  gearman_client_add_options(client, GEARMAN_CLIENT_FREE_TASKS);
  long block = 1 + (long)((8 << 20) / (size + 1));
  block = block > 500 ? 500 : block;
  for (long fed = 0; fed < jobs; fed++)
  {
    gearman_return_t ret = GEARMAN_SUCCESS;
    gearman_client_add_task_background(client, NULL, NULL, "echo", NULL, payload, size,
                                       &ret);
    bool last = fed == jobs - 1 || (fed + 1) % block == 0;
    if (gearman_failed(ret) || (last && gearman_failed(gearman_client_run_tasks(client))))
    {
      die("feeding", gearman_client_error(client));
    }
  }
}

int main(int argc, char **argv)
{
  if (argc != 6)
  {
    die("usage", "bench_client HOST PORT MODE JOBS SIZE");
  }
  const char *mode = argv[3];
  long jobs = atol(argv[4]);
  size = (size_t)atol(argv[5]);
  payload = malloc(size + 1);
  memset(payload, 'x', size);
  client = gearman_client_create(NULL);
  if (gearman_failed(gearman_client_add_server(client, argv[1], (in_port_t)atoi(argv[2]))) ||
      gearman_failed(gearman_client_echo(client, "warm", 4)))
  {
    die("connecting", gearman_client_error(client));
  }
  if (strcmp(mode, "feed") == 0)
  {
    widen();
    feed(jobs);
  }
  else if (strcmp(mode, "tasks") == 0)
  {
    run_tasks(jobs);
  }
  else if (strcmp(mode, "tasks_free") == 0)
  {
    gearman_client_add_options(client, GEARMAN_CLIENT_FREE_TASKS);
    run_tasks(jobs);
  }
  else if (strcmp(mode, "background") == 0)
  {
    background_one();
    measure(jobs, background_one);
  }
  else if (strncmp(mode, "do", 2) == 0)
  {
    if (strcmp(mode, "do_wide") == 0)
    {
      widen();
    }
    do_one();
    measure(jobs, do_one);
  }
  else
  {
    die("mode", mode);
  }
  gearman_client_free(client);
  free(payload);
  return 0;
}
