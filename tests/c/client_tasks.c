/* Run tasks one after the other and write all that their callbacks can see.

   usage: client_tasks HOST PORT TASK...
     TASK is one of
       fg:FUNCTION:WORKLOAD     a job
       bg:FUNCTION:WORKLOAD     a background job
       status:HANDLE            a question about a job; HANDLE may be "last", the
                                handle of the job before

   Exit status 0, or 1 with "code name" of the failure on standard error. */

#include "common.h"

static char last_handle[GEARMAN_JOB_HANDLE_SIZE];

static void say(const char *event, gearman_task_st *task)
{
  size_t size = gearman_task_data_size(task);
  printf("%s [%.*s] %s\n", event, (int)size,
         size ? (const char *)gearman_task_data(task) : "",
         gearman_strerror(gearman_task_return(task)));
}

static gearman_return_t on_created(gearman_task_st *task)
{
  snprintf(last_handle, sizeof(last_handle), "%s", gearman_task_job_handle(task));
  printf("created %s\n", strncmp(last_handle, "H:", 2) == 0 ? "H:" : "?");
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_data(gearman_task_st *task)
{
  say("data", task);
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_warning(gearman_task_st *task)
{
  say("warning", task);
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_status(gearman_task_st *task)
{
  printf("status %u/%u known=%d running=%d\n", gearman_task_numerator(task),
         gearman_task_denominator(task), gearman_task_is_known(task),
         gearman_task_is_running(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_complete(gearman_task_st *task)
{
  say("complete", task);
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_exception(gearman_task_st *task)
{
  say("exception", task);
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_fail(gearman_task_st *task)
{
  say("fail", task);
  return GEARMAN_SUCCESS;
}

static int failed(gearman_return_t ret)
{
  fprintf(stderr, "%d %s\n", (int)ret, gearman_strerror(ret));
  return 1;
}

static gearman_return_t add(gearman_client_st *client, char *spec)
{
  gearman_return_t ret = GEARMAN_SUCCESS;
  char *kind = strtok(spec, ":"), *rest = strtok(NULL, "");
  if (strcmp(kind, "status") == 0)
  {
    gearman_client_add_task_status(client, NULL, NULL,
                                   strcmp(rest, "last") == 0 ? last_handle : rest, &ret);
    return ret;
  }
  char *function = strtok(rest, ":"), *workload = strtok(NULL, "");
  (strcmp(kind, "bg") == 0 ? gearman_client_add_task_background
                           : gearman_client_add_task)(
      client, NULL, NULL, function, NULL, workload, workload ? strlen(workload) : 0, &ret);
  return ret;
}

int main(int argc, char **argv)
{
  if (argc < 4)
  {
    fprintf(stderr, "usage: %s HOST PORT TASK...\n", argv[0]);
    return 2;
  }
  gearman_client_st *client = gearman_client_create(NULL);
  if (client == NULL)
  {
    die("gearman_client_create", "failed");
  }
  gearman_client_add_options(client, GEARMAN_CLIENT_FREE_TASKS);
  gearman_client_set_timeout(client, 30000);
  gearman_return_t ret = gearman_client_add_server(client, argv[1], parse_port(argv[2]));
  if (gearman_failed(ret))
  {
    return failed(ret);
  }
  if (!gearman_client_set_server_option(client, "exceptions", 10))
  {
    return failed(GEARMAN_COULD_NOT_CONNECT);
  }
  gearman_client_set_created_fn(client, on_created);
  gearman_client_set_data_fn(client, on_data);
  gearman_client_set_warning_fn(client, on_warning);
  gearman_client_set_status_fn(client, on_status);
  gearman_client_set_complete_fn(client, on_complete);
  gearman_client_set_exception_fn(client, on_exception);
  gearman_client_set_fail_fn(client, on_fail);
  for (int x = 3; x < argc; x++)
  {
    ret = add(client, argv[x]);
    if (gearman_success(ret))
    {
      ret = gearman_client_run_tasks(client);
    }
    if (gearman_failed(ret))
    {
      return failed(ret);
    }
  }
  gearman_client_free(client);
  return 0;
}
