/* A worker in libgearman's current style: gearman_function_create, with callbacks that
   send everything themselves and return how the job ended. */

#include "worker_common.h"

#define V2(name)                                                                       \
  static gearman_return_t name(gearman_job_st *job, void *context __attribute__((unused)))

static gearman_return_t complete(gearman_job_st *job, const void *data, size_t size)
{
  jobs_done++;
  return gearman_success(gearman_job_send_complete(job, data, size)) ? GEARMAN_SUCCESS
                                                                     : GEARMAN_FATAL;
}

V2(echo)
{
  return complete(job, gearman_job_workload(job), gearman_job_workload_size(job));
}

V2(reverse)
{
  size_t size = gearman_job_workload_size(job);
  char *result = allocate(size);
  reverse_bytes(result, job_data(job), size);
  gearman_return_t ret = complete(job, result, size);
  free(result);
  return ret;
}

V2(upper)
{
  size_t size = gearman_job_workload_size(job);
  char *result = allocate(size);
  upper_bytes(result, job_data(job), size);
  gearman_return_t ret = complete(job, result, size);
  free(result);
  return ret;
}

V2(chunks)
{
  size_t third = gearman_job_workload_size(job) / 3;
  if (!send_chunks(job))
  {
    return GEARMAN_FATAL;
  }
  return complete(job, job_data(job) + 2 * third,
                  gearman_job_workload_size(job) - 2 * third);
}

V2(fail)
{
  jobs_done++;
  gearman_job_send_fail(job);
  return GEARMAN_FATAL;
}

V2(exception)
{
  jobs_done++;
  return gearman_success(send_exception(job)) ? GEARMAN_WORK_EXCEPTION : GEARMAN_FATAL;
}

V2(unique)
{
  const char *text = gearman_job_unique(job);
  return complete(job, text, strlen(text));
}

V2(handle)
{
  const char *text = gearman_job_handle(job);
  return complete(job, text, strlen(text));
}

V2(sleep_ms)
{
  sleep_workload(job);
  return complete(job, gearman_job_workload(job), gearman_job_workload_size(job));
}

static const struct
{
  const char *name;
  gearman_function_fn *function;
} functions[] = {
    {"echo", echo},     {"reverse", reverse},     {"upper", upper},
    {"chunks", chunks}, {"fail", fail},           {"exception", exception},
    {"unique", unique}, {"handle", handle},       {"sleep_ms", sleep_ms},
};

int main(int argc, char **argv)
{
  long max_jobs;
  gearman_worker_st *worker = make_worker(argc, argv, &max_jobs);
  for (size_t x = 0; x < sizeof(functions) / sizeof(functions[0]); x++)
  {
    gearman_return_t ret = gearman_worker_define_function(
        worker, functions[x].name, strlen(functions[x].name),
        gearman_function_create(functions[x].function), 0, NULL);
    if (gearman_failed(ret))
    {
      die("gearman_worker_define_function", gearman_worker_error(worker));
    }
  }
  return serve(worker, max_jobs);
}
