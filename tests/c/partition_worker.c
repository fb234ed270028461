/* A worker that divides jobs: a mapper and an aggregator.

   usage: partition_worker HOST PORT
     "divide" gives each word of the workload to the function that the client named, and
     answers with the results, joined by spaces, in the order of the words; a word that
     has failed is "?".

   It serves "echo" as well, by which the tests see that it is there. */

#include "worker_common.h"

static gearman_return_t echo(gearman_job_st *job, void *context __attribute__((unused)))
{
  return gearman_success(gearman_job_send_complete(job, gearman_job_workload(job),
                                                   gearman_job_workload_size(job)))
             ? GEARMAN_SUCCESS
             : GEARMAN_FATAL;
}

static gearman_return_t mapper(gearman_job_st *job, void *context __attribute__((unused)))
{
  const char *word = job_data(job), *end = word + gearman_job_workload_size(job);
  while (word < end)
  {
    const char *space = memchr(word, ' ', (size_t)(end - word));
    size_t size = (size_t)((space ? space : end) - word);
    if (size && gearman_failed(gearman_job_send_data(job, word, size)))
    {
      return GEARMAN_FATAL;
    }
    word += size + 1;
  }
  return GEARMAN_SUCCESS;
}

static gearman_return_t aggregator(gearman_aggregator_st *self
                                   __attribute__((unused)),
                                   gearman_task_st *first, gearman_result_st *result)
{
  size_t size = 0;
  for (gearman_task_st *task = first; task; task = gearman_next(task))
  {
    size += gearman_result_size(gearman_task_result(task)) + 2;
  }
  /* libgearman before 2.0.0 has the last word first: write from the end. */
  char *joined = allocate(size), *at = joined + size;
  for (gearman_task_st *task = first; task; task = gearman_next(task))
  {
    gearman_result_st *part = gearman_task_result(task);
    bool fine = gearman_success(gearman_task_return(task));
    size_t length = fine ? gearman_result_size(part) : 1;
    at -= length;
    memcpy(at, fine ? gearman_result_value(part) : "?", length);
    if (gearman_next(task))
    {
      *--at = ' ';
    }
  }
  gearman_return_t ret =
      gearman_result_store_value(result, at, (size_t)(joined + size - at));
  free(joined);
  return ret;
}

static void define(gearman_worker_st *worker, const char *name,
                   gearman_function_t function)
{
  if (gearman_failed(gearman_worker_define_function(worker, name, strlen(name), function,
                                                    0, NULL)))
  {
    die("gearman_worker_define_function", gearman_worker_error(worker));
  }
}

int main(int argc, char **argv)
{
  long max_jobs;
  gearman_worker_st *worker = make_worker(argc, argv, &max_jobs);
  define(worker, "echo", gearman_function_create(echo));
  define(worker, "divide", gearman_function_create_partition(mapper, aggregator));
  printf("ready\n");
  fflush(stdout);
  for (;;)
  {
    if (gearman_worker_work(worker) == GEARMAN_COULD_NOT_CONNECT)
    {
      die("gearman_worker_work", gearman_worker_error(worker));
    }
  }
}
