/* The part of a test worker that does not depend on the style of its callbacks.

   usage: worker HOST PORT [-c N]     end after N jobs */

#pragma once

#include <ctype.h>
#include <time.h>

#include "common.h"

/* Counted by every function: gearman_worker_work() answers SUCCESS once more, without
   a job, after a job that failed. */
static long jobs_done = 0;

static inline const char *job_data(gearman_job_st *job)
{
  return (const char *)gearman_job_workload(job);
}

static inline void reverse_bytes(char *to, const char *from, size_t size)
{
  for (size_t x = 0; x < size; x++)
  {
    to[x] = from[size - 1 - x];
  }
}

static inline void upper_bytes(char *to, const char *from, size_t size)
{
  for (size_t x = 0; x < size; x++)
  {
    to[x] = (char)toupper((unsigned char)from[x]);
  }
}

/* Sleep for as many milliseconds as the workload says. */
static inline void sleep_workload(gearman_job_st *job)
{
  char text[32];
  snprintf(text, sizeof(text), "%.*s", (int)gearman_job_workload_size(job),
           gearman_job_workload_size(job) ? job_data(job) : "");
  long ms = strtol(text, NULL, 10);
  struct timespec pause = {ms / 1000, (ms % 1000) * 1000000};
  nanosleep(&pause, NULL);
}

/* All of "chunks" but the last third, in this order: data, warning, status, data. */
static inline bool send_chunks(gearman_job_st *job)
{
  const char *data = job_data(job);
  size_t third = gearman_job_workload_size(job) / 3;
  return gearman_success(gearman_job_send_data(job, data, third)) &&
         gearman_success(gearman_job_send_warning(job, "careful", 7)) &&
         gearman_success(gearman_job_send_status(job, 1, 2)) &&
         gearman_success(gearman_job_send_data(job, data + third, third));
}

/* The workload as an exception; libgearman refuses an empty one. */
static inline gearman_return_t send_exception(gearman_job_st *job)
{
  size_t size = gearman_job_workload_size(job);
  return gearman_job_send_exception(job, size ? job_data(job) : "exception",
                                    size ? size : 9);
}

static inline gearman_worker_st *make_worker(int argc, char **argv, long *max_jobs)
{
  if (argc != 3 && !(argc == 5 && strcmp(argv[3], "-c") == 0))
  {
    fprintf(stderr, "usage: %s HOST PORT [-c N]\n", argv[0]);
    exit(2);
  }
  *max_jobs = argc == 5 ? strtol(argv[4], NULL, 10) : -1;
  gearman_worker_st *worker = gearman_worker_create(NULL);
  if (worker == NULL)
  {
    die("gearman_worker_create", "failed");
  }
  if (gearman_failed(gearman_worker_add_server(worker, argv[1], parse_port(argv[2]))))
  {
    die("gearman_worker_add_server", gearman_worker_error(worker));
  }
  return worker;
}

static inline int serve(gearman_worker_st *worker, long max_jobs)
{
  printf("ready\n");
  fflush(stdout);
  while (max_jobs < 0 || jobs_done < max_jobs)
  {
    long before = jobs_done;
    gearman_return_t ret = gearman_worker_work(worker);
    if (gearman_failed(ret) && jobs_done == before)
    {
      die("gearman_worker_work", gearman_worker_error(worker));
    }
  }
  gearman_worker_free(worker);
  return 0;
}
