/* Do one job with the workload on standard input and write its result, or run several
   as tasks and write what their callbacks saw.

   usage: client_do HOST PORT FUNCTION [OPTIONS]
     --background         print the job handle instead of a result
     --priority high|low
     --unique TEXT        (with --tasks, "-" and the task's number are appended)
     --tasks N            run N tasks; a line for each callback
     --timeout MS         default 30000

   Exit status 0, or 1 with "code name" of the failure on standard error. */

#include <getopt.h>

#include "common.h"

static const char *host, *function, *unique = NULL;
static char *workload;
static size_t workload_size;
static enum { NORMAL, HIGH, LOW } priority = NORMAL;

static int failed(gearman_return_t ret)
{
  fprintf(stderr, "%d %s\n", (int)ret, gearman_strerror(ret));
  return 1;
}

static int do_foreground(gearman_client_st *client)
{
  size_t size = 0;
  gearman_return_t ret = GEARMAN_SUCCESS;
  void *result = (priority == HIGH  ? gearman_client_do_high
                  : priority == LOW ? gearman_client_do_low
                                    : gearman_client_do)(client, function, unique, workload,
                                                         workload_size, &size, &ret);
  if (gearman_failed(ret))
  {
    return failed(ret);
  }
  fwrite(result, 1, size, stdout);
  free(result);
  return 0;
}

static int do_background(gearman_client_st *client)
{
  gearman_job_handle_t handle;
  gearman_return_t ret = (priority == HIGH  ? gearman_client_do_high_background
                          : priority == LOW ? gearman_client_do_low_background
                                            : gearman_client_do_background)(
      client, function, unique, workload, workload_size, handle);
  if (gearman_failed(ret))
  {
    return failed(ret);
  }
  printf("%s\n", handle);
  return 0;
}

static gearman_return_t on_created(gearman_task_st *task)
{
  (void)task;
  printf("created\n");
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_data(gearman_task_st *task)
{
  printf("data %zu\n", gearman_task_data_size(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_warning(gearman_task_st *task)
{
  printf("warning %zu\n", gearman_task_data_size(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_status(gearman_task_st *task)
{
  printf("status %u/%u\n", gearman_task_numerator(task), gearman_task_denominator(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_complete(gearman_task_st *task)
{
  printf("complete %zu\n", gearman_task_data_size(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_exception(gearman_task_st *task)
{
  printf("exception %zu\n", gearman_task_data_size(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_fail(gearman_task_st *task)
{
  (void)task;
  printf("fail\n");
  return GEARMAN_SUCCESS;
}

static int run_tasks(gearman_client_st *client, long count)
{
  gearman_client_add_options(client, GEARMAN_CLIENT_FREE_TASKS);
  gearman_client_set_created_fn(client, on_created);
  gearman_client_set_data_fn(client, on_data);
  gearman_client_set_warning_fn(client, on_warning);
  gearman_client_set_status_fn(client, on_status);
  gearman_client_set_complete_fn(client, on_complete);
  gearman_client_set_exception_fn(client, on_exception);
  gearman_client_set_fail_fn(client, on_fail);
  for (long x = 0; x < count; x++)
  {
    char own[GEARMAN_MAX_UNIQUE_SIZE];
    gearman_return_t ret = GEARMAN_SUCCESS;
    if (unique)
    {
      snprintf(own, sizeof(own), "%s-%ld", unique, x);
    }
    (priority == HIGH  ? gearman_client_add_task_high
     : priority == LOW ? gearman_client_add_task_low
                       : gearman_client_add_task)(client, NULL, NULL, function,
                                                  unique ? own : NULL, workload,
                                                  workload_size, &ret);
    if (gearman_failed(ret))
    {
      return failed(ret);
    }
  }
  gearman_return_t ret = gearman_client_run_tasks(client);
  return gearman_failed(ret) ? failed(ret) : 0;
}

static void usage(const char *name)
{
  fprintf(stderr,
          "usage: %s HOST PORT FUNCTION [--background] [--priority high|low] "
          "[--unique TEXT] [--tasks N] [--timeout MS]\n",
          name);
  exit(2);
}

int main(int argc, char **argv)
{
  static const struct option options[] = {
      {"background", no_argument, NULL, 'b'},   {"priority", required_argument, NULL, 'p'},
      {"unique", required_argument, NULL, 'u'}, {"tasks", required_argument, NULL, 'n'},
      {"timeout", required_argument, NULL, 't'}, {NULL, 0, NULL, 0},
  };
  bool background = false;
  long tasks = 0;
  int timeout = 30000, option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
  {
    switch (option)
    {
    case 'b':
      background = true;
      break;
    case 'p':
      priority = strcmp(optarg, "high") == 0 ? HIGH : LOW;
      break;
    case 'u':
      unique = optarg;
      break;
    case 'n':
      tasks = strtol(optarg, NULL, 10);
      break;
    case 't':
      timeout = (int)strtol(optarg, NULL, 10);
      break;
    default:
      usage(argv[0]);
    }
  }
  if (argc - optind != 3)
  {
    usage(argv[0]);
  }
  host = argv[optind];
  function = argv[optind + 2];
  workload = read_input(&workload_size);

  gearman_client_st *client = gearman_client_create(NULL);
  if (client == NULL)
  {
    die("gearman_client_create", "failed");
  }
  gearman_client_set_timeout(client, timeout);
  gearman_return_t ret =
      gearman_client_add_server(client, host, parse_port(argv[optind + 1]));
  if (gearman_failed(ret))
  {
    return failed(ret);
  }
  /* Without it a job that ends in an exception hangs the client (1.1.x). */
  if (!gearman_client_set_server_option(client, "exceptions", 10))
  {
    return failed(GEARMAN_COULD_NOT_CONNECT);
  }
  int status = tasks        ? run_tasks(client, tasks)
               : background ? do_background(client)
                            : do_foreground(client);
  gearman_client_free(client);
  free(workload);
  return status;
}
