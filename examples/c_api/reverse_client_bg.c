/*
  Have a worker reverse a text in the background, and ask how the job stands.

  Makes the calls of libgearman's own example reverse_client_bg: gearman_execute with
  attributes, then gearman_client_job_status. Repaired: that one never waits, as it looks
  for an option of another name; it asks without a pause; and an empty text is NULL.

    cc -o reverse_client_bg reverse_client_bg.c -lgearman
    ./reverse_client_bg --wait "this is a test"
*/

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libgearman/gearman.h>

static void usage(const char *name, int status)
{
  fprintf(status ? stderr : stdout,
          "usage: %s [-h] [--host HOST] [--port PORT] [--timeout SECONDS] [--wait] "
          "[--interval SECONDS] TEXT\n",
          name);
  exit(status);
}

int main(int argc, char *argv[])
{
  static const struct option options[] = {
      {"help", no_argument, NULL, 'h'},           {"host", required_argument, NULL, 'H'},
      {"port", required_argument, NULL, 'p'},     {"timeout", required_argument, NULL, 'u'},
      {"interval", required_argument, NULL, 'i'}, {"wait", no_argument, NULL, 'w'},
      {NULL, 0, NULL, 0},
  };
  int option;
  gearman_return_t ret;
  gearman_client_st *client;
  gearman_task_st *task;
  bool is_known, is_running;
  uint32_t numerator, denominator;

  const char *host = "localhost", *port = "4730";
  double timeout = -1, interval = 1;
  bool wait_for_it = false;

  while ((option = getopt_long(argc, argv, "hp:u:", options, NULL)) != -1)
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
    case 'u':
      timeout = atof(optarg);
      break;
    case 'i':
      interval = atof(optarg);
      break;
    case 'w':
      wait_for_it = true;
      break;
    default:
      usage(argv[0], 2);
    }
  }
  if (argc - optind != 1)
  {
    usage(argv[0], 2);
  }
  const char *text = argv[optind];
  size_t text_size = strlen(text);

  setvbuf(stdout, NULL, _IOLBF, 0);

  client = gearman_client_create(NULL);
  if (client == NULL)
  {
    fprintf(stderr, "Memory allocation failure on client creation\n");
    exit(1);
  }
  ret = gearman_client_add_server(client, host, (in_port_t)atoi(port));
  if (gearman_failed(ret))
  {
    fprintf(stderr, "%s\n", gearman_client_error(client));
    exit(1);
  }
  if (timeout >= 0)
  {
    gearman_client_set_timeout(client, (int)(timeout * 1000));
  }

  gearman_task_attr_t attributes =
      gearman_task_attr_init_background(GEARMAN_JOB_PRIORITY_NORMAL);
  gearman_argument_t argument =
      gearman_argument_make(NULL, 0, text_size ? text : NULL, text_size);
  task = gearman_execute(client, "reverse", strlen("reverse"), NULL, 0, &attributes,
                         &argument, NULL);
  /* A task is no success: the job may not have been sent, or not have been taken. */
  if (task == NULL || gearman_failed(gearman_task_return(task)))
  {
    fprintf(stderr, "Failed to process job: %s\n", gearman_client_error(client));
    gearman_client_free(client);
    return 1;
  }
  printf("Background Job Handle=%s\n", gearman_task_job_handle(task));

  while (wait_for_it)
  {
    ret = gearman_client_job_status(client, gearman_task_job_handle(task), &is_known,
                                    &is_running, &numerator, &denominator);
    if (gearman_failed(ret))
    {
      fprintf(stderr, "%s\n", gearman_client_error(client));
      gearman_client_free(client);
      return 1;
    }
    printf("Known=%s, Running=%s, Percent Complete=%u/%u\n", is_known ? "true" : "false",
           is_running ? "true" : "false", numerator, denominator);
    if (!is_known)
    {
      break;
    }
    struct timespec pause = {(time_t)interval,
                             (long)((interval - (double)(time_t)interval) * 1e9)};
    nanosleep(&pause, NULL);
  }

  gearman_client_free(client);
  return 0;
}
