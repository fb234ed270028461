/* What the C test programs share: arguments, the workload, messages. */

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libgearman/gearman.h>

static inline void die(const char *doing, const char *why)
{
  fprintf(stderr, "%s: %s\n", doing, why ? why : "unknown error");
  exit(1);
}

static inline void *allocate(size_t size)
{
  void *memory = malloc(size ? size : 1);
  if (memory == NULL)
  {
    die("malloc", "out of memory");
  }
  return memory;
}

static inline in_port_t parse_port(const char *text)
{
  char *end;
  long port = strtol(text, &end, 10);
  if (*text == 0 || *end != 0 || port < 1 || port > 65535)
  {
    die("port", text);
  }
  return (in_port_t)port;
}

/* The whole standard input; NULL where it is empty: gearman_client_do refuses a
   pointer with a size of 0. */
static inline char *read_input(size_t *size)
{
  size_t room = 65536;
  char *data = allocate(room);
  *size = 0;
  for (;;)
  {
    size_t count = fread(data + *size, 1, room - *size, stdin);
    if (count == 0)
    {
      break;
    }
    *size += count;
    if (*size == room)
    {
      room *= 2;
      data = realloc(data, room);
      if (data == NULL)
      {
        die("realloc", "out of memory");
      }
    }
  }
  if (*size == 0)
  {
    free(data);
    return NULL;
  }
  return data;
}
