/* Options, the names of all objects, and the callback types. */

typedef enum {
  GEARMAN_VERBOSE_NEVER,
  GEARMAN_VERBOSE_FATAL,
  GEARMAN_VERBOSE_ERROR,
  GEARMAN_VERBOSE_INFO,
  GEARMAN_VERBOSE_DEBUG,
  GEARMAN_VERBOSE_CRAZY,
  GEARMAN_VERBOSE_MAX
} gearman_verbose_t;

typedef enum {
  GEARMAN_NON_BLOCKING,
  GEARMAN_DONT_TRACK_PACKETS,
  GEARMAN_MAX
} gearman_universal_options_t;

typedef enum {
  GEARMAN_CON_READY,
  GEARMAN_CON_PACKET_IN_USE,
  GEARMAN_CON_EXTERNAL_FD,
  GEARMAN_CON_IGNORE_LOST_CONNECTION,
  GEARMAN_CON_CLOSE_AFTER_FLUSH,
  GEARMAN_CON_MAX
} gearman_connection_options_t;

typedef enum {
  GEARMAN_CLIENT_ALLOCATED = (1 << 0),
  GEARMAN_CLIENT_NON_BLOCKING = (1 << 1),
  GEARMAN_CLIENT_TASK_IN_USE = (1 << 2),
  GEARMAN_CLIENT_UNBUFFERED_RESULT = (1 << 3),
  GEARMAN_CLIENT_NO_NEW = (1 << 4),
  GEARMAN_CLIENT_FREE_TASKS = (1 << 5),
  GEARMAN_CLIENT_GENERATE_UNIQUE = (1 << 6),
  GEARMAN_CLIENT_EXCEPTION = (1 << 7),
  GEARMAN_CLIENT_SSL = (1 << 8),
  GEARMAN_CLIENT_MAX = (1 << 9),
  GEARMAN_CLIENT_STOP_WAIT_ON_SIGNAL = (1 << 10) /* since 2.0.0, beyond MAX */
} gearman_client_options_t;

typedef enum {
  GEARMAN_WORKER_ALLOCATED = (1 << 0),
  GEARMAN_WORKER_NON_BLOCKING = (1 << 1),
  GEARMAN_WORKER_PACKET_INIT = (1 << 2),
  GEARMAN_WORKER_GRAB_JOB_IN_USE = (1 << 3),
  GEARMAN_WORKER_PRE_SLEEP_IN_USE = (1 << 4),
  GEARMAN_WORKER_WORK_JOB_IN_USE = (1 << 5),
  GEARMAN_WORKER_CHANGE = (1 << 6),
  GEARMAN_WORKER_GRAB_UNIQ = (1 << 7),
  GEARMAN_WORKER_TIMEOUT_RETURN = (1 << 8),
  GEARMAN_WORKER_GRAB_ALL = (1 << 9),
  GEARMAN_WORKER_SSL = (1 << 10),
  GEARMAN_WORKER_IDENTIFIER = (1 << 11),
  GEARMAN_WORKER_MAX = (1 << 12),
  GEARMAN_WORKER_STOP_WAIT_ON_SIGNAL = (1 << 13) /* since 2.0.0, beyond MAX */
} gearman_worker_options_t;

/* Objects. The ones in _st stay opaque: the library allocates and frees them. */
typedef struct gearman_task_st gearman_task_st;
typedef struct gearman_client_st gearman_client_st;
typedef struct gearman_job_st gearman_job_st;
typedef struct gearman_worker_st gearman_worker_st;
typedef struct gearman_allocator_t gearman_allocator_t;
typedef struct gearman_task_attr_t gearman_task_attr_t;
typedef struct gearman_result_st gearman_result_st;
typedef struct gearman_string_t gearman_string_t;
typedef struct gearman_argument_t gearman_argument_t;
typedef struct gearman_status_t gearman_status_t;

/* Custom allocators. */
typedef void *(gearman_malloc_fn)(size_t size, void *context);
typedef void *(gearman_realloc_fn)(void *ptr, size_t size, void *context);
typedef void *(gearman_calloc_fn)(size_t nelm, size_t size, void *context);
typedef void (gearman_free_fn)(void *ptr, void *context);

/* Servers, tasks, log. */
typedef gearman_return_t (gearman_parse_server_fn)(
    const char *host, in_port_t port, void *context);
typedef void (gearman_task_context_free_fn)(gearman_task_st *task, void *context);
typedef void (gearman_log_fn)(
    const char *line, gearman_verbose_t verbose, void *context);

/* Worker functions: the first style returns malloc()ed memory, the second a code. */
typedef void *(gearman_worker_fn)(
    gearman_job_st *job, void *context, size_t *result_size, gearman_return_t *ret_ptr);
typedef gearman_return_t (gearman_function_fn)(
    gearman_job_st *job, void *worker_context);
typedef struct gearman_aggregator_st gearman_aggregator_st;
typedef gearman_return_t (gearman_aggregator_fn)(
    gearman_aggregator_st *, gearman_task_st *, gearman_result_st *);
