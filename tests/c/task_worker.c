/* A worker for the tests of many tasks: its jobs end in every way, wait for the test,
   stream, and keep a list of what ran.

   usage: task_worker HOST PORT [--slice MS] [--tally FILE] [--only FUNCTION]
     --slice MS     look for work anew every MS milliseconds (default: only when woken)
     --tally FILE   where "tally" writes the unique of each job that it begins, a line
     --only NAME    serve only this function, and "echo" */

#include <fcntl.h>
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_common.h"

#define V2(name)                                                                       \
  static gearman_return_t name(gearman_job_st *job, void *context __attribute__((unused)))

static int tally_fd = -1;

static gearman_return_t complete(gearman_job_st *job, const void *data, size_t size)
{
  return gearman_success(gearman_job_send_complete(job, data, size)) ? GEARMAN_SUCCESS
                                                                     : GEARMAN_FATAL;
}

static void pause_ms(long ms)
{
  struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&pause, NULL);
}

V2(echo)
{
  return complete(job, gearman_job_workload(job), gearman_job_workload_size(job));
}

/* Write the unique to the list, in one write: workers share the file. */
V2(tally)
{
  char line[GEARMAN_MAX_UNIQUE_SIZE + 1];
  int size = snprintf(line, sizeof(line), "%s\n", gearman_job_unique(job));
  if (tally_fd < 0 || write(tally_fd, line, (size_t)size) != size)
  {
    die("writing the tally", "failed");
  }
  return complete(job, gearman_job_workload(job), gearman_job_workload_size(job));
}

/* The first letter of the workload says how the job ends, the rest is its payload. */
V2(mix)
{
  size_t size = gearman_job_workload_size(job);
  const char *data = job_data(job);
  if (size == 0)
  {
    return GEARMAN_FATAL;
  }
  data++;
  size--;
  switch (data[-1])
  {
  case 'o': /* all right */
    return complete(job, data, size);
  case 'd': /* in two chunks and an end */
    gearman_job_send_data(job, data, size);
    gearman_job_send_data(job, data, size);
    return complete(job, data, size);
  case 's': /* with a status */
    gearman_job_send_status(job, 1, 2);
    return complete(job, data, size);
  case 'e': /* an exception */
    gearman_job_send_exception(job, data, size);
    return GEARMAN_WORK_EXCEPTION;
  default: /* failure, with a warning before it */
    gearman_job_send_warning(job, data, size);
    gearman_job_send_fail(job);
    return GEARMAN_FATAL;
  }
}

/* Wait until the file that the workload names exists. */
V2(hold)
{
  char path[4096];
  struct stat found;
  snprintf(path, sizeof(path), "%.*s", (int)gearman_job_workload_size(job),
           job_data(job));
  while (stat(path, &found) != 0)
  {
    pause_ms(1);
  }
  return complete(job, "held", 4);
}

/* Send small chunks without a pause for as many milliseconds as the workload says. */
V2(stream)
{
  char text[32];
  snprintf(text, sizeof(text), "%.*s", (int)gearman_job_workload_size(job),
           job_data(job));
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  long long until = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + strtol(text, NULL, 10);
  for (long long at = 0; at < until;)
  {
    if (gearman_failed(gearman_job_send_data(job, "0123456789abcdef", 16)))
    {
      return GEARMAN_FATAL;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    at = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
  }
  return complete(job, "end", 3);
}

static const struct
{
  const char *name;
  gearman_function_fn *function;
} functions[] = {
    {"echo", echo}, {"tally", tally}, {"mix", mix}, {"hold", hold}, {"stream", stream},
};

int main(int argc, char **argv)
{
  static const struct option options[] = {{"slice", required_argument, NULL, 's'},
                                          {"tally", required_argument, NULL, 't'},
                                          {"only", required_argument, NULL, 'o'},
                                          {NULL, 0, NULL, 0}};
  int slice = -1, option;
  const char *only = NULL;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
  {
    switch (option)
    {
    case 's':
      slice = (int)strtol(optarg, NULL, 10);
      break;
    case 't':
      tally_fd = open(optarg, O_WRONLY | O_APPEND | O_CREAT, 0600);
      break;
    case 'o':
      only = optarg;
      break;
    default:
      die("usage", "task_worker HOST PORT [--slice MS] [--tally FILE] [--only NAME]");
    }
  }
  if (argc - optind != 2)
  {
    die("usage", "task_worker HOST PORT [--slice MS] [--tally FILE] [--only NAME]");
  }
  char *address[] = {argv[0], argv[optind], argv[optind + 1]};
  long max_jobs;
  gearman_worker_st *worker = make_worker(3, address, &max_jobs);
  if (slice > 0)
  {
    gearman_worker_set_timeout(worker, slice);
  }
  for (size_t x = 0; x < sizeof(functions) / sizeof(functions[0]); x++)
  {
    const char *name = functions[x].name;
    if (only != NULL && strcmp(name, only) != 0 && strcmp(name, "echo") != 0)
    {
      continue;
    }
    gearman_return_t ret = gearman_worker_define_function(
        worker, name, strlen(name), gearman_function_create(functions[x].function), 0,
        NULL);
    if (gearman_failed(ret))
    {
      die("gearman_worker_define_function", gearman_worker_error(worker));
    }
  }
  printf("ready\n");
  fflush(stdout);
  /* Whatever a job or the server does, go on: the test ends this process. */
  for (;;)
  {
    gearman_return_t ret = gearman_worker_work(worker);
    if (ret == GEARMAN_COULD_NOT_CONNECT || ret == GEARMAN_LOST_CONNECTION)
    {
      pause_ms(2);
    }
  }
}
