/* A worker in libgearman's classic style: gearman_worker_add_function, with callbacks
   that return the result in memory from malloc(), which libgearman frees. */

#include "worker_common.h"

#define V1(name)                                                                       \
  static void *name(gearman_job_st *job, void *context __attribute__((unused)),        \
                    size_t *result_size, gearman_return_t *ret_ptr)

/* End the job with a result of this size, to be filled in. */
static char *result_of(size_t size, size_t *result_size, gearman_return_t *ret_ptr)
{
  jobs_done++;
  *ret_ptr = GEARMAN_SUCCESS;
  *result_size = size;
  return size ? allocate(size) : NULL;
}

static char *copy_of(const char *data, size_t size, size_t *result_size,
                     gearman_return_t *ret_ptr)
{
  char *result = result_of(size, result_size, ret_ptr);
  if (size)
  {
    memcpy(result, data, size);
  }
  return result;
}

static char *ended(gearman_return_t ret, size_t *result_size, gearman_return_t *ret_ptr)
{
  jobs_done++;
  *result_size = 0;
  *ret_ptr = ret;
  return NULL;
}

V1(echo)
{
  return copy_of(job_data(job), gearman_job_workload_size(job), result_size, ret_ptr);
}

V1(reverse)
{
  size_t size = gearman_job_workload_size(job);
  char *result = result_of(size, result_size, ret_ptr);
  reverse_bytes(result, job_data(job), size);
  return result;
}

V1(upper)
{
  size_t size = gearman_job_workload_size(job);
  char *result = result_of(size, result_size, ret_ptr);
  upper_bytes(result, job_data(job), size);
  return result;
}

V1(chunks)
{
  size_t third = gearman_job_workload_size(job) / 3;
  if (!send_chunks(job))
  {
    return ended(GEARMAN_WORK_FAIL, result_size, ret_ptr);
  }
  return copy_of(job_data(job) + 2 * third, gearman_job_workload_size(job) - 2 * third,
                 result_size, ret_ptr);
}

V1(fail)
{
  (void)job;
  return ended(GEARMAN_WORK_FAIL, result_size, ret_ptr);
}

V1(exception)
{
  return ended(gearman_success(send_exception(job)) ? GEARMAN_WORK_EXCEPTION
                                                    : GEARMAN_WORK_FAIL,
               result_size, ret_ptr);
}

V1(unique)
{
  const char *text = gearman_job_unique(job);
  return copy_of(text, strlen(text), result_size, ret_ptr);
}

V1(handle)
{
  const char *text = gearman_job_handle(job);
  return copy_of(text, strlen(text), result_size, ret_ptr);
}

V1(sleep_ms)
{
  sleep_workload(job);
  return copy_of(job_data(job), gearman_job_workload_size(job), result_size, ret_ptr);
}

static const struct
{
  const char *name;
  gearman_worker_fn *function;
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
    gearman_return_t ret = gearman_worker_add_function(worker, functions[x].name, 0,
                                                       functions[x].function, NULL);
    if (gearman_failed(ret))
    {
      die("gearman_worker_add_function", gearman_worker_error(worker));
    }
  }
  return serve(worker, max_jobs);
}
