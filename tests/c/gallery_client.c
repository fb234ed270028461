/* The calls of libgearman's examples, for the tests that compare their Python twins.

   usage: gallery_client HOST PORT CALL [ARGUMENT...]
     echo TEXT             gearman_client_echo
     worker-echo TEXT      gearman_worker_echo
     do N TEXT             gearman_client_do of "reverse", N times
     execute TEXT          gearman_execute of "reverse"
     epoch SECONDS TEXT    gearman_execute of "reverse", due in so many seconds, and
                           gearman_client_job_status until the job is gone
     partition TEXT        gearman_execute_by_partition of "word_split" and "count"
     nonblocking TEXT...   "reverse" tasks by gearman_client_run_tasks and
                           gearman_client_wait

   Exit status 0, or 1 with the library's words on standard error. */

#include <time.h>

#include "common.h"

static gearman_client_st *client;

static int failed(void)
{
  fprintf(stderr, "%s\n", gearman_client_error(client));
  gearman_client_free(client);
  return 1;
}

static int echo(const char *text)
{
  if (gearman_failed(gearman_client_echo(client, text, strlen(text))))
  {
    return failed();
  }
  printf("%s", text);
  return 0;
}

static int worker_echo(const char *host, const char *port, const char *text)
{
  gearman_worker_st *worker = gearman_worker_create(NULL);
  gearman_worker_add_server(worker, host, parse_port(port));
  gearman_return_t ret = gearman_worker_echo(worker, text, strlen(text));
  if (gearman_failed(ret))
  {
    fprintf(stderr, "%s\n", gearman_worker_error(worker));
    return 1;
  }
  printf("%s", text);
  gearman_worker_free(worker);
  return 0;
}

static int do_jobs(long count, const char *text)
{
  while (count-- > 0)
  {
    size_t size;
    gearman_return_t ret;
    char *result = gearman_client_do(client, "reverse", NULL, *text ? text : NULL,
                                     strlen(text), &size, &ret);
    if (gearman_failed(ret))
    {
      return failed();
    }
    printf("%.*s\n", (int)size, size ? result : "");
    free(result);
  }
  return 0;
}

static int show_result(gearman_task_st *task)
{
  if (task == NULL || gearman_failed(gearman_task_return(task)))
  {
    return failed();
  }
  gearman_result_st *result = gearman_task_result(task);
  printf("%.*s\n", (int)gearman_result_size(result), gearman_result_value(result));
  return 0;
}

static int execute(const char *text)
{
  gearman_argument_t argument = gearman_argument_make(NULL, 0, text, strlen(text));
  return show_result(gearman_execute(client, "reverse", strlen("reverse"), NULL, 0, NULL,
                                     &argument, NULL));
}

static int partition(const char *text)
{
  gearman_argument_t argument = gearman_argument_make(NULL, 0, text, strlen(text));
  return show_result(gearman_execute_by_partition(
      client, "word_split", strlen("word_split"), "count", strlen("count"), NULL, 0, NULL,
      &argument, NULL));
}

static int epoch(long seconds, const char *text)
{
  gearman_task_attr_t attributes = gearman_task_attr_init_epoch(
      time(NULL) + seconds, GEARMAN_JOB_PRIORITY_NORMAL);
  gearman_argument_t argument = gearman_argument_make(NULL, 0, text, strlen(text));
  gearman_task_st *task = gearman_execute(client, "reverse", strlen("reverse"), NULL, 0,
                                          &attributes, &argument, NULL);
  if (task == NULL || gearman_failed(gearman_task_return(task)))
  {
    return failed();
  }
  printf("Background Job Handle=%s\n", gearman_task_job_handle(task));
  bool known = true, running;
  uint32_t numerator, denominator;
  while (known)
  {
    gearman_return_t ret =
        gearman_client_job_status(client, gearman_task_job_handle(task), &known, &running,
                                  &numerator, &denominator);
    if (gearman_failed(ret))
    {
      return failed();
    }
    printf("Known=%s, Running=%s, Percent Complete=%u/%u\n", known ? "true" : "false",
           running ? "true" : "false", numerator, denominator);
    struct timespec pause = {0, 50 * 1000 * 1000};
    nanosleep(&pause, NULL);
  }
  return 0;
}

static gearman_return_t on_complete(gearman_task_st *task)
{
  printf("%s: %.*s\n", (const char *)gearman_task_context(task),
         (int)gearman_task_data_size(task), (const char *)gearman_task_data(task));
  return GEARMAN_SUCCESS;
}

static int nonblocking(char **texts)
{
  gearman_return_t ret = GEARMAN_SUCCESS;
  gearman_client_add_options(client, GEARMAN_CLIENT_NON_BLOCKING);
  gearman_client_set_complete_fn(client, on_complete);
  for (; *texts; texts++)
  {
    gearman_client_add_task(client, NULL, *texts, "reverse", NULL, *texts,
                            strlen(*texts), &ret);
    if (gearman_failed(ret))
    {
      return failed();
    }
  }
  while ((ret = gearman_client_run_tasks(client)) == GEARMAN_IO_WAIT)
  {
    gearman_client_wait(client);
  }
  return gearman_failed(ret) ? failed() : 0;
}

int main(int argc, char **argv)
{
  if (argc < 5)
  {
    fprintf(stderr, "usage: %s HOST PORT CALL [ARGUMENT...]\n", argv[0]);
    return 2;
  }
  const char *call = argv[3], *first = argv[4], *second = argc > 5 ? argv[5] : "";
  if (strcmp(call, "worker-echo") == 0)
  {
    return worker_echo(argv[1], argv[2], first);
  }
  client = gearman_client_create(NULL);
  if (client == NULL)
  {
    die("gearman_client_create", "failed");
  }
  gearman_client_set_timeout(client, 30000);
  if (gearman_failed(gearman_client_add_server(client, argv[1], parse_port(argv[2]))))
  {
    return failed();
  }
  int status = strcmp(call, "echo") == 0          ? echo(first)
               : strcmp(call, "do") == 0          ? do_jobs(strtol(first, NULL, 10), second)
               : strcmp(call, "execute") == 0     ? execute(first)
               : strcmp(call, "epoch") == 0       ? epoch(strtol(first, NULL, 10), second)
               : strcmp(call, "partition") == 0   ? partition(first)
               : strcmp(call, "nonblocking") == 0 ? nonblocking(argv + 4)
                                                  : 2;
  if (status == 0)
  {
    gearman_client_free(client);
  }
  return status;
}
