/*
  Send a text to the function "jfytest" and print what comes back, ten times.

  After the classic libgearman tutorial pair jfy_client.c / jfy_worker.c. Repaired: the
  result was copied into a buffer of 1024 bytes whatever its size, a missing argument
  crashed, usage() did not exist. Added: the options.

    cc -o jfy_client jfy_client.c -lgearman
    ./jfy_client "this is a test"
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
          "usage: %s [-h] [--host HOST] [--port PORT] [--count N] [--interval SECONDS] "
          "TEXT\n",
          name);
  exit(status);
}

int main(int argc, char *argv[])
{
  static const struct option options[] = {
      {"help", no_argument, NULL, 'h'},           {"host", required_argument, NULL, 'H'},
      {"port", required_argument, NULL, 'p'},     {"count", required_argument, NULL, 'c'},
      {"interval", required_argument, NULL, 'i'}, {NULL, 0, NULL, 0},
  };
  int i, option;
  gearman_return_t ret;
  gearman_client_st client;
  char *result;
  size_t result_size;
  uint32_t numerator;
  uint32_t denominator;

  const char *host = "localhost", *port = "4730";
  int count = 10;
  double interval = 5;

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
    case 'i':
      interval = atof(optarg);
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

  if (gearman_client_create(&client) == NULL)
  {
    fprintf(stderr, "Memory allocation failure on client creation\n");
    exit(1);
  }

  gearman_client_set_options(&client, GEARMAN_CLIENT_FREE_TASKS);
  gearman_client_set_timeout(&client, 15000);

  ret = gearman_client_add_server(&client, host, (in_port_t)atoi(port));
  if (ret != GEARMAN_SUCCESS)
  {
    fprintf(stderr, "%s\n", gearman_client_error(&client));
    exit(1);
  }

  for (i = 0; i < count; i++)
  {
    result = gearman_client_do(&client, "jfytest", NULL, text_size ? text : NULL,
                               text_size, &result_size, &ret);
    if (ret == GEARMAN_WORK_DATA)
    {
      printf("Data=%.*s\n", (int)result_size, result);
      free(result);
    }
    else if (ret == GEARMAN_WORK_STATUS)
    {
      gearman_client_do_status(&client, &numerator, &denominator);
      printf("Status: %u/%u\n", numerator, denominator);
    }
    else if (ret == GEARMAN_SUCCESS)
    {
      /* An empty result is NULL. */
      printf("result_size=%d,result=%.*s=\n", (int)result_size, (int)result_size,
             result ? result : "");
      free(result);
    }
    else if (ret == GEARMAN_WORK_FAIL)
    {
      fprintf(stderr, "Work failed\n");
    }
    else if (ret == GEARMAN_TIMEOUT)
    {
      fprintf(stderr, "Work timeout\n");
    }
    else
    {
      fprintf(stderr, "%d,%s\n", gearman_client_errno(&client),
              gearman_client_error(&client));
    }
    printf("sleep %gs ...\n", interval);
    struct timespec pause = {(time_t)interval,
                             (long)((interval - (double)(time_t)interval) * 1e9)};
    nanosleep(&pause, NULL);
  }

  gearman_client_free(&client);

  return 0;
}
