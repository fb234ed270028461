/*
  Serve the function "jfytest": its result is the workload with "->result" after it.

  After the classic libgearman tutorial pair jfy_client.c / jfy_worker.c. Repaired: an
  uninitialised `result` was tested instead of `request`, both were 1024 bytes whatever
  the workload, `request` leaked, a size_t was printed with %d. Added: the options.

    cc -o jfy_worker jfy_worker.c -lgearman
    ./jfy_worker
*/

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libgearman/gearman.h>

static void *jfytest(gearman_job_st *job, void *context, size_t *result_size,
                     gearman_return_t *ret_ptr);

static void usage(const char *name, int status)
{
  fprintf(status ? stderr : stdout,
          "usage: %s [-h] [--host HOST] [--port PORT] [--count N]\n", name);
  exit(status);
}

int main(int argc, char *argv[])
{
  static const struct option options[] = {
      {"help", no_argument, NULL, 'h'},       {"host", required_argument, NULL, 'H'},
      {"port", required_argument, NULL, 'p'}, {"count", required_argument, NULL, 'c'},
      {NULL, 0, NULL, 0},
  };
  int option;
  gearman_return_t ret;
  gearman_worker_st worker;

  const char *host = "localhost", *port = "4730";
  int count = 0; /* jobs to do; 0: for ever */

  while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1)
  {
    switch (option)
    {
    case 'h':
      usage(argv[0], 0);
      break;
    case 'H':
      host = optarg;
      break;
    case 'p':
      port = optarg;
      break;
    case 'c':
      count = atoi(optarg);
      break;
    default:
      usage(argv[0], 2);
    }
  }
  if (argc != optind)
  {
    usage(argv[0], 2);
  }

  setvbuf(stdout, NULL, _IOLBF, 0);

  if (gearman_worker_create(&worker) == NULL)
  {
    printf("Memory allocation failure on worker creation\n");
    exit(1);
  }

  ret = gearman_worker_add_server(&worker, host, (in_port_t)atoi(port));
  if (ret != GEARMAN_SUCCESS)
  {
    printf("%s\n", gearman_worker_error(&worker));
    exit(1);
  }

  ret = gearman_worker_add_function(&worker, "jfytest", 0, jfytest, NULL);
  if (ret != GEARMAN_SUCCESS)
  {
    printf("%s\n", gearman_worker_error(&worker));
    exit(1);
  }

  printf("wait job ...\n");
  while (1)
  {
    ret = gearman_worker_work(&worker);
    if (ret != GEARMAN_SUCCESS)
    {
      printf("%s\n", gearman_worker_error(&worker));
      break;
    }
    if (count > 0 && --count == 0)
    {
      break;
    }
  }

  gearman_worker_free(&worker);

  return 0;
}

static void *jfytest(gearman_job_st *job, void *context, size_t *result_size,
                     gearman_return_t *ret_ptr)
{
  const char *workload;
  size_t workload_size;
  char *request, *result;

  (void)context;
  workload = gearman_job_workload(job);
  workload_size = gearman_job_workload_size(job);
  *result_size = 0;

  request = malloc(workload_size + 1);
  if (request == NULL)
  {
    printf("malloc request:%d\n", errno);
    *ret_ptr = GEARMAN_WORK_FAIL;
    return NULL;
  }

  /* The workload does not end in a NUL. An empty one is NULL. */
  if (workload_size)
  {
    memcpy(request, workload, workload_size);
  }
  request[workload_size] = 0;
  printf("job=%s,result_size=%d,request=%s\n", gearman_job_handle(job),
         (int)workload_size, request);

  /* libgearman frees it. */
  result = malloc(workload_size + sizeof("->result"));
  if (result == NULL)
  {
    printf("malloc result:%d\n", errno);
    free(request);
    *ret_ptr = GEARMAN_WORK_FAIL;
    return NULL;
  }

  *ret_ptr = GEARMAN_SUCCESS;

  memcpy(result, request, workload_size);
  memcpy(result + workload_size, "->result", sizeof("->result"));
  *result_size = workload_size + strlen("->result");
  free(request);

  printf("job=%s,result_size=%d,result=%s\n", gearman_job_handle(job),
         (int)*result_size, result);

  return result;
}
