/*
  Serve the function "reverse", sending the result ahead of its end.

  Makes the calls of libgearman's own example reverse_worker: a v2 function with a
  context, its result sent in one piece or byte by byte, statuses between them.

    cc -o reverse_worker reverse_worker.c -lgearman
    ./reverse_worker --chunk --status
*/

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libgearman/gearman.h>

struct how
{
  int chunk, status, unique;
};

static gearman_return_t reverse(gearman_job_st *job, void *context);

static void usage(const char *name, int status)
{
  fprintf(status ? stderr : stdout,
          "usage: %s [-h] [--host HOST] [--port PORT] [--count N] [--timeout SECONDS] "
          "[--identifier NAME] [--chunk] [--status] [--unique]\n",
          name);
  exit(status);
}

int main(int argc, char *argv[])
{
  static const struct option options[] = {
      {"help", no_argument, NULL, 'h'},           {"host", required_argument, NULL, 'H'},
      {"port", required_argument, NULL, 'p'},     {"count", required_argument, NULL, 'c'},
      {"timeout", required_argument, NULL, 't'},  {"chunk", no_argument, NULL, 'd'},
      {"status", no_argument, NULL, 's'},         {"unique", no_argument, NULL, 'u'},
      {"identifier", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0},
  };
  int option;
  gearman_return_t ret;
  gearman_worker_st *worker;

  const char *host = "localhost", *port = "4730", *identifier = NULL;
  int count = 0; /* jobs to do; 0: for ever */
  double timeout = -1;
  struct how how = {0, 0, 0};

  while ((option = getopt_long(argc, argv, "hp:c:t:dsu", options, NULL)) != -1)
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
    case 't':
      timeout = atof(optarg);
      break;
    case 'd':
      how.chunk = 1;
      break;
    case 's':
      how.status = 1;
      break;
    case 'u':
      how.unique = 1;
      break;
    case 'i':
      identifier = optarg;
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

  worker = gearman_worker_create(NULL);
  if (worker == NULL)
  {
    fprintf(stderr, "Memory allocation failure on worker creation\n");
    exit(1);
  }

  if (timeout >= 0)
  {
    gearman_worker_set_timeout(worker, (int)(timeout * 1000));
  }
  ret = gearman_worker_add_server(worker, host, (in_port_t)atoi(port));
  if (gearman_failed(ret))
  {
    fprintf(stderr, "%s\n", gearman_worker_error(worker));
    exit(1);
  }
  if (identifier != NULL)
  {
    ret = gearman_worker_set_identifier(worker, identifier, strlen(identifier));
    if (gearman_failed(ret))
    {
      fprintf(stderr, "%s\n", gearman_worker_error(worker));
      exit(1);
    }
  }

  ret = gearman_worker_define_function(worker, "reverse", strlen("reverse"),
                                       gearman_function_create(reverse), 0, &how);
  if (gearman_failed(ret))
  {
    fprintf(stderr, "%s\n", gearman_worker_error(worker));
    exit(1);
  }

  printf("Waiting for job...\n");
  while (1)
  {
    ret = gearman_worker_work(worker);
    if (gearman_failed(ret))
    {
      fprintf(stderr, "%s\n", gearman_worker_error(worker));
      break;
    }
    if (count > 0 && --count == 0)
    {
      break;
    }
  }

  gearman_worker_free(worker);
  return 0;
}

static gearman_return_t reverse(gearman_job_st *job, void *context)
{
  const struct how *how = context;
  const char *workload = gearman_job_workload(job);
  size_t size = gearman_job_workload_size(job);

  printf("Received job: %s\n", gearman_job_handle(job));
  if (how->unique)
  {
    printf("Unique: %s\n", gearman_job_unique(job));
  }
  printf("Workload: %.*s (%zu)\n", (int)size, size ? workload : "", size);

  char *result = malloc(size + 1);
  if (result == NULL)
  {
    return GEARMAN_FATAL;
  }
  for (size_t x = 0; x < size; x++)
  {
    result[x] = workload[size - 1 - x];
  }

  gearman_return_t ret = GEARMAN_SUCCESS;
  if (how->chunk)
  {
    for (size_t x = 0; x < size && gearman_success(ret); x++)
    {
      ret = gearman_job_send_data(job, result + x, 1);
      if (how->status && gearman_success(ret))
      {
        ret = gearman_job_send_status(job, (uint32_t)x, (uint32_t)size);
      }
    }
  }
  else
  {
    if (how->status)
    {
      ret = gearman_job_send_status(job, 0, (uint32_t)size);
    }
    if (gearman_success(ret))
    {
      ret = gearman_job_send_data(job, result, size);
    }
    if (how->status && gearman_success(ret))
    {
      ret = gearman_job_send_status(job, (uint32_t)size, (uint32_t)size);
    }
  }

  printf("Result: %.*s\n", (int)size, result);
  free(result);

  /* GEARMAN_ERROR: give the job back to the server, for another try. */
  return gearman_success(ret) ? GEARMAN_SUCCESS : GEARMAN_ERROR;
}
