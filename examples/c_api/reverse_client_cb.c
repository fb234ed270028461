/*
  Have workers reverse a text ten times at once, and hear of each step.

  Makes the calls of libgearman's own example reverse_client_cb: tasks, a callback for
  each event, one run. Repaired: that one sets its callbacks after it has added the
  tasks, which have copied them by then, and so hears nothing; its tasks live on the
  stack; an empty text is a pointer with a size of 0, which add_task refuses.

    cc -o reverse_client_cb reverse_client_cb.c -lgearman
    ./reverse_client_cb "Hello!"
*/

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libgearman/gearman.h>

static gearman_return_t created(gearman_task_st *task)
{
  printf("Created: %s\n", gearman_task_job_handle(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t data(gearman_task_st *task)
{
  printf("Data: %s %.*s\n", gearman_task_job_handle(task),
         (int)gearman_task_data_size(task), (const char *)gearman_task_data(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t status(gearman_task_st *task)
{
  printf("Status: %s (%u/%u)\n", gearman_task_job_handle(task),
         gearman_task_numerator(task), gearman_task_denominator(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t complete(gearman_task_st *task)
{
  /* An empty result is NULL. */
  printf("Completed: %s %.*s\n", gearman_task_job_handle(task),
         (int)gearman_task_data_size(task),
         gearman_task_data_size(task) ? (const char *)gearman_task_data(task) : "");
  return GEARMAN_SUCCESS;
}

static gearman_return_t fail(gearman_task_st *task)
{
  printf("Failed: %s\n", gearman_task_job_handle(task));
  return GEARMAN_SUCCESS;
}

static void usage(const char *name, int status)
{
  fprintf(status ? stderr : stdout,
          "usage: %s [-h] [--host HOST] [--port PORT] [--count N] [--timeout SECONDS] "
          "[TEXT]\n",
          name);
  exit(status);
}

int main(int argc, char *argv[])
{
  static const struct option options[] = {
      {"help", no_argument, NULL, 'h'},          {"host", required_argument, NULL, 'H'},
      {"port", required_argument, NULL, 'p'},    {"count", required_argument, NULL, 'c'},
      {"timeout", required_argument, NULL, 'u'}, {NULL, 0, NULL, 0},
  };
  int option;
  gearman_return_t ret;
  gearman_client_st *client;

  const char *host = "localhost", *port = "4730";
  int count = 10;
  double timeout = -1;

  while ((option = getopt_long(argc, argv, "hp:c:u:", options, NULL)) != -1)
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
    case 'u':
      timeout = atof(optarg);
      break;
    default:
      usage(argv[0], 2);
    }
  }
  if (argc - optind > 1)
  {
    usage(argv[0], 2);
  }
  const char *text = optind < argc ? argv[optind] : "";
  size_t text_size = strlen(text);

  setvbuf(stdout, NULL, _IOLBF, 0);

  client = gearman_client_create(NULL);
  if (client == NULL)
  {
    fprintf(stderr, "Memory allocation failure on client creation\n");
    exit(1);
  }
  if (timeout >= 0)
  {
    gearman_client_set_timeout(client, (int)(timeout * 1000));
  }
  ret = gearman_client_add_server(client, host, (in_port_t)atoi(port));
  if (gearman_failed(ret))
  {
    fprintf(stderr, "%s\n", gearman_client_error(client));
    exit(1);
  }

  /* Before the tasks: each copies what is set when it is added. */
  gearman_client_set_created_fn(client, created);
  gearman_client_set_data_fn(client, data);
  gearman_client_set_status_fn(client, status);
  gearman_client_set_complete_fn(client, complete);
  gearman_client_set_fail_fn(client, fail);

  for (int x = 0; x < count; x++)
  {
    gearman_client_add_task(client, NULL, NULL, "reverse", NULL,
                            text_size ? text : NULL, text_size, &ret);
    if (gearman_failed(ret))
    {
      fprintf(stderr, "%s\n", gearman_client_error(client));
      exit(1);
    }
  }

  ret = gearman_client_run_tasks(client);
  if (gearman_failed(ret))
  {
    fprintf(stderr, "%s\n", gearman_client_error(client));
    gearman_client_free(client);
    return 1;
  }

  gearman_client_free(client);
  return 0;
}
