/* What the two C programs of the benchmarks share: a clock, the processor time of this
   process, its memory, and the line of JSON that every contestant prints. */

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <libgearman/gearman.h>

static inline void die(const char *doing, const char *why)
{
  fprintf(stderr, "%s: %s\n", doing, why ? why : "unknown error");
  exit(1);
}

static inline double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static inline double seconds(struct timeval time)
{
  return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

typedef struct
{
  double wall, user, sys;
} moment;

static inline moment stamp(void)
{
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return (moment){now(), seconds(usage.ru_utime), seconds(usage.ru_stime)};
}

/* The most memory that this program ever had, in KiB. Not ru_maxrss: a program inherits
   that of the process that started it. */
static inline long peak_memory(void)
{
  char line[256];
  long peak = 0;
  FILE *status = fopen("/proc/self/status", "r");
  while (status != NULL && fgets(line, sizeof(line), status) != NULL)
  {
    if (sscanf(line, "VmHWM: %ld", &peak) == 1)
    {
      break;
    }
  }
  if (status != NULL)
  {
    fclose(status);
  }
  return peak;
}

static inline void report(long jobs, moment begun, moment ended, const double *latencies,
                          long count)
{
  printf("{\"jobs\": %ld, \"wall\": %.9f, \"user\": %.6f, \"sys\": %.6f, \"peak\": %ld, "
         "\"latencies\": [",
         jobs, ended.wall - begun.wall, ended.user - begun.user, ended.sys - begun.sys,
         peak_memory());
  for (long x = 0; x < count; x++)
  {
    printf("%s%.9f", x ? ", " : "", latencies[x]);
  }
  printf("]}\n");
  fflush(stdout);
}

/* Give our TCP sockets a large send buffer, as our Python package does; libgearman asks
   for 32 KiB. They are the first descriptors of these small programs. */
static inline void widen(void)
{
  for (int fd = 3; fd < 32; fd++)
  {
    int size = 4 * 1024 * 1024, type = 0;
    socklen_t length = sizeof(type);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_STREAM)
    {
      setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
  }
}
