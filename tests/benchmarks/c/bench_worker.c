/* A minimal echo worker in C.

   usage: bench_worker HOST PORT JOBS [wide]
     JOBS  end after so many, and print what the time from the first job's function to
           the last one's took; 0: serve until killed
     wide  a large send buffer on the connection */

#include "bench.h"

static long jobs, done = 0;
static bool wide = false;
static moment begun, ended;

static gearman_return_t echo(gearman_job_st *job, void *context)
{
  (void)context;
  if (done++ == 0)
  {
    begun = stamp();
    if (wide)
    {
      widen();
    }
  }
  if (done == jobs)
  {
    ended = stamp();
  }
  return gearman_success(gearman_job_send_complete(job, gearman_job_workload(job),
                                                   gearman_job_workload_size(job)))
             ? GEARMAN_SUCCESS
             : GEARMAN_FATAL;
}

int main(int argc, char **argv)
{
  if (argc < 4)
  {
    die("usage", "bench_worker HOST PORT JOBS [wide]");
  }
  jobs = atol(argv[3]);
  wide = argc > 4;
  gearman_worker_st *worker = gearman_worker_create(NULL);
  if (gearman_failed(gearman_worker_add_server(worker, argv[1], (in_port_t)atoi(argv[2]))) ||
      gearman_failed(gearman_worker_define_function(
          worker, "echo", 4, gearman_function_create(echo), 0, NULL)))
  {
    die("setting up", gearman_worker_error(worker));
  }
  while (jobs == 0 || done < jobs)
  {
    if (gearman_failed(gearman_worker_work(worker)))
    {
      die("gearman_worker_work", gearman_worker_error(worker));
    }
  }
  report(jobs - 1, begun, ended, NULL, 0);
  gearman_worker_free(worker);
  return 0;
}
